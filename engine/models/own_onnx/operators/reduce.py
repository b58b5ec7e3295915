"""Reductions, arg-reductions, sorting and running sums."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.models.own_onnx.operators.node import Node, Operator, ints

__all__ = ["OPERATORS"]


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    """Axes are an attribute in older opsets and an input in newer ones; none at all means every axis."""

    def run(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        named = node.get("axes") if axes is None else ints(axes)
        keep = bool(node.get("keepdims", 1))
        if not named:
            if node.get("noop_with_empty_axes", 0):
                return function(x.unsqueeze(-1), [-1], False)
            named = list(range(x.dim()))
        return function(x, list(named), keep) if named else x

    return run


def _one_by_one(function: Callable[[Tensor, int, bool], Tensor]) -> Operator:
    """For functions that take one axis at a time: the last one first, so that the others keep their place."""

    def over(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
            x = function(x, axis, keep)
        return x

    return _reduction(over)


def _extreme(x: Tensor, axes: list[int], keep: bool, largest: bool) -> Tensor:
    if any(x.shape[axis] == 0 for axis in axes):  # the largest of nothing is minus infinity, by the specification
        shape = [1 if axis in [a % x.dim() for a in axes] else size for axis, size in enumerate(x.shape)]
        info = torch.finfo(x.dtype) if x.is_floating_point() else None
        worst = (
            (-torch.inf if largest else torch.inf)
            if info
            else (not largest if x.dtype == torch.bool else getattr(torch.iinfo(x.dtype), "min" if largest else "max"))
        )
        full = torch.full(shape, worst, dtype=x.dtype, device=x.device)
        return full if keep else full.reshape([size for axis, size in enumerate(x.shape) if axis not in [a % x.dim() for a in axes]])
    if x.dtype == torch.bool:
        return _extreme(x.to(torch.uint8), axes, keep, largest).to(torch.bool)
    return (torch.amax if largest else torch.amin)(x, dim=axes, keepdim=keep)


def _total(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(x, dim=axes, keepdim=keep, dtype=x.dtype)


def _average(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, dim=axes, keepdim=keep)
    return torch.mean(x.double(), dim=axes, keepdim=keep).trunc().to(x.dtype)


def _l2(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.linalg.vector_norm(x, dim=axes, keepdim=keep)
    return _total(x * x, axes, keep).double().sqrt().to(x.dtype)


def _like(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x) if x.is_floating_point() else function(x.double()).to(x.dtype)


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return _like(lambda value: torch.logsumexp(value, dim=axes, keepdim=keep), x)


def _arg(largest: bool) -> Operator:
    def run(node: Node, x: Tensor) -> Tensor:
        axis, keep = node.get("axis", 0) % max(x.dim(), 1), bool(node.get("keepdims", 1))
        choose = torch.argmax if largest else torch.argmin
        if not node.get("select_last_index", 0):
            return choose(x, axis, keepdim=keep)
        return x.shape[axis] - 1 - choose(torch.flip(x, [axis]), axis, keepdim=keep)

    return run


def _top_k(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    count = node.get("k") if k is None else ints(k)[0]
    axis, largest = node.get("axis", -1), bool(node.get("largest", 1))
    order = torch.sort(x, dim=axis, descending=largest, stable=True)  # equal values: the lower index first
    return order.values.narrow(axis, 0, count), order.indices.narrow(axis, 0, count)


def _running(function: Callable[[Tensor, int], Tensor], neutral: float) -> Operator:
    def run(node: Node, x: Tensor, axis: Tensor | None = None) -> Tensor:
        along = (ints(axis)[0] if axis is not None else node.get("axis", 0)) % x.dim()
        x = torch.flip(x, [along]) if node.get("reverse", 0) else x
        y = function(x, along).to(x.dtype)
        if node.get("exclusive", 0):
            first = torch.full_like(y.narrow(along, 0, 1), neutral)
            y = torch.cat([first, y.narrow(along, 0, y.shape[along] - 1)], along)
        return torch.flip(y, [along]) if node.get("reverse", 0) else y

    return run


OPERATORS: dict[str, Operator] = {
    "ArgMax": _arg(largest=True),
    "ArgMin": _arg(largest=False),
    "CumProd": _running(torch.cumprod, 1),
    "CumSum": _running(torch.cumsum, 0),
    "ReduceL1": _reduction(lambda x, axes, keep: _total(x.abs(), axes, keep)),
    "ReduceL2": _reduction(_l2),
    "ReduceLogSum": _reduction(lambda x, axes, keep: _like(torch.log, _total(x, axes, keep))),
    "ReduceLogSumExp": _reduction(_log_sum_exp),
    "ReduceMax": _reduction(lambda x, axes, keep: _extreme(x, axes, keep, largest=True)),
    "ReduceMean": _reduction(_average),
    "ReduceMin": _reduction(lambda x, axes, keep: _extreme(x, axes, keep, largest=False)),
    "ReduceProd": _one_by_one(lambda x, axis, keep: torch.prod(x, axis, keepdim=keep, dtype=x.dtype)),
    "ReduceSum": _reduction(_total),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _total(x * x, axes, keep)),
    "TopK": _top_k,
}
