"""Sample projects, made on this machine from pictures that travel inside installed packages. Nothing is downloaded.

Pictures cut from one photograph come from bands of it that do not touch, one band a split, so the test is honest.
"""

from __future__ import annotations

import gzip
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from sqlalchemy import select

from engine import locks, workspace
from engine.data import importing, projects, store
from engine.data.projects import Project
from engine.errors import StudioError

__all__ = ["SAMPLES", "Sample", "cover", "ensure", "make", "sample"]

Picture = tuple[str, str, Image.Image]
"""Split ('' for none), class, picture."""

DIGIT_PX = 96
PATCH_PX = 160
_BANDS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
_PATCHES = {"train": 48, "val": 14, "test": 14}


@dataclass(frozen=True)
class Sample:
    """One sample project: what it is in words, who made the pictures, under which licence, and what makes them here."""

    key: str
    title: str
    words: str
    task: str
    credit: str
    licence: str
    pictures: Callable[[], Iterator[Picture]]

    @property
    def cover(self) -> Path:
        """A picture of what is in it."""
        return cover(self.key)


def _inside(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package, without importing the package.

    Raises:
        StudioError: if the package or the file is not there.
    """
    found = importlib.util.find_spec(package)
    path = Path(found.submodule_search_locations[0], *parts) if found and found.submodule_search_locations else None
    if path is None or not path.exists():
        raise StudioError(f"this sample needs {'/'.join(parts)} from the package {package}, which is not installed", "Install requirements.txt again.")
    return path


def _digits(each: int) -> Iterator[Picture]:
    """The first `each` of every digit, in turn, 8 x 8 grey values drawn large as dark ink on light paper."""
    with gzip.open(_inside("sklearn", "datasets", "data", "digits.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    labels = table[:, 64]
    rows = np.stack([np.flatnonzero(labels == digit)[:each] for digit in range(10)], axis=1).ravel()
    paper, ink = np.array([250.0, 248.0, 242.0]), np.array([28.0, 36.0, 74.0])
    covered = 1.0 / (1.0 + np.exp((120.0 - np.arange(256.0)) / 16.0))  # a crisp edge where the blur has a slope
    palette = (paper + (ink - paper) * covered[:, None]).astype(np.uint8).tobytes()
    for row in rows:
        framed = np.pad(table[row, :64].reshape(8, 8), 1).astype(np.uint8) * 15
        large = Image.fromarray(framed).resize((DIGIT_PX, DIGIT_PX), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
        large.putpalette(palette)
        yield "", str(labels[row]), large


def _patches(photos: dict[str, tuple[str, tuple[float, float, float, float]]], seed: int, sizes: tuple[float, float]) -> Iterator[Picture]:
    """Cut patches out of one photograph a class.

    Args:
        photos: class -> (file in skimage/data, the part of it to use as left, top, right, bottom in 0..1).
        seed: of the random places.
        sizes: smallest and largest side of a patch, as shares of the height of a test band.
    """
    chance = np.random.default_rng(seed)
    opened: dict[str, Image.Image] = {}
    for label, (name, part) in photos.items():
        with Image.open(_inside("skimage", "data", name)) as file:
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


_WHOLE = (0.0, 0.0, 1.0, 1.0)

SAMPLES: tuple[Sample, ...] = (
    Sample(
        "digits",
        "Handwritten digits",
        "Real handwriting: 600 digits from 0 to 9. A classic first model.",
        "image-classification",
        "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository; as packaged with scikit-learn",
        "CC BY 4.0",
        partial(_digits, 60),
    ),
    Sample(
        "surfaces",
        "Surfaces",
        "Photographs of brick, grass and gravel, seen close up in changing light.",
        "image-classification",
        "cc0textures.com and LinolaFett, as packaged with scikit-image",
        "CC0 1.0",
        partial(_patches, {"brick": ("brick.png", _WHOLE), "grass": ("grass.png", _WHOLE), "gravel": ("gravel.png", _WHOLE)}, 1, (0.35, 0.9)),
    ),
    Sample(
        "scales",
        "Cells, eyes, galaxies",
        "Stained tissue under the microscope, the back of an eye, and the Hubble deep field, in small pieces.",
        "image-classification",
        "Center for Microscopy and Molecular Imaging (tissue), M. Häggström (retina), NASA (Hubble deep field), as packaged with scikit-image",
        "no known restrictions (tissue), CC0 1.0 (retina), public domain (Hubble deep field)",
        partial(
            _patches,
            {"eye": ("retina.jpg", (0.2, 0.2, 0.8, 0.8)), "galaxies": ("hubble_deep_field.jpg", _WHOLE), "tissue": ("ihc.png", _WHOLE)},
            2,
            (0.6, 1.0),
        ),
    ),
)


def sample(key: str) -> Sample:
    """Return the sample of that key.

    Raises:
        StudioError: if there is none.
    """
    found = next((one for one in SAMPLES if one.key == key), None)
    if found is None:
        raise StudioError(f"there is no sample '{key}'", f"Choose one of {', '.join(one.key for one in SAMPLES)}.")
    return found


def make(key: str) -> Project:
    """Make a sample project, or return it where it is made already. A sample in the bin is brought back.

    Raises:
        StudioError: if there is no such sample, or a package it needs is missing.
    """
    wanted = sample(key)
    lock = locks.hold(workspace.locks_folder() / f"sample-{key}")
    assert lock is not None, "a blocking hold returns only with the lock"
    with lock:
        project = _existing(key) or projects.create(_free_title(wanted.title), wanted.task, sample=key)
        if not projects.summary(project.id).items:  # new, or killed half-way last time
            with tempfile.TemporaryDirectory(dir=workspace.uploads()) as folder:
                _write(wanted, Path(folder))
                importing.import_path(project.id, folder, in_place=False)
        return project


def _existing(key: str) -> Project | None:
    for binned in (False, True):
        for project in projects.list_projects(deleted=binned):
            if project.sample == key:
                if binned:
                    projects.restore(project.id)
                return projects.get(project.id)
    return None


def _free_title(title: str) -> str:
    taken = {project.name.casefold() for project in projects.list_projects()}
    return next(name for name in (title, *(f"{title} ({number})" for number in range(2, 1000))) if name.casefold() not in taken)


def _write(wanted: Sample, folder: Path) -> None:
    numbers: dict[tuple[str, str], int] = {}
    for split, label, picture in wanted.pictures():
        number = numbers[split, label] = numbers.get((split, label), 0) + 1
        path = folder / split / label / f"{label}-{number:02}.{'png' if not split else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=92, subsampling=0)


def ensure() -> None:
    """In a fresh workspace, make the sample projects; in one that ever held a project, do nothing."""
    marker = workspace.home() / "projects" / ".samples"
    if marker.exists():
        return
    with store.session() as connection:
        used = connection.execute(select(1).select_from(store.projects).where(store.projects.c.sample == "").limit(1)).first() is not None
    if not used:
        for one in reversed(SAMPLES):  # the newest project stands first
            make(one.key)
    marker.parent.mkdir(exist_ok=True)
    marker.touch()


def cover(key: str) -> Path:
    """Return a JPEG of six of a sample's pictures, 3 x 2, made on first use."""
    wanted = sample(key)
    path = workspace.cache("thumbs") / f"sample-{key}.jpg"
    if not path.exists():
        sheet = Image.new("RGB", (3 * PATCH_PX, 2 * PATCH_PX), "white")
        for place, (_, _, picture) in enumerate(islice(wanted.pictures(), 6)):
            sheet.paste(picture.convert("RGB").resize((PATCH_PX, PATCH_PX)), (place % 3 * PATCH_PX, place // 3 * PATCH_PX))
        with workspace.replacing(path) as beside:
            sheet.save(beside, "JPEG", quality=88)
    return path
