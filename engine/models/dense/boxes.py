"""Boxes on a grid: where anchors lie, and how the best of many overlapping boxes are chosen, the same in torch and in ONNX.

Shapes: B pictures, N candidate boxes, M the best of them, K classes, D kept, A anchors a picture. Boxes are x1 y1 x2 y2 in input pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

__all__ = ["CANDIDATES", "LEAST_SCORE", "clip", "grid_anchors", "in_plain_steps", "keep_best", "nms_mask", "plain_steps", "select", "top"]

CANDIDATES = 1000
"""Most boxes of a picture that go into NMS, as torchvision has it."""

LEAST_SCORE = 0.01
"""Boxes below count as nothing. Low, because mean average precision looks at the tail too; what is shown is chosen by the operating point."""

_ROUNDS = 24
"""Rounds of suppression in plain steps: exact unless a box hangs on a chain of more boxes than that, each overlapping the next, in order of score."""

_plain: ContextVar[bool] = ContextVar("plain_steps", default=False)


@contextmanager
def plain_steps() -> Iterator[None]:
    """Within, decoding uses no operator whose result has a size that depends on the data (NonMaxSuppression, NonZero): TensorRT for RTX runs none."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def in_plain_steps() -> bool:
    """Tell whether decoding must do so now."""
    return _plain.get()


def grid_anchors(maps: Sequence[Tensor], strides: Sequence[int], sizes: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Lay boxes around the middle of each map pixel's patch.

    Args:
        maps: one [B, C, h, w] a level.
        strides: input pixels to one map pixel.
        sizes: one [k, 2] a level: width and height of the k boxes at each place, in input pixels.

    Returns:
        anchors_A4, ordered by level, row, column, k; and how many there are on each level.
    """
    found = []
    for map_BChw, stride, size_k2 in zip(maps, strides, sizes, strict=True):
        height, width = map_BChw.shape[-2:]
        y_h = (torch.arange(height, device=map_BChw.device, dtype=torch.float32) + 0.5) * stride
        x_w = (torch.arange(width, device=map_BChw.device, dtype=torch.float32) + 0.5) * stride
        centre_hw2 = torch.stack((x_w[None, :].expand(height, width), y_h[:, None].expand(height, width)), -1)
        half_k2 = size_k2.to(map_BChw.device) / 2
        centre_hw12 = centre_hw2[:, :, None]
        found.append(torch.cat((centre_hw12 - half_k2, centre_hw12 + half_k2), -1).reshape(-1, 4))
    return torch.cat(found), [len(level) for level in found]


def clip(boxes_BN4: Tensor, height: Any, width: Any) -> Tensor:
    """Cut boxes off at the picture's edges."""
    x_BN2 = boxes_BN4[..., 0::2].clamp(min=0).clamp(max=width)
    y_BN2 = boxes_BN4[..., 1::2].clamp(min=0).clamp(max=height)
    return torch.stack((x_BN2[..., 0], y_BN2[..., 0], x_BN2[..., 1], y_BN2[..., 1]), -1)


class _Suppress(torch.autograd.Function):
    """Greedy NMS of every picture: torchvision's in torch, the standard's NonMaxSuppression in ONNX.

    Tracing torchvision's own call would fix the number of pictures; the ONNX operator takes a batch as it is.
    """

    @staticmethod
    def forward(_ctx: Any, boxes_BM4: Tensor, scores_BM: Tensor, iou: float) -> Tensor:
        """Return [S, 3]: picture, 0, box of each that is kept; scores of 0 never are."""
        rows = []
        for picture, (boxes_M4, scores_M) in enumerate(zip(boxes_BM4, scores_BM, strict=True)):
            some = torch.nonzero(scores_M > 0)[:, 0]
            kept = some[torchvision.ops.nms(boxes_M4[some], scores_M[some], iou)]
            rows.append(torch.stack((torch.full_like(kept, picture), torch.zeros_like(kept), kept), 1))
        return torch.cat(rows)

    @staticmethod
    def symbolic(g: Any, boxes_BM4: Any, scores_BM: Any, iou: float) -> Any:
        """Write the ONNX operator."""

        def constant(value: Any, dtype: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

        scores_B1M = g.op("Unsqueeze", scores_BM, constant([1], torch.int64))
        most = constant([2**31 - 1], torch.int64)
        kept = g.op("NonMaxSuppression", boxes_BM4, scores_B1M, most, constant([iou], torch.float32), constant([0.0], torch.float32))
        kept.setType(boxes_BM4.type().with_dtype(torch.int64).with_sizes([None, 3]))
        return kept


def nms_mask(boxes_BM4: Tensor, scores_BM: Tensor, classes_BM: Tensor, iou: float) -> Tensor:
    """Return [B, M], 1 for boxes that no better box of their own class overlaps by more than `iou`, 0 for the others and those of score 0.

    The boxes come the best first; those of score 0 may stand anywhere.
    """
    if in_plain_steps():
        return _nms_by_matrix(boxes_BM4, scores_BM, classes_BM, iou)
    apart = boxes_BM4.detach().abs().amax((1, 2), keepdim=True) + 1
    shifted_BM4 = boxes_BM4 + classes_BM[..., None].to(boxes_BM4.dtype) * (2 * apart)  # classes never meet, as in torchvision's batched_nms
    kept_S3 = _Suppress.apply(shifted_BM4, scores_BM, iou)
    return torch.zeros_like(scores_BM).index_put((kept_S3[:, 0], kept_S3[:, 2]), torch.ones_like(kept_S3[:, 0], dtype=scores_BM.dtype))


def _nms_by_matrix(boxes_BM4: Tensor, scores_BM: Tensor, classes_BM: Tensor, iou: float) -> Tensor:
    """Do the same by products of matrices (Bolya et al. 2019, arxiv.org/abs/1904.02689; repeated as in Zheng et al. 2020, arxiv.org/abs/2005.03572).

    A box stays where no better box that stays overlaps it. Each round settles those that hang on one box more.
    """
    low_BM12, high_BM12 = boxes_BM4[:, :, None, :2], boxes_BM4[:, :, None, 2:]
    sides_BMM2 = (torch.minimum(high_BM12, high_BM12.transpose(1, 2)) - torch.maximum(low_BM12, low_BM12.transpose(1, 2))).clamp(min=0)
    shared_BMM = sides_BMM2[..., 0] * sides_BMM2[..., 1]
    areas_BM = (boxes_BM4[..., 2] - boxes_BM4[..., 0]) * (boxes_BM4[..., 3] - boxes_BM4[..., 1])
    joined_BMM = areas_BM[:, :, None] + areas_BM[:, None] - shared_BMM
    places_M = torch.arange(scores_BM.shape[1], device=scores_BM.device)
    better_MM = places_M[None, :] < places_M[:, None]
    beats_BMM = ((shared_BMM > iou * joined_BMM) & (classes_BM[:, :, None] == classes_BM[:, None]) & better_MM).to(scores_BM.dtype)
    real_BM = (scores_BM > 0).to(scores_BM.dtype)
    kept_BM = real_BM
    for _ in range(_ROUNDS):
        kept_BM = real_BM * ((beats_BMM @ kept_BM[..., None])[..., 0] < 0.5).to(scores_BM.dtype)
    return kept_BM


def keep_best(boxes_BM4: Tensor, scores_BM: Tensor, classes_BM: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Return the `limit` best as detections_BD6, filled up with zeros, and their places among the M (filled up with 0)."""
    count = min(limit, scores_BM.shape[1])
    scores_BD, places_BD = scores_BM.topk(count)
    found = torch.cat((boxes_BM4, classes_BM[..., None].to(boxes_BM4.dtype)), -1)
    found_BD5 = found.gather(1, places_BD[..., None].expand(-1, -1, 5))
    real_BD1 = (scores_BD > 0)[..., None].to(boxes_BM4.dtype)
    detections_BD6 = torch.cat((found_BD5[..., :4], scores_BD[..., None], found_BD5[..., 4:]), -1) * real_BD1
    return F.pad(detections_BD6, (0, 0, 0, limit - count)), F.pad(places_BD, (0, limit - count))


def select(boxes: Tensor, scores_BNK: Tensor, limit: int, *, iou: float, least: float = LEAST_SCORE) -> Tensor:
    """Choose from one score a class at each place.

    Args:
        boxes: [B, N, 4], one a place; or [B, N, K, 4], one a place and class.
        iou: overlap above which the weaker of two boxes of one class goes.
        least: scores up to this count as nothing.

    Returns:
        detections_BD6: x1 y1 x2 y2, score, class; the best first, filled up with zeros to D = limit.
    """
    boxes_BM4, scores_BM, classes_BM = _likeliest(boxes, scores_BNK, CANDIDATES)
    scores_BM = scores_BM * (scores_BM > least).to(scores_BM.dtype)
    scores_BM = scores_BM * nms_mask(boxes_BM4, scores_BM, classes_BM, iou)
    return keep_best(boxes_BM4, scores_BM, classes_BM, limit)[0]


def top(boxes_BN4: Tensor, scores_BNK: Tensor, limit: int) -> Tensor:
    """The same without NMS, for methods that answer once a thing."""
    return keep_best(*_likeliest(boxes_BN4, scores_BNK, limit), limit)[0]


def _likeliest(boxes: Tensor, scores_BNK: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the boxes [B, M, 4], scores and classes [B, M] of the `most` highest scores of each picture."""
    classes = scores_BNK.shape[2]
    scores_BF = scores_BNK.flatten(1)
    scores_BM, places_BM = scores_BF.topk(min(most, scores_BF.shape[1]))
    own = boxes.dim() == 4
    boxes_BF4 = boxes.flatten(1, 2) if own else boxes
    rows_BM = places_BM if own else torch.div(places_BM, classes, rounding_mode="floor")
    return boxes_BF4.gather(1, rows_BM[..., None].expand(-1, -1, 4)), scores_BM, places_BM % classes
