"""Tiny real data for tagging: cut-outs of two photographs, a coin and a flower, laid on photographs of grass, gravel and brick; both, one, or neither."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_image

from tests.composed import coins, grounds

__all__ = ["CLASSES", "manifest", "table"]

CLASSES = ("coin", "flower")
_SPLITS = {"t": "train", "v": "val", "e": "test"}


@cache
def flower() -> tuple[np.ndarray, np.ndarray]:
    """Return colours of a flower and which of them are its own."""
    pixels = load_sample_image("flower.jpg")
    red, green, blue = (pixels[:, :, place].astype(int) for place in range(3))
    numbered, count = ndimage.label(ndimage.binary_opening((red > 120) & (red > green + 40) & (blue < red), iterations=2))
    largest = 1 + int(np.argmax(ndimage.sum(numbered > 0, numbered, range(1, count + 1))))
    region = ndimage.find_objects(numbered)[largest - 1]
    return pixels[region], ndimage.binary_fill_holes(numbered == largest)[region]


def _laid(picture: np.ndarray, pixels: np.ndarray, inside: np.ndarray, side: int, rng: np.random.Generator) -> None:
    colours = np.asarray(Image.fromarray(pixels).resize((side, side)))
    covers = np.asarray(Image.fromarray(inside.astype(np.uint8) * 255).resize((side, side))) > 127
    y, x = (int(rng.integers(0, full - side)) for full in picture.shape[:2])
    picture[y : y + side, x : x + side][covers] = colours[covers]


def manifest(folder: Path, count: int = 48, splits: str = "tttvte", size: tuple[int, int] = (128, 96), seed: int = 0) -> dict[str, Any]:
    """Return a version of `count` pictures; a quarter of them show both, a quarter neither."""
    rng, items = np.random.default_rng(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        ground = grounds()[rng.integers(3)]
        left, top = rng.integers(0, 512 - size[0]), rng.integers(0, 512 - size[1])
        picture = np.repeat(ground[top : top + size[1], left : left + size[0], None], 3, 2).copy()
        labels = [index for index in (0, 1) if rng.random() < 0.5]
        if 0 in labels:
            pixels, inside = coins()[rng.integers(len(coins()))]
            _laid(picture, np.repeat(pixels[:, :, None], 3, 2), inside, int(rng.integers(30, 48)), rng)
        if 1 in labels:
            _laid(picture, *flower(), int(rng.integers(30, 48)), rng)
        path = folder / f"{place:03}.png"
        Image.fromarray(picture).save(path)
        row = {"id": place + 1, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "path": str(path), "name": path.name}
        items.append({**row, "labels": labels, "split": _SPLITS[splits[place % len(splits)]]})
    return {"id": "7a" * 32, "task": "multi-label-classification", "classes": list(CLASSES), "items": items}


def table(folder: Path, count: int = 48) -> Path:
    """Make such pictures with a table of ones and zeros, a column a class, as people bring them; return the folder."""
    version = manifest(folder, count)
    rows = [",".join([item["name"], *(str(int(place in item["labels"])) for place in range(len(CLASSES)))]) for item in version["items"]]
    (folder / "labels.csv").write_text("\n".join([",".join(["path", *CLASSES]), *rows]) + "\n")
    return folder
