"""The shapes a label can have in a picture: checked, measured, drawn as pixels. Plain JSON, so that they travel as they are kept.

    box       {"box": [x1, y1, x2, y2]}
    polygon   {"rings": [[x1, y1, x2, y2, ...], ...]}     several rings are one thing in several parts (their union)
    mask      {"size": [height, width], "counts": "..."}  COCO's compressed run lengths, column by column
    point     {"point": [x, y]}
    class     None: the whole picture

Coordinates are pixels of the picture as a viewer shows it (turned by EXIF), x to the right, y down, 0 at the outer edge of the first pixel:
a box round the whole picture is [0, 0, width, height]. `"crowd": true` may stand in any of them (COCO's iscrowd).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import StudioError

__all__ = ["KINDS", "MOST_POINTS", "Kind", "area", "bounds", "checked", "inside", "mask_from", "mask_of", "raster"]

Kind = Literal["class", "box", "polygon", "mask", "point"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_POINTS = 20_000
"""Most corners of one polygon: a hand draws hundreds."""

_SMALLEST_PX = 0.5
"""A box or polygon less wide or high than this has no inside."""


def checked(kind: str, geometry: Mapping[str, Any] | None, width: int, height: int) -> dict[str, Any] | None:
    """Return a shape as it is kept: cut to the picture, rounded to a hundredth of a pixel.

    Raises:
        StudioError: if it is no such shape, lies outside the picture, is empty, or holds numbers that are none.
    """
    if kind == "class":
        return None
    if kind not in KINDS or not isinstance(geometry, Mapping):
        raise StudioError(f"'{str(kind)[:40]}' is no kind of label", f"Use one of {', '.join(KINDS)}.")
    try:
        kept = _CHECKS[kind](geometry, width, height)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StudioError(f"a {kind} is damaged ({str(error)[:80] or type(error).__name__})", "Draw it again, or leave it out.") from error
    return {**kept, "crowd": True} if geometry.get("crowd") else kept


def _numbers(values: Any) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1:
        raise ValueError(f"{found.size} numbers in {found.ndim} dimensions")
    if not np.isfinite(found).all():
        raise ValueError("a coordinate is not a number")
    return found


def _few(values: Any, count: int) -> list[float]:
    """Return so many numbers. What NumPy does to four of them takes ten times as long as they are worth, and data sets have millions."""
    if not isinstance(values, list | tuple | array | np.ndarray):
        raise TypeError(f"{type(values).__name__} instead of numbers")
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers instead of {count}")
    found = [float(value) for value in values]
    if not all(map(math.isfinite, found)):
        raise ValueError("a coordinate is not a number")
    return found


def _box(geometry: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    x1, y1, x2, y2 = _few(geometry["box"], 4)
    cut = [max(0.0, min(x1, x2)), max(0.0, min(y1, y2)), min(float(width), max(x1, x2)), min(float(height), max(y1, y2))]
    if cut[2] - cut[0] < _SMALLEST_PX or cut[3] - cut[1] < _SMALLEST_PX:
        raise StudioError("a box has no inside, or lies outside the picture", "Draw it again, or leave it out.")
    return {"box": [round(value, 2) for value in cut]}


def inside(corners: Sequence[float], width: int, height: int) -> str | None:
    """Return as JSON what `checked` would of a box x1 y1 x2 y2 that lies in its picture as it is, as nearly all do; None of any other.

    Five times as fast, writing it included, and data sets have millions.
    """
    x1, y1, x2, y2 = corners
    if x1 >= 0.0 and x1 + _SMALLEST_PX <= x2 <= width and y1 >= 0.0 and y1 + _SMALLEST_PX <= y2 <= height:
        return '{"box": [%.2f, %.2f, %.2f, %.2f]}' % (x1, y1, x2, y2)  # noqa: UP031 (an f-string takes a fifth longer)
    return None


def _polygon(geometry: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    rings, points = [], 0
    for ring in geometry["rings"]:
        flat = _numbers(ring)
        points += len(flat) // 2
        if points > MOST_POINTS:
            raise StudioError(f"a polygon has more than {MOST_POINTS:,} corners", "Draw it more simply, or use a mask.")
        if len(flat) % 2 or len(flat) < 6:
            raise ValueError("a ring needs three corners")
        xy_N2 = flat.reshape(-1, 2).clip((0.0, 0.0), (float(width), float(height)))
        if np.ptp(xy_N2, axis=0).min() >= _SMALLEST_PX:
            rings.append([round(float(value), 2) for value in xy_N2.ravel()])
    if not rings:
        raise StudioError("a polygon has no inside, or lies outside the picture", "Draw it again, or leave it out.")
    return {"rings": rings}


def _mask(geometry: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    size = [int(side) for side in geometry["size"]]
    if size != [height, width]:
        raise ValueError(f"it is {size[1]} x {size[0]} pixels and the picture {width} x {height}")
    counts = geometry["counts"]
    found = mask_of({"size": size, "counts": counts})
    if not found.any():
        raise StudioError("a mask is empty", "Draw it again, or leave it out.")
    return {"size": size, "counts": mask_from(found)["counts"] if isinstance(counts, list) else str(counts)}


def _point(geometry: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    x, y = _few(geometry["point"], 2)
    if not (0 <= x <= width and 0 <= y <= height):
        raise StudioError("a point lies outside the picture", "Set it again, or leave it out.")
    return {"point": [round(x, 2), round(y, 2)]}


_CHECKS = {"box": _box, "polygon": _polygon, "mask": _mask, "point": _point}


def mask_from(pixels_HW: NDArray[Any]) -> dict[str, Any]:
    """Return a mask in its kept form from an array that is true inside."""
    flat = np.asarray(pixels_HW).astype(bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [len(flat)]]))
    if len(flat) and flat[0]:
        runs = np.concatenate([[0], runs])
    return {"size": [int(side) for side in np.shape(pixels_HW)], "counts": _packed(runs.tolist())}


def _packed(runs: list[int]) -> str:
    """COCO's compression (maskApi.c): from the third run on, the difference to the one before the last, 5 bits a letter."""
    letters: list[str] = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr((bits | (32 if more else 0)) + 48))
            if not more:
                break
    return "".join(letters)


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("its run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("its run lengths are cut short")
    return runs


def mask_of(geometry: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return a kept mask as a boolean array [height, width]. Uncompressed run lengths (a list) are read too.

    Raises:
        ValueError: if the run lengths do not add up to the size.
    """
    height, width = (int(side) for side in geometry["size"])
    counts = geometry["counts"]
    runs = [int(run) for run in counts] if isinstance(counts, list) else _unpacked(counts.decode() if isinstance(counts, bytes) else counts)
    if min(height, width) < 1 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError("its run lengths do not fill the picture")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape((height, width), order="F")


def raster(kind: str, geometry: Mapping[str, Any], width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels [height, width] that a shape covers: COCO's own rule for polygons, else those whose centre lies inside; a point is one pixel."""
    if kind == "mask":
        return mask_of(geometry)
    pixels_HW = np.zeros((height, width), bool)
    if kind == "box":
        x1, y1, x2, y2 = (math.ceil(edge - 0.5) for edge in geometry["box"])
        pixels_HW[max(0, y1) : y2, max(0, x1) : x2] = True
    elif kind == "point":
        x, y = geometry["point"]
        pixels_HW[min(int(y), height - 1), min(int(x), width - 1)] = True
    else:
        from faster_coco_eval.core import mask as coco

        pixels_HW = coco.decode(coco.merge(coco.frPyObjects(geometry["rings"], height, width))).astype(bool)
    return pixels_HW


def bounds(kind: str, geometry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the smallest box round a shape: x1, y1, x2, y2."""
    if kind == "box":
        x1, y1, x2, y2 = geometry["box"]
        return float(x1), float(y1), float(x2), float(y2)
    if kind == "point":
        x, y = geometry["point"]
        return float(x), float(y), float(x), float(y)
    if kind == "polygon":
        xs, ys = [x for ring in geometry["rings"] for x in ring[::2]], [y for ring in geometry["rings"] for y in ring[1::2]]
        return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))
    pixels_HW = mask_of(geometry)
    rows, columns = np.flatnonzero(pixels_HW.any(1)), np.flatnonzero(pixels_HW.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def area(kind: str, geometry: Mapping[str, Any]) -> float:
    """Return a shape's area in square pixels; rings that overlap count twice."""
    if kind == "mask":
        return float(mask_of(geometry).sum())
    if kind == "polygon":
        total = 0.0
        for ring in geometry["rings"]:
            x_N, y_N = np.asarray(ring[::2]), np.asarray(ring[1::2])
            total += abs(float(x_N @ np.roll(y_N, -1) - y_N @ np.roll(x_N, -1))) / 2
        return total
    x1, y1, x2, y2 = bounds(kind, geometry)
    return (x2 - x1) * (y2 - y1)
