"""Varies batches of pictures, on the device: uint8 squares from the decode cache in, normalised float pictures out.

Crop, turn and mirror are one bilinear sampling; brightness, contrast, saturation and normalisation are one affine map of the colours.
What is drawn comes from `engine.training.variation`.

B pictures, S px a side stored (or, where they are shown whole, H x W), H x W px for the model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.data.geometry import FILL
from engine.models.build import ModelSpec
from engine.tasks import Task
from engine.training.variation import GRAY, Blend, Variation

__all__ = ["Scratch", "blended", "normalised", "sampling_grid", "varied"]


@lru_cache(maxsize=8)
def _edges(size_px: int, device: torch.device) -> Tensor:
    return (torch.arange(size_px, dtype=torch.float32, device=device) + 0.5) / size_px


class Scratch:
    """Memory for what is computed on the way, used again for the next pictures: fresh memory for each few of them took as long as half of the sampling.

    For one thread. What is computed in it holds until the next call.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def floats(self, name: str, *shape: int) -> Tensor:
        """Return a contiguous float32 tensor of that shape, with anything in it."""
        if (name, *shape) not in self._kept:
            self._kept[name, *shape] = torch.empty(shape)
        return self._kept[name, *shape]


def sampling_grid(affine_B23: Tensor, hw: tuple[int, int], out_B2HW: Tensor | None = None) -> Tensor:
    """Return where each output pixel is taken from, [B, H, W, 2] in -1..1; x and y lie apart in memory, where they are computed and read fastest."""
    affine_B23 = affine_B23 * 2
    across_B21W = affine_B23[:, :, 0, None, None] * _edges(hw[1], affine_B23.device)
    down_B2H1 = affine_B23[:, :, 1, None, None] * _edges(hw[0], affine_B23.device)[:, None] + (affine_B23[:, :, 2, None, None] - 1)
    return torch.add(across_B21W, down_B2H1, out=out_B2HW).permute(0, 2, 3, 1)


def _colour_map(variation: Variation, pictures_BSS3: Tensor, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """Return the colour matrix [B, 3, 3] and offset [B, 3, 1] that vary and normalise values 0..255."""
    sparse_B3 = pictures_BSS3[:, 8::16, 8::16].float().mean((1, 2)).cpu().numpy().astype(np.float64)
    mean_3, std_3 = np.array(spec.mean) * 255, np.array(spec.std) * 255
    matrix_B33 = variation.colour_B33 / std_3[None, :, None]
    offset_B3 = ((variation.mean_B * (sparse_B3 @ GRAY))[:, None] - mean_3) / std_3
    device = pictures_BSS3.device
    return torch.from_numpy(matrix_B33).float().to(device), torch.from_numpy(offset_B3[:, :, None]).float().to(device)


def varied(pictures_BSS3: Tensor, variation: Variation, spec: ModelSpec, scratch: Scratch | None = None) -> Tensor:
    """Return varied, normalised pictures [B, 3, H, W]; they lie in `scratch` where it is given (pictures in the processor's memory only)."""
    (height, width), device = spec.input_hw, pictures_BSS3.device
    affine_B23 = torch.from_numpy(variation.affine_B23).float().to(device)
    matrix_B33, offset_B31 = _colour_map(variation, pictures_BSS3, spec)
    count = len(pictures_BSS3)
    floats_BSS3 = pictures_BSS3.float() if scratch is None else scratch.floats("source", *pictures_BSS3.shape).copy_(pictures_BSS3)
    source_BCSS = floats_BSS3.permute(0, 3, 1, 2)
    grid_BHW2 = sampling_grid(affine_B23, (height, width), None if scratch is None else scratch.floats("grid", count, 2, height, width))
    if spec.fit == "whole":  # beyond the picture comes more of its margin
        shown_BCHW = F.grid_sample(source_BCSS.sub_(FILL), grid_BHW2, padding_mode="zeros", align_corners=False).add_(FILL)
    else:
        shown_BCHW = F.grid_sample(source_BCSS, grid_BHW2, padding_mode="border", align_corners=False)
    into = None if scratch is None else scratch.floats("varied", count, 3, height * width)
    varied_BCHW = torch.baddbmm(offset_B31, matrix_B33, shown_BCHW.flatten(2), out=into).view_as(shown_BCHW)
    for index in np.flatnonzero(variation.erased_B4.any(1)):
        left, top, right, bottom = (round(edge * side) for edge, side in zip(variation.erased_B4[index], (width, height, width, height), strict=True))
        varied_BCHW[index, :, top:bottom, left:right] = 0.0  # the mean of all pictures, after normalisation
    return varied_BCHW


def normalised(views_BHW3: NDArray[np.uint8], spec: ModelSpec, device: torch.device) -> Tensor:
    """Return evaluation views as normalised pictures [B, 3, H, W], channels last in memory."""
    count, height, width, _ = views_BHW3.shape
    rows_BHR = torch.from_numpy(np.ascontiguousarray(views_BHW3)).to(device).flatten(2).float()
    mean_R, std_R = ((torch.tensor(row, device=device) * 255).repeat(width) for row in (spec.mean, spec.std))  # whole rows: a third of the time
    return rows_BHR.sub_(mean_R).div_(std_R).view(count, height, width, 3).permute(0, 3, 1, 2)


def blended(images_BCHW: Tensor, targets: Any, how: Blend, task: Task, classes: int) -> tuple[Tensor, Any]:
    """Blend pictures and targets of a batch: mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019)."""
    partner_B = torch.from_numpy(how.partner_B).to(images_BCHW.device)
    share = how.share
    if how.box is None:
        images_BCHW = images_BCHW.mul(share).add_(images_BCHW[partner_B], alpha=1 - share)
    else:
        height, width = images_BCHW.shape[2:]
        left, top, right, bottom = (round(edge * side) for edge, side in zip(how.box, (width, height, width, height), strict=True))
        own_BCHW, images_BCHW = images_BCHW, images_BCHW.clone()
        images_BCHW[:, :, top:bottom, left:right] = own_BCHW[partner_B, :, top:bottom, left:right]
        share = 1 - (right - left) * (bottom - top) / (height * width)
    share_B = torch.full((len(images_BCHW),), share, device=images_BCHW.device)
    return images_BCHW, task.mix(targets, partner_B, share_B, classes)
