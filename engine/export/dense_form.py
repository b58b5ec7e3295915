"""Networks that find and outline things, as they are shipped: decoding and NMS inside, pictures 0..255 in; and how they are checked against torch.

Out: `detections` [batch, D, 6] (x1 y1 x2 y2 in pixels of the input, score, class; score 0 where there is nothing more), with `masks`
[batch, D, H, W] (0..1) where things are outlined; or `probabilities` [batch, classes + 1, H, W], the background first.
The graph itself is `engine.models.dense.onnx_form`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from engine.evaluation.boxes import overlaps
from engine.models import dense
from engine.models.dense import onnx_form

__all__ = ["TOLERANCE", "ShippedDense", "fault", "parity", "write"]

TOLERANCE = 1e-3
"""Largest difference allowed of scores, and of a pixel's probability."""

_SAME_BOX = 0.95
"""Least overlap of two boxes that are the same one, computed twice."""
_COMPARED = 20
"""Things compared a picture: the surest. Further down, scores lie so close that either may be cut off first."""
_LIMIT = {"instance-segmentation": 50}
_MOST = 100


class ShippedDense(nn.Module):
    """A network with its normalisation in front and its decoding behind; `plain`: in steps that TensorRT can run."""

    mean_255: torch.Tensor
    std_255: torch.Tensor

    def __init__(self, network: Any, mean: Sequence[float], std: Sequence[float], *, plain: bool = False) -> None:
        super().__init__()
        self.inner = dense.for_export(network, _LIMIT.get(network.task, _MOST), plain=plain)
        self.output_names: tuple[str, ...] = tuple(self.inner.output_names)  # type: ignore[arg-type]
        self.register_buffer("mean_255", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1) * 255)
        self.register_buffer("std_255", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1) * 255)

    def forward(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what `output_names` says, of pictures 0..255."""
        return self.inner((images_BCHW - self.mean_255) / self.std_255)


def write(shipped: ShippedDense, images_BCHW: torch.Tensor) -> onnx.ModelProto:
    """Return it as a graph whose batch is free."""
    return onnx_form.to_onnx(shipped, images_BCHW)


def parity(shipped: ShippedDense, session: onnxruntime.InferenceSession, images_BCHW: torch.Tensor) -> dict[str, Any]:
    """Compare file and torch, the first picture alone and the rest two by two: a class for every pixel is 160 MB a picture where there are 150.

    Args:
        shipped: what the file is compared with.
        session: the file, opened.
        images_BCHW: pictures 0..255.

    Returns:
        max_abs: the largest difference of scores or probabilities; max_rel: the share of things (or pixels) that differ; n; passed.
    """
    differences, unlike, total = [0.0], 0, 0
    for part in (images_BCHW[:1], *images_BCHW[1:].split(2)):
        if not len(part):
            continue
        with torch.no_grad():
            expected = [tensor.numpy() for tensor in shipped(part)]
        found = session.run(list(shipped.output_names), {"images": part.numpy()})
        if shipped.output_names == ("probabilities",):
            differences.append(float(np.abs(found[0] - expected[0]).max()))
            unlike += int((found[0].argmax(1) != expected[0].argmax(1)).sum())
            total += expected[0][:, 0].size
            continue
        for place in range(len(part)):
            rows = [[one[place] for one in side] for side in (expected, found)]
            score, lost, count = _compared(*rows)
            differences.append(score)
            unlike, total = unlike + lost, total + count
    share = unlike / max(1, total)
    passed = max(differences) <= TOLERANCE and share <= (TOLERANCE if shipped.output_names == ("probabilities",) else 0)
    return {"max_abs": max(differences), "max_rel": share, "n": len(images_BCHW), "passed": passed}


def _compared(expected: list[NDArray[Any]], found: list[NDArray[Any]]) -> tuple[float, int, int]:
    """Return the largest difference of scores (and of mask pixels, on average) of one picture's things, how many have no partner, and of how many."""
    some = np.flatnonzero(expected[0][:, 4] > 0)[:_COMPARED]
    if not len(some):
        return 0.0, 0, 0
    alike_FT = overlaps(expected[0][some, :4], found[0][:, :4]) >= _SAME_BOX
    alike_FT &= expected[0][some, 5][:, None] == found[0][None, :, 5]
    apart_FT = np.abs(expected[0][some, 4][:, None] - found[0][None, :, 4])
    partner = np.where(alike_FT, apart_FT, np.inf).argmin(1)  # things without suppression may share a box: their scores tell them apart
    same = alike_FT.any(1)
    difference = float(np.abs(expected[0][some, 4] - found[0][partner, 4])[same].max(initial=0.0))
    if len(expected) > 1 and same.any():
        difference = max(difference, float(np.abs(expected[1][some][same] - found[1][partner][same]).mean((1, 2)).max()))
    return difference, int((~same).sum()), len(some)


def fault(found: Mapping[str, Any]) -> str:
    """Say what is wrong with a file that failed."""
    return f"scores differ from torch's by {found['max_abs']:.1e}, and {found['max_rel']:.1%} of what was found"
