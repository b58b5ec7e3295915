"""Tiny real data with drawn labels: coins cut out of scikit-image's photograph, laid on its photographs of grass, gravel and brick."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from skimage.morphology import closing

from engine.data import shapes

__all__ = ["manifest"]

CLASSES = ("dark coin", "bright coin")


@cache
def coins() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return cut-outs: grey pixels and which of them are the coin."""
    grey = skimage.data.coins()
    regions = [region for region in regionprops(label(closing(grey > threshold_otsu(grey), np.ones((5, 5))))) if region.area > 900]
    return [(grey[region.slice], region.image_filled) for region in regions][:20]


@cache
def grounds() -> list[np.ndarray]:
    return [getattr(skimage.data, name)() for name in ("grass", "gravel", "brick")]


def _one(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    ground = grounds()[rng.integers(3)]
    top, left = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
    picture = np.repeat(ground[top : top + height, left : left + width, None], 3, 2).copy()
    owner = np.full((height, width), -1)
    kinds = []
    for _ in range(rng.integers(1, 4)):
        pixels, inside = coins()[rng.integers(len(coins()))]
        side = int(rng.integers(24, 44))
        pixels, inside = (np.asarray(Image.fromarray(one).resize((side, side))) for one in (pixels, inside.astype(np.uint8) * 255))
        kind = int(rng.integers(2))
        coin = np.stack([pixels * 0.4, pixels * 0.3, pixels * 0.2] if kind == 0 else [pixels, pixels * 0.9, pixels * 0.5], 2).clip(0, 255).astype(np.uint8)
        y, x = rng.integers(0, height - side), rng.integers(0, width - side)
        window = (slice(y, y + side), slice(x, x + side))
        picture[window][inside > 127] = coin[inside > 127]
        owner[window][inside > 127] = len(kinds)
        kinds.append(kind)
    masks = [(kind, owner == place) for place, kind in enumerate(kinds)]
    return picture, [{"class": kind, "kind": "mask", **shapes.mask_from(mask)} for kind, mask in masks if mask.sum() > 100]


def _as_boxes(marks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"class": mark["class"], "kind": "box", "box": list(shapes.bounds("mask", mark))} for mark in marks]


def manifest(folder: Path, task: str, count: int = 18, splits: str = "tttvte", size: tuple[int, int] = (128, 96), seed: int = 0) -> dict[str, Any]:
    """Return a version of `count` pictures with masks, or for detection with the boxes round them."""
    rng, items = np.random.default_rng(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        picture, marks = _one(rng, *size)
        path = folder / f"{place}.png"
        Image.fromarray(picture).save(path)
        split = {"t": "train", "v": "val", "e": "test"}[splits[place % len(splits)]]
        row = {"id": place + 1, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "path": str(path), "name": path.name, "split": split}
        items.append({**row, "width": size[0], "height": size[1], "marks": _as_boxes(marks) if task == "object-detection" else marks})
    return {"id": "composed", "task": task, "classes": list(CLASSES), "items": items}
