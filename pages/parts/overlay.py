"""Labels of a picture as the browser draws them over it: boxes, outlines, masks and points in their class's colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from engine.data import shapes

__all__ = ["COLOURS", "colour_of", "overlay"]

COLOURS = ("#2f9e6e", "#e07b0a", "#3b82f6", "#d6336c", "#9461e8", "#0aa5b5", "#b58900", "#e5484d", "#5b8c2a", "#c2559d", "#6b7bd6", "#a8633a")
"""Class colours in the order of the class names; they stand out on photographs, light and dark."""

_MOST_SHAPES = 300
_MOST_CORNERS = 160
_MASK_PX = 128


def colour_of(label: str, classes: Sequence[str]) -> str:
    """Return a class's colour."""
    return COLOURS[classes.index(label) % len(COLOURS)] if label in classes else COLOURS[0]


def overlay(marks: Sequence[tuple[str, str, Mapping[str, Any]]], size: tuple[int, int], classes: Sequence[str]) -> dict[str, Any] | None:
    """Return what the picture wall draws over a picture of that width and height: plain JSON, small whatever the labels are; None for no labels.

    Args:
        marks: class, kind and shape of each label.
        size: width and height in pixels.
        classes: class names, in the order that gives them their colours.
    """
    if not marks:
        return None
    drawn = [{"label": label, "colour": colour_of(label, classes), **_form(kind, geometry)} for label, kind, geometry in marks[:_MOST_SHAPES]]
    return {"size": list(size), "shapes": drawn}


def _form(kind: str, geometry: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "polygon":
        return {"rings": [_thinned(ring) for ring in geometry["rings"]]}
    if kind == "mask":
        return {"mask": _png(geometry)}
    return {kind: list(geometry[kind])}


def _thinned(ring: Sequence[float]) -> list[float]:
    """Leave corners out where a thumbnail could not show them."""
    step = max(1, -(-(len(ring) // 2) // _MOST_CORNERS))
    return [value for place in range(0, len(ring), 2 * step) for value in ring[place : place + 2]]


def _png(geometry: Mapping[str, Any]) -> str:
    """Return a mask as a small picture that is opaque inside, as a data address."""
    pixels = Image.fromarray(shapes.mask_of(geometry).astype(np.uint8) * 255)
    pixels.thumbnail((_MASK_PX, _MASK_PX), Image.Resampling.BOX)
    alpha = Image.new("LA", pixels.size, 255)
    alpha.putalpha(pixels)
    memory = io.BytesIO()
    alpha.save(memory, "PNG")
    return "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()
