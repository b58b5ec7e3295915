"""Shows what training will do to a picture: the same variations as in training, applied with Pillow. Torch-free, for the Train page."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from engine.data import geometry, images
from engine.recipe import Recipe
from engine.tasks import TASKS
from engine.training.variation import GRAY, Variation, draw, draw_whole

__all__ = ["variations"]


def variations(picture: Image.Image, recipe: Recipe, count: int, size_px: int = 224) -> list[Image.Image]:
    """Return `count` variations of a picture, squares of size_px a side, as training would show them in its first epochs."""
    fit = TASKS[recipe.task].fit
    if fit == "whole":
        where = geometry.placed(*picture.size, (size_px, size_px))
        square = Image.fromarray(geometry.shown_whole(picture.convert("RGB"), where, (size_px, size_px), Image.Resampling.BICUBIC))
        content_B2 = np.tile((where.content_width / size_px, where.content_height / size_px), (count, 1))
        drawn = draw_whole(recipe, content_B2, 1.0, recipe.seed, 0, 0)
    else:
        square = picture.convert("RGB").resize((size_px, size_px), Image.Resampling.BICUBIC, box=images.looked_at(*picture.size, fit))
        drawn = draw(recipe, count, recipe.seed, 0, 0)
    return [_varied(square, drawn, index, beyond="constant" if fit == "whole" else "edge") for index in range(count)]


def _varied(square: Image.Image, drawn: Variation, index: int, beyond: Literal["edge", "constant"]) -> Image.Image:
    size_px = square.width
    margin = size_px // 2 if beyond == "edge" else 2 * size_px
    fill = {} if beyond == "edge" else {"constant_values": geometry.FILL}
    padded = Image.fromarray(np.pad(np.asarray(square), ((margin, margin), (margin, margin), (0, 0)), mode=beyond, **fill))  # type: ignore[call-overload]
    (a, b, x), (c, d, y) = drawn.affine_B23[index]
    moved = padded.transform((size_px, size_px), Image.Transform.AFFINE, (a, b, x * size_px + margin, c, d, y * size_px + margin), Image.Resampling.BILINEAR)
    pixels_HW3 = np.asarray(moved, np.float64)
    brightness = float(np.asarray(square, np.float64).mean((0, 1)) @ GRAY)
    pixels_HW3 = pixels_HW3 @ drawn.colour_B33[index].T + drawn.mean_B[index] * brightness
    left, top, right, bottom = (round(edge * size_px) for edge in drawn.erased_B4[index])
    pixels_HW3[top:bottom, left:right] = 127.0
    return Image.fromarray(pixels_HW3.clip(0, 255).round().astype(np.uint8))
