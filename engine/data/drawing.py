"""Draws shapes over a picture: outlines with a name on them, and areas in a transparent colour. Pillow only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.data import shapes

__all__ = ["COLOURS", "Drawn", "colour_of", "drawn_over"]

Colour = tuple[int, int, int]
Place = tuple[float, float, float, float]

COLOURS: tuple[Colour, ...] = (
    (47, 125, 79),
    (217, 122, 6),
    (91, 91, 214),
    (194, 65, 12),
    (11, 132, 196),
    (142, 78, 198),
    (100, 116, 139),
    (183, 149, 11),
    (210, 60, 120),
    (20, 140, 140),
)
"""The colours of classes, in their order, over again after the last; the first eight are the charts'."""

_AREA_OPACITY = 0.45


@dataclass(frozen=True)
class Drawn:
    """One shape to draw: its kind and geometry as `engine.data.shapes` keeps them, a name to write on it, and how it looks."""

    kind: str
    geometry: Mapping[str, Any]
    name: str = ""
    colour: Colour = COLOURS[0]
    dashed: bool = False


def colour_of(label: int) -> Colour:
    """Return the colour of the class at that place."""
    return COLOURS[label % len(COLOURS)]


def drawn_over(picture: Image.Image, drawn: Sequence[Drawn], size_px: int | None = None) -> Image.Image:
    """Return the picture with shapes over it, its longer side at most size_px; shapes are in the pixels of the picture that is given."""
    share = min(1.0, size_px / max(picture.size)) if size_px else 1.0
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    canvas = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS) if share < 1 else picture.convert("RGB")
    for one in drawn:
        if one.kind == "mask":
            canvas = _coloured(canvas, one)
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(max(size) / 220))
    for one in drawn:
        if one.kind != "mask":
            _outlined(pen, one, share, width)
    taken: list[Place] = []
    for one in reversed(drawn):  # the last shape lies on top, and so does its name
        if one.name:
            _named(pen, one, share, size, taken)
    return canvas


def _coloured(canvas: Image.Image, one: Drawn) -> Image.Image:
    inside = Image.fromarray(shapes.mask_of(one.geometry)).resize(canvas.size, Image.Resampling.NEAREST)
    inside_HW1 = np.asarray(inside, bool)[:, :, None]
    pixels_HW3 = np.asarray(canvas, np.float32)
    mixed = pixels_HW3 * (1 - _AREA_OPACITY) + np.array(one.colour, np.float32) * _AREA_OPACITY
    return Image.fromarray(np.where(inside_HW1, mixed, pixels_HW3).round().astype(np.uint8))


def _outlined(pen: ImageDraw.ImageDraw, one: Drawn, share: float, width: int) -> None:
    if one.kind == "box":
        x1, y1, x2, y2 = (edge * share for edge in one.geometry["box"])
        rings = [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]]
    elif one.kind == "polygon":
        rings = [[(x * share, y * share) for x, y in zip(ring[::2], ring[1::2], strict=True)] for ring in one.geometry["rings"]]
    else:
        x, y = (edge * share for edge in one.geometry["point"])
        pen.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill=one.colour, outline="white")
        return
    for ring in rings:
        for start, end in zip(ring, [*ring[1:], ring[0]], strict=True):
            _line(pen, start, end, one.colour, width, one.dashed)


def _line(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], colour: Colour, width: int, dashed: bool) -> None:
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    pieces = max(1, round(length / (6 * width))) * 2 - 1 if dashed else 1
    for piece in range(0, pieces, 2):
        a, b = piece / pieces, (piece + 1) / pieces
        ends = [(start[0] + (end[0] - start[0]) * at, start[1] + (end[1] - start[1]) * at) for at in (a, b)]
        pen.line(ends, fill=colour, width=width)


def _named(pen: ImageDraw.ImageDraw, one: Drawn, share: float, size: tuple[int, int], taken: list[Place]) -> None:
    """Write a shape's name above it, else below; in a crowd one that would lie on another name is left out, since neither could be read."""
    font = ImageFont.load_default(max(9, round(max(size) / 32)))
    x, y, _, under = (edge * share for edge in shapes.bounds(one.kind, one.geometry))
    left, top, right, bottom = pen.textbbox((0, 0), one.name, font=font)
    height = bottom - top + 4
    tags = [(x, at, x + right - left + 6, at + height) for at in (y - height if y >= height else y, under)]
    free = next((tag for tag in tags if tag[3] <= size[1] and not any(_meet(tag, other) for other in taken)), None)
    if free is None:
        return
    taken.append(free)
    pen.rectangle(free, fill=one.colour)
    pen.text((x + 3 - left, free[1] + 2 - top), one.name, fill="white", font=font)


def _meet(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
