"""YOLO: a text file a picture and a data.yaml. Boxes where the project draws boxes, outlines otherwise; one outline is one part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine.data import shapes
from engine.data.export.base import DRAWN, Bundle, Entry, Exporter, number
from engine.data.formats.base import Tally
from engine.data.marks import Mark

__all__ = ["EXPORTER", "outlines"]

_DIGITS = 8
_FOLDERS = {"train": "train", "val": "val", "test": "test", None: "rest"}


def _write(entries: Iterator[Entry], classes: Sequence[str], task: str, bundle: Bundle, lost: Tally) -> None:
    ids = {label: place for place, label in enumerate(classes)}
    used: set[str] = set()
    for entry in entries:
        folder = _FOLDERS.get(entry.split, "rest")
        used.add(folder)
        bundle.picture(f"images/{folder}/{entry.name}", entry)
        if entry.labelled:
            lines = [line for mark in entry.marks for line in _lines(mark, ids[mark.label], entry, task, lost)]
            bundle.text(f"labels/{folder}/{entry.stem}.txt", "".join(f"{line}\n" for line in lines))
        if entry.group:
            lost.add("YOLO has no groups of pictures", entry.name)
    splits = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test") if split in used)
    names = "".join(f"  {place}: {json.dumps(label, ensure_ascii=False)}\n" for label, place in ids.items())
    bundle.text("data.yaml", f"path: .\n{splits}names:\n{names}" if names else f"path: .\n{splits}names: []\n")


def _lines(mark: Mark, class_id: int, entry: Entry, task: str, lost: Tally) -> Iterator[str]:
    geometry = mark.geometry or {}
    if mark.kind == "point":
        return lost.add("YOLO has no points", entry.name)
    if geometry.get("crowd"):
        lost.add("YOLO does not know crowds: they became ordinary labels", entry.name)
    if task == "object-detection":
        if mark.kind != "box":
            lost.add("outlines and masks became the boxes round them, since the project draws boxes", entry.name)
        x1, y1, x2, y2 = shapes.bounds(mark.kind, geometry)
        values = [(x1 + x2) / 2 / entry.width, (y1 + y2) / 2 / entry.height, (x2 - x1) / entry.width, (y2 - y1) / entry.height]
        yield " ".join([str(class_id), *(number(value, _DIGITS) for value in values)])
        return None
    for ring in _rings(mark, entry, lost):
        scaled = [value / (entry.height if place % 2 else entry.width) for place, value in enumerate(ring)]
        yield " ".join([str(class_id), *(number(value, _DIGITS) for value in scaled)])
    return None


def _rings(mark: Mark, entry: Entry, lost: Tally) -> list[list[float]]:
    geometry = mark.geometry or {}
    if mark.kind == "polygon":
        rings = geometry["rings"]
        if len(rings) > 1:
            lost.add("an outline in several parts became several labels", entry.name)
        return list(rings)
    if mark.kind == "box":
        lost.add("a box became an outline with four corners, since the project draws outlines", entry.name)
        x1, y1, x2, y2 = geometry["box"]
        return [[x1, y1, x2, y1, x2, y2, x1, y2]]
    lost.add("a mask became the outline of its parts, without holes", entry.name)
    return outlines(geometry)


def outlines(geometry: Mapping[str, Any]) -> list[list[float]]:
    """Return the outer borders of a mask's parts, along the edges of its pixels, as x1 y1 x2 y2 ..., the largest first."""
    from skimage.measure import approximate_polygon, find_contours

    pixels_HW = np.pad(shapes.mask_of(geometry), 1).astype(float)
    rings = []
    for border_N2 in find_contours(pixels_HW, 0.5, fully_connected="high", positive_orientation="high"):
        row_N, column_N = border_N2[:, 0], border_N2[:, 1]
        turns = float(row_N[:-1] @ column_N[1:] - row_N[1:] @ column_N[:-1])
        kept = approximate_polygon(border_N2, 0.3)
        if turns > 0 and len(kept) >= 4:  # the other way round it is a hole
            rings.append((abs(turns), (kept[:-1, ::-1] - 0.5).clip(0).ravel().round(2).tolist()))
    return [ring for _, ring in sorted(rings, key=lambda pair: -pair[0])]


EXPORTER = Exporter("yolo", "YOLO", "text files and a data.yaml, for Ultralytics and the like", DRAWN, _write)
