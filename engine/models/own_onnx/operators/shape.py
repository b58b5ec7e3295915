"""Operators that move, cut, join, count or look up elements without computing on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, ints
from engine.models.own_onnx.operators.types import TORCH_TYPES

__all__ = ["OPERATORS"]


def _reshape(node: Node, x: Any, shape: Tensor | None = None) -> Any:
    target = ints(node.get("shape") if shape is None else shape)
    if not node.get("allowzero", 0):
        target = [x.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    return x.reshape(target)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    if axis == 1:
        return x.flatten(1) if x.dim() > 1 else x.reshape(-1, 1)
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1) if x.numel() else x.reshape(rows, x[(0,) * axis].numel() if rows else 0)


def _squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    named = node.get("axes") if axes is None else ints(axes)
    return torch.squeeze(x) if named is None else torch.squeeze(x, tuple(named))


def _unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    named = node.get("axes") if axes is None else ints(axes)
    rank = x.ndim + len(named)
    for axis in sorted(axis % rank for axis in named):
        x = np.expand_dims(x, axis) if isinstance(x, np.ndarray) else x.unsqueeze(axis)
    return x


def _transpose(node: Node, x: Any) -> Any:
    order = node.get("perm") or list(range(x.ndim))[::-1]
    return np.transpose(x, order) if isinstance(x, np.ndarray) else x.permute(order)


def _shape(node: Node, x: Any) -> Tensor:
    return torch.tensor(list(x.shape)[node.get("start", 0) : node.get("end")], dtype=torch.int64)


def _size(_node: Node, x: Any) -> Tensor:
    return torch.tensor(int(np.prod(x.shape)), dtype=torch.int64)


def _concat(node: Node, *inputs: Any) -> Any:
    axis = node.get("axis", 1)
    if isinstance(inputs[0], np.ndarray):
        return np.concatenate(inputs, axis)
    return torch.cat(inputs, axis)


def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    named = node.get("split") if sizes is None else ints(sizes)
    if named is None:
        count = node.get("num_outputs") or len(node.outputs)
        each = -(-x.shape[axis] // count)
        named = [each] * (count - 1)
        named.append(x.shape[axis] - sum(named))
    return torch.split(x, list(named), axis)


def _slice(node: Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    begin, end = ints(node.get("starts") if starts is None else starts), ints(node.get("ends") if ends is None else ends)
    along = node.get("axes") if axes is None else ints(axes)
    along = list(range(len(begin))) if along is None else along
    stride = [1] * len(begin) if steps is None else ints(steps)
    for first, last, axis, step in zip(begin, end, along, stride, strict=True):
        axis %= x.ndim
        if step > 0:
            cut: Any = slice(first, last, step)
        else:
            picked = range(x.shape[axis])[slice(first, last if last >= -x.shape[axis] else None, step)]
            cut = torch.tensor(list(picked), dtype=torch.int64, device=getattr(x, "device", None) if isinstance(x, Tensor) else None)
        x = x[(slice(None),) * axis + (cut,)]
    return x


def _gather(node: Node, data: Any, indices: Tensor) -> Any:
    axis = node.get("axis", 0) % data.ndim
    if isinstance(data, np.ndarray):
        return np.take(data, indices.numpy(), axis)
    indices = indices.long()
    if indices.dim() == 0:
        return data.select(axis, int(indices)) if not indices.is_cuda else data.index_select(axis, indices.reshape(1)).squeeze(axis)
    indices = torch.where(indices < 0, indices + data.shape[axis], indices)
    if axis == 0 and data.dim() == 2 and data.is_floating_point():
        return functional.embedding(indices, data)
    found = torch.index_select(data, axis, indices.reshape(-1))
    return found.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


def _gather_elements(node: Node, data: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    indices = indices.long()
    return torch.gather(data, axis, torch.where(indices < 0, indices + data.shape[axis], indices))


def _gather_nd(node: Node, data: Tensor, indices: Tensor) -> Tensor:
    batch = node.get("batch_dims", 0)
    lead = data.shape[:batch]
    flat, where = data.reshape(-1, *data.shape[batch:]), indices.reshape(-1, *indices.shape[batch:]).long()
    rows = [flat[i][tuple(where[i].unbind(-1))] for i in range(flat.shape[0])]
    return torch.stack(rows).reshape(*lead, *rows[0].shape)


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter_elements(node: Node, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    indices = torch.where(indices < 0, indices + data.shape[axis], indices).long()
    reduction = node.get("reduction", "none")
    if reduction in (None, "none"):
        return data.scatter(axis, indices, updates)
    return data.scatter_reduce(axis, indices, updates, _REDUCTIONS[reduction])


def _scatter_nd(node: Node, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Rows of `indices` point at slices of `data`; flat positions make every reduction one scatter."""
    depth = indices.shape[-1]
    rows, tail = indices.reshape(-1, depth).long(), data.shape[depth:]
    position = torch.zeros(rows.shape[0], dtype=torch.int64, device=data.device)
    for axis in range(depth):
        place = rows[:, axis]
        position = position * data.shape[axis] + torch.where(place < 0, place + data.shape[axis], place)
    flat = data.reshape(-1, *tail).reshape(-1, int(np.prod(tail)))
    values, where = updates.reshape(rows.shape[0], -1).to(data.dtype), position[:, None].expand(-1, flat.shape[1])
    reduction = node.get("reduction", "none")
    if reduction in (None, "none"):
        return flat.scatter(0, where, values).reshape(data.shape)
    return flat.scatter_reduce(0, where, values, _REDUCTIONS[reduction]).reshape(data.shape)


def _tensor_scatter(node: Node, cache: Tensor, update: Tensor, starts: Tensor | None = None) -> Tensor:
    axis = node.get("axis", -2) % cache.dim()
    begin = torch.zeros(cache.shape[0], dtype=torch.int64) if starts is None else starts.long()
    place = begin[:, None] + torch.arange(update.shape[axis], device=begin.device)[None]
    if node.get("mode", "linear") == "circular":
        place = place % cache.shape[axis]
    view = place.reshape(cache.shape[0], *(1,) * (axis - 1), -1, *(1,) * (cache.dim() - axis - 1))
    return cache.scatter(axis, view.expand(update.shape), update)


def _expand(_node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(ints(shape))))


def _tile(_node: Node, x: Tensor, repeats: Tensor, axis: Tensor | None = None) -> Tensor:
    if axis is not None:  # opset 1: how often, and along which axis
        times = [1] * x.dim()
        times[ints(axis)[0]] = ints(repeats)[0]
        return x.repeat(times)
    return x.repeat(ints(repeats))


def _where(_node: Node, condition: Tensor, a: Any, b: Any) -> Any:
    if isinstance(a, np.ndarray):
        return np.where(condition.numpy(), a, b)
    return torch.where(condition, a, b)


def _pad_index(size: int, before: int, after: int, mode: str) -> list[int]:
    """Where each element along one padded axis comes from."""
    span = range(-before, size + after)
    if mode == "edge":
        return [min(max(i, 0), size - 1) for i in span]
    if mode == "wrap":
        return [i % size for i in span]
    period = max(2 * (size - 1), 1)
    return [min(i % period, period - i % period) if size > 1 else 0 for i in span]


def _pad(node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    amounts = node.get("pads", node.get("paddings")) if pads is None else ints(pads)
    along = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in ints(axes)]
    fill = node.get("value", 0.0) if value is None or value.numel() == 0 else value.item()
    half, mode = len(amounts) // 2, node.get("mode", "constant")
    per_axis = {axis: (amounts[i], amounts[i + half]) for i, axis in enumerate(along)}
    if mode == "constant":
        flat = [amount for axis in reversed(range(x.dim())) for amount in per_axis.get(axis, (0, 0))]
        return functional.pad(x, flat, value=fill)
    for axis, (before, after) in per_axis.items():
        if before or after:
            cut = x.narrow(axis, max(-before, 0), x.shape[axis] - max(-before, 0) - max(-after, 0))
            index = _pad_index(cut.shape[axis], max(before, 0), max(after, 0), mode)
            x = cut.index_select(axis, torch.tensor(index, device=x.device))
    return x


def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value")
    if value is None:
        return torch.zeros(ints(shape))
    return torch.full(ints(shape), value.item(), dtype=value.dtype)


def _range(_node: Node, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype, device=start.device)


def _constant(node: Node) -> Any:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            value = node.attributes[name]
            return value if name == "value" else torch.tensor(value, dtype=torch.float32 if "float" in name else torch.int64)
    return np.array(node.get("value_string", node.get("value_strings")))


def _one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    count = ints(depth)[0]
    axis = node.get("axis", -1)
    rank = indices.dim() + 1
    place = indices.long()
    place = torch.where(place < 0, place + count, place)
    hit = place.unsqueeze(axis) == torch.arange(count, device=place.device).reshape([-1 if i == axis % rank else 1 for i in range(rank)])
    return torch.where(hit, values[1], values[0])


def _nonzero(_node: Node, x: Tensor) -> Tensor:
    return torch.nonzero(x).t().contiguous() if x.dim() else torch.zeros((0, int(bool(x))), dtype=torch.int64)


def _compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    axis = node.get("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    return x.index_select(axis, torch.nonzero(condition[: x.shape[axis]]).reshape(-1))


def _trilu(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    offset = 0 if k is None else ints(k)[0]
    return torch.triu(x, offset) if node.get("upper", 1) else torch.tril(x, offset)


def _eye_like(node: Node, x: Tensor) -> Tensor:
    kind = TORCH_TYPES[node.get("dtype", 0)] if node.get("dtype") else x.dtype
    rows, columns = x.shape
    return (torch.arange(columns)[None] - torch.arange(rows)[:, None] == node.get("k", 0)).to(kind).to(x.device)


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    s = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(x, s)
    y = x.reshape(b, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(b, c // (s * s), h * s, w * s)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    s = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_unshuffle(x, s)
    return x.reshape(b, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4).reshape(b, c * s * s, h // s, w // s)


def _reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)
    moved = x.movedim((batch, time), (0, 1))
    step = torch.arange(moved.shape[1], device=x.device)[None]
    size = lengths.long()[:, None]
    place = torch.where(step < size, size - 1 - step, step)
    picked = torch.gather(moved, 1, place.reshape(*place.shape, *(1,) * (moved.dim() - 2)).expand_as(moved))
    return picked.movedim((0, 1), (batch, time))


def _center_crop_pad(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    axes = [axis % x.dim() for axis in node.get("axes") or range(x.dim())]
    for axis, size in zip(axes, ints(shape), strict=True):
        extra = size - x.shape[axis]
        if extra < 0:
            x = x.narrow(axis, -extra // 2, size)
        elif extra > 0:
            sides = [0] * (2 * x.dim())
            sides[2 * (x.dim() - 1 - axis)] = extra // 2
            sides[2 * (x.dim() - 1 - axis) + 1] = extra - extra // 2
            x = functional.pad(x, sides)
    return x


def _unique(node: Node, x: Tensor) -> tuple[Tensor, ...]:
    axis = node.get("axis")
    values, first, inverse, counts = np.unique(x.detach().cpu().numpy(), return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not node.get("sorted", 1):
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        values, first, counts, inverse = np.take(values, order, axis or 0), first[order], counts[order], rank[inverse]
    return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in (values, first, inverse, counts))


def _identity(_node: Node, x: Any) -> Any:
    return x


OPERATORS: dict[str, Operator] = {
    "CenterCropPad": _center_crop_pad,
    "Compress": _compress,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": _identity,
    "NonZero": _nonzero,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "TensorScatter": _tensor_scatter,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unique": _unique,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
