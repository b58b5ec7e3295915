"""The pictures of sample projects, and the data sets that they are written as, in forms that the import knows.

Pictures cut from one photograph come from bands of it that do not touch, one band a split, so the test is honest.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from engine.data import drawing, shapes
from engine.data.packaged import inside
from engine.data.scenes import CLASSES, Scene, scenes

__all__ = ["ClassFolders", "Notes", "Pictures", "Things", "digits", "patches"]

Picture = tuple[str, str, Image.Image]
"""Split ('' for none), class, picture."""

DIGIT_PX = 96
PATCH_PX = 160
_BANDS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
_PATCHES = {"train": 48, "val": 14, "test": 14}
_SCENES = {"train": 140, "val": 40, "test": 40}
_FACE_PX = 192  # small before labels are drawn, so that their lines can be seen
NOTE_PX = 160
PAPER = (250, 248, 242)


def _handwriting() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits, 8 x 8 grey values each, and which digit each is."""
    with gzip.open(inside("sklearn", "datasets", "data", "digits.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :64].reshape(-1, 8, 8), table[:, 64]


def _inked(digit: np.ndarray) -> Image.Image:
    """Draw a digit large, as dark ink on light paper."""
    paper, ink = np.array(PAPER, float), np.array([28.0, 36.0, 74.0])
    covered = 1.0 / (1.0 + np.exp((120.0 - np.arange(256.0)) / 16.0))  # a crisp edge where the blur has a slope
    framed = np.pad(digit, 1).astype(np.uint8) * 15
    large = Image.fromarray(framed).resize((DIGIT_PX, DIGIT_PX), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    large.putpalette((paper + (ink - paper) * covered[:, None]).astype(np.uint8).tobytes())
    return large


def digits(each: int) -> Iterator[Picture]:
    """Yield the first `each` of every digit, in turn."""
    written, labels = _handwriting()
    for row in np.stack([np.flatnonzero(labels == digit)[:each] for digit in range(10)], axis=1).ravel():
        yield "", str(labels[row]), _inked(written[row])


def patches(photos: dict[str, tuple[str, tuple[float, float, float, float]]], seed: int, sizes: tuple[float, float]) -> Iterator[Picture]:
    """Cut patches out of one photograph a class.

    Args:
        photos: class -> (file in skimage/data, the part of it to use as left, top, right, bottom in 0..1).
        seed: of the random places.
        sizes: smallest and largest side of a patch, as shares of the height of a test band.
    """
    chance = np.random.default_rng(seed)
    opened: dict[str, Image.Image] = {}
    for label, (name, part) in photos.items():
        with Image.open(inside("skimage", "data", name)) as file:
            photo = file.convert("RGB")
        opened[label] = photo.crop(tuple(round(edge * (photo.width, photo.height)[i % 2]) for i, edge in enumerate(part)))  # type: ignore[arg-type]
    for split, (top, bottom) in _BANDS.items():
        for _ in range(_PATCHES[split]):
            for label, photo in opened.items():
                yield split, label, _patch(photo, round(top * photo.height), round(bottom * photo.height), sizes, chance)


def _patch(photo: Image.Image, top: int, bottom: int, sizes: tuple[float, float], chance: np.random.Generator) -> Image.Image:
    side = round(photo.height * 0.2 * chance.uniform(*sizes))
    left = int(chance.integers(0, photo.width - side + 1))
    upper = int(chance.integers(top, bottom - side + 1))
    pixels = np.asarray(photo.crop((left, upper, left + side, upper + side)).resize((PATCH_PX, PATCH_PX), Image.Resampling.LANCZOS), dtype=np.float32)
    pixels = np.rot90(pixels, int(chance.integers(4)))
    lit = (pixels - 128.0) * chance.uniform(0.7, 1.2) + 128.0 * chance.uniform(0.75, 1.2)  # another hour of the day
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


class Pictures(Protocol):
    """What a sample is made of."""

    def faces(self) -> Iterator[Image.Image]:
        """Yield its pictures, the best ones to show first."""

    def write(self, folder: Path) -> None:
        """Write them, with their labels, as a data set that can be imported."""


@dataclass(frozen=True)
class ClassFolders:
    """One class a picture, told by the folder it lies in."""

    pictures: Callable[[], Iterator[Picture]]

    def faces(self) -> Iterator[Image.Image]:
        """Yield the pictures, class after class in turn."""
        return (picture for _, _, picture in self.pictures())

    def write(self, folder: Path) -> None:
        """Write SPLIT/CLASS/CLASS-NUMBER.jpg, or PNG where the pictures are drawn."""
        numbers: dict[tuple[str, str], int] = {}
        for split, label, picture in self.pictures():
            number = numbers[split, label] = numbers.get((split, label), 0) + 1
            path = folder / split / label / f"{label}-{number:02}.{'png' if not split else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=92, subsampling=0)


@dataclass(frozen=True)
class Notes:
    """Notes with one to three different digits on them. Each digit of the handwriting is on one note at most."""

    count: int

    def _notes(self) -> Iterator[tuple[list[int], Image.Image]]:
        written, labels = _handwriting()
        chance = np.random.default_rng(3)
        left = {digit: list(np.flatnonzero(labels == digit)) for digit in range(10)}
        for _ in range(self.count):
            fullest = sorted(left, key=lambda digit: (-len(left[digit]), digit))[:6]  # so that none runs out
            shown = [int(one) for one in chance.permutation(fullest)[: chance.integers(1, 4)]]
            note = Image.new("RGB", (NOTE_PX, NOTE_PX), PAPER)
            for digit, quarter in zip(shown, chance.permutation(4), strict=False):
                side = int(chance.integers(56, NOTE_PX // 2))
                drawn = _inked(written[left[digit].pop(0)]).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
                x, y = (int(half) * NOTE_PX // 2 + int(chance.integers(0, NOTE_PX // 2 - side + 1)) for half in divmod(quarter, 2))
                there = note.crop((x, y, x + side, y + side))
                note.paste(ImageChops.darker(there, drawn), (x, y))  # ink on the paper, not paper on paper
            yield sorted(shown), note

    def faces(self) -> Iterator[Image.Image]:
        """Yield the notes."""
        return (note for _, note in self._notes())

    def write(self, folder: Path) -> None:
        """Write the notes, and a table that says which digits are on each."""
        with (folder / "notes.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file", "tags"])
            for number, (shown, note) in enumerate(self._notes(), 1):
                note.save(folder / f"note-{number:03}.png")
                table.writerow([f"note-{number:03}.png", "|".join(map(str, shown))])


@dataclass(frozen=True)
class Things:
    """Coins, flowers and eyes lying on other photographs, with a box round each, or with its very pixels."""

    boxes: bool

    def faces(self) -> Iterator[Image.Image]:
        """Yield the pictures with their labels drawn: the two samples of these scenes differ in nothing else."""
        return (self._shown(scene) for split, count in _SCENES.items() for scene in scenes(split, count))

    def _shown(self, scene: Scene) -> Image.Image:
        drawn = [drawing.Drawn("box" if self.boxes else "mask", self._geometry(mask_HW), colour=drawing.colour_of(label)) for label, mask_HW in scene.things]
        return drawing.drawn_over(scene.picture, drawn, _FACE_PX)

    def _geometry(self, mask_HW: np.ndarray) -> dict[str, Any]:
        if not self.boxes:
            return shapes.mask_from(mask_HW)
        left, top, wide, high = self._label(mask_HW)["bbox"]
        return {"box": [left, top, left + wide, top + high]}

    def write(self, folder: Path) -> None:
        """Write one COCO file a split."""
        for split, count in _SCENES.items():
            (folder / split).mkdir()
            images: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            for number, scene in enumerate(scenes(split, count), 1):
                name = f"{split}-{number:03}.jpg"
                scene.picture.save(folder / split / name, quality=92, subsampling=0)
                images.append({"id": number, "file_name": name, "width": scene.picture.width, "height": scene.picture.height})
                for kind, mask_HW in scene.things:
                    annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, **self._label(mask_HW)})
            categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
            told = {"images": images, "annotations": annotations, "categories": categories}
            (folder / split / "_annotations.coco.json").write_text(json.dumps(told))

    def _label(self, mask_HW: np.ndarray) -> dict[str, Any]:
        rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
        box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
        found = {"bbox": box, "area": int(mask_HW.sum()), "iscrowd": 0}
        return found if self.boxes else found | {"segmentation": shapes.mask_from(mask_HW)}
