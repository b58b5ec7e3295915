"""Where a model looks: cover a part of the picture, see how much the answer suffers (Zeiler & Fergus 2014).

It runs the exported ONNX file and so explains exactly what is shipped, whatever the network is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.data.images import looked_at
from engine.export.metadata import Preprocessing
from engine.export.predictor import Predictor

__all__ = ["heat_map", "overlay"]

PATCHES = (3, 6)
"""Patches a side, coarse and fine: a large thing needs a large patch to vanish, a small one a small patch to be found."""

BATCH = 16

COLOURS = np.array(
    [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]], np.float32
)
"""Nine stops of 'inferno' (van der Walt and Smith 2015, CC0): even steps to the eye, readable without colour vision."""


def heat_map(predictor: Predictor, image: Image.Image, class_index: int) -> NDArray[np.float32]:
    """Return float32 [H, W] in 0..1 over the model's view of the picture: how much each place speaks for the class.

    Each patch is replaced by the picture's blurred self, so that the cover shows no new edges. What counts is the fall of the
    class's log-odds, which still moves where the probability is next to 1. All 0 where nothing speaks for the class.
    """
    view_HWC = predictor.view(image)
    base = _log_odds(predictor.run(view_HWC[None])[0, class_index])
    heat_HW = np.zeros(view_HWC.shape[:2], np.float32)
    for patches in PATCHES:
        rows, columns = (_windows(size, patches) for size in view_HWC.shape[:2])
        fall = np.maximum(base - _log_odds(_answers(predictor, view_HWC, rows, columns, class_index)), 0)
        heat_HW += (rows.T @ fall @ columns) / np.maximum(rows.T @ np.ones_like(fall) @ columns, 1e-6)
    peak = float(heat_HW.max())
    return heat_HW / peak if peak > 1e-3 else np.zeros_like(heat_HW)


def _log_odds(p: NDArray[np.float32]) -> NDArray[np.float32]:
    sure = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(sure / (1 - sure))


def _answers(
    predictor: Predictor, view_HWC: NDArray[np.uint8], rows: NDArray[np.float32], columns: NDArray[np.float32], class_index: int
) -> NDArray[np.float32]:
    """Return the class's probability [rows, columns] with the patch at each place covered, a batch of places at a time."""
    height, width = view_HWC.shape[:2]
    small = Image.fromarray(view_HWC).resize((3, 3), Image.Resampling.BOX)
    plain_HWC = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    masks = ((row[:, None] * column[None, :])[..., None] for row in rows for column in columns)
    found = [predictor.run(np.stack([view_HWC + mask * (plain_HWC - view_HWC) for mask in part])) for part in _batches(masks)]
    return np.concatenate(found)[:, class_index].reshape(len(rows), len(columns))


def _batches(items: Iterable[NDArray[np.float32]]) -> Iterator[list[NDArray[np.float32]]]:
    rest = iter(items)
    while part := list(islice(rest, BATCH)):
        yield part


def _windows(size: int, patches: int) -> NDArray[np.float32]:
    """Return soft windows [2 * patches, size] that overlap by half: 1 in the middle, falling off over half a patch on each side."""
    centres = np.linspace(0.5, 2 * patches - 0.5, 2 * patches)[:, None] / (2 * patches)
    away = np.abs((np.arange(size) + 0.5) / size - centres) * patches
    return np.clip((0.75 - away) / 0.5, 0, 1).astype(np.float32)


def overlay(picture: Image.Image, heat_HW: NDArray[np.float32], preprocessing: Preprocessing | None = None, strength: float = 0.6) -> Image.Image:
    """Return the picture with the heat laid over it; cool places stay as they are.

    With `preprocessing` the heat is put where the model looked, its centre crop or all of it, and what the model did not see is darkened.
    """
    base = picture.convert("RGB")
    left, top, side_w, side_h = 0, 0, base.width, base.height
    if preprocessing is not None:
        edges = looked_at(*base.size, preprocessing.fit)
        side_w, side_h = (max(1, round((edges[2 + axis] - edges[axis]) * preprocessing.crop_share)) for axis in (0, 1))
        left, top = (base.width - side_w) // 2, (base.height - side_h) // 2
    warm = Image.fromarray((heat_HW * 255).astype(np.uint8)).resize((side_w, side_h), Image.Resampling.BICUBIC)
    share_HW1 = (np.asarray(warm, np.float32) / 255)[..., None]
    place = share_HW1[..., 0] * (len(COLOURS) - 1)
    colour_HWC = np.stack([np.interp(place, np.arange(len(COLOURS)), COLOURS[:, c]) for c in range(3)], -1)
    whole = np.asarray(base, np.float32) * (1.0 if preprocessing is None else 0.45)
    seen = np.asarray(base, np.float32)[top : top + side_h, left : left + side_w]
    mix = strength * np.clip((share_HW1 - 0.1) / 0.4, 0, 1)
    whole[top : top + side_h, left : left + side_w] = seen * (1 - mix) + colour_HWC * mix
    return Image.fromarray(np.clip(whole, 0, 255).astype(np.uint8))
