"""Losses inside a graph, random numbers, and the choice of boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, ints
from engine.models.own_onnx.operators.types import TORCH_TYPES

__all__ = ["OPERATORS"]


def _negative_log_likelihood(node: Node, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    ignore = node.get("ignore_index")
    none = -100 if ignore is None else ignore
    return functional.nll_loss(x, target.long(), weight, ignore_index=none, reduction=node.get("reduction", "mean"))


def _softmax_cross_entropy(node: Node, x: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    log = functional.log_softmax(x, 1)
    return _negative_log_likelihood(node, log, target, weight), log


def _seed(node: Node) -> torch.Generator | None:
    seed = node.get("seed")
    return None if seed is None else torch.Generator().manual_seed(int(seed))


def _kind(node: Node, like: Tensor | None = None) -> torch.dtype:
    named = node.get("dtype")
    return TORCH_TYPES[named] if named else torch.float32 if like is None else like.dtype


def _uniform(node: Node, like: Tensor | None = None) -> Tensor:
    shape = node.get("shape") if like is None else like.shape
    low, high = node.get("low", 0.0), node.get("high", 1.0)
    return (torch.rand(*shape, generator=_seed(node)) * (high - low) + low).to(_kind(node, like))


def _normal(node: Node, like: Tensor | None = None) -> Tensor:
    shape = node.get("shape") if like is None else like.shape
    return (torch.randn(*shape, generator=_seed(node)) * node.get("scale", 1.0) + node.get("mean", 0.0)).to(_kind(node, like))


def _bernoulli(node: Node, x: Tensor) -> Tensor:
    return torch.bernoulli(x.float(), generator=_seed(node)).to(_kind(node, x))


def _multinomial(node: Node, x: Tensor) -> Tensor:
    drawn = torch.multinomial(functional.softmax(x.float(), -1), node.get("sample_size", 1), True, generator=_seed(node))
    return drawn.to(TORCH_TYPES[node.get("dtype", 6)])


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
    return torch.where(area > 0, both / area, torch.zeros_like(both))


def _best_boxes(boxes: Tensor, scores: Tensor, count: int, overlap: float, least: float | None) -> list[int]:
    order = torch.sort(scores, descending=True, stable=True).indices.tolist()
    kept: list[int] = []
    for i in order:
        if len(kept) == count or (least is not None and scores[i] <= least):
            break
        if not kept or bool((_overlap(boxes[i], boxes[kept]) <= overlap).all()):
            kept.append(i)
    return kept


def _non_max_suppression(
    node: Node, boxes: Tensor, scores: Tensor, count: Tensor | None = None, overlap: Tensor | None = None, least: Tensor | None = None
) -> Tensor:
    most = 0 if count is None else ints(count)[0]
    share, floor = 0.0 if overlap is None else float(overlap), None if least is None else float(least)
    if node.get("center_point_box", 0):
        corners = torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)
    else:
        corners = torch.cat([torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])], -1)
    rows = [[b, c, i] for b in range(scores.shape[0]) for c in range(scores.shape[1]) for i in _best_boxes(corners[b], scores[b, c], most, share, floor)]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


OPERATORS: dict[str, Operator] = {
    "Bernoulli": _bernoulli,
    "Multinomial": _multinomial,
    "NegativeLogLikelihoodLoss": _negative_log_likelihood,
    "NonMaxSuppression": _non_max_suppression,
    "RandomNormal": _normal,
    "RandomNormalLike": _normal,
    "RandomUniform": _uniform,
    "RandomUniformLike": _uniform,
    "SoftmaxCrossEntropyLoss": _softmax_cross_entropy,
}
