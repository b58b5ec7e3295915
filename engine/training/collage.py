"""Puts training pictures together of others, with their things: mosaics of four, and things pasted in. On batches, on the device.

What is drawn comes from `engine.training.variation`; targets know themselves how they are quartered and pasted (`engine.tasks.drawn`).

B pictures of H x W px.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.training.variation import Collage

__all__ = ["joined"]


def joined(images_BCHW: Tensor, targets: Any, how: Collage) -> tuple[Tensor, Any]:
    """Return pictures and targets of a batch with the collages in it."""
    made = np.flatnonzero(how.quarters_B4[:, 0] >= 0)
    if len(made):
        images_BCHW, targets = _mosaics(images_BCHW, made, how), targets.quartered(how.quarters_B4)
    if (how.donor_B >= 0).any():
        targets, pasted_BHW = targets.pasted(how.donor_B, how.chosen_B)
        donors_BCHW = images_BCHW[torch.from_numpy(how.donor_B.clip(0)).to(images_BCHW.device)]
        images_BCHW = torch.where(pasted_BHW[:, None], donors_BCHW, images_BCHW)
    return images_BCHW, targets


def _mosaics(images_BCHW: Tensor, made: Any, how: Collage) -> Tensor:
    """Replace the chosen pictures by four of the batch at half their size each, clockwise from the upper left."""
    height, width = images_BCHW.shape[2] // 2, images_BCHW.shape[3] // 2
    half_BCHW = F.interpolate(images_BCHW, (height, width), mode="area")
    found_BCHW = images_BCHW.clone()
    for quarter, (top, left) in enumerate(((0, 0), (0, width), (height, width), (height, 0))):
        donors = torch.from_numpy(how.quarters_B4[made, quarter]).to(images_BCHW.device)
        found_BCHW[torch.from_numpy(made).to(images_BCHW.device), :, top : top + height, left : left + width] = half_BCHW[donors]
    return found_BCHW
