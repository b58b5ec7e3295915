"""Control flow and the values that are no tensors: If, Loop, Scan, sequences (Python lists), optionals (a value or None)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.models.own_onnx.operators.node import Node, Operator, OperatorError, ints

__all__ = ["OPERATORS"]

_MOST_ROUNDS = 100_000


def _if(node: Node, condition: Tensor) -> tuple[Any, ...]:
    return node.bodies["then_branch" if bool(condition) else "else_branch"](node.outer, [])


def _loop(node: Node, rounds: Tensor | None = None, condition: Tensor | None = None, *carried: Any) -> tuple[Any, ...]:
    body, count = node.bodies["body"], len(carried)
    most = _MOST_ROUNDS if rounds is None else ints(rounds)[0]
    going, values, step = condition is None or bool(condition), list(carried), 0
    collected = len(node.outputs) - count
    columns: list[list[Tensor]] = [[] for _ in range(max(collected, 0))]
    while going and step < most:
        if step >= _MOST_ROUNDS:
            raise OperatorError(f"a loop of more than {_MOST_ROUNDS} rounds")
        going_on, *results = body(node.outer, [torch.tensor(step), torch.tensor(going), *values])
        going, values = bool(going_on), list(results[:count])
        for column, item in zip(columns, results[count:], strict=True):
            column.append(item)
        step += 1
    return *values, *(torch.stack(column) if column else torch.zeros(0) for column in columns)


def _scan(node: Node, *inputs: Any) -> tuple[Any, ...]:
    """Scan; version 8 had a batch axis in front of everything and an optional first input of lengths."""
    body, series_count = node.bodies["body"], node.get("num_scan_inputs")
    if node.opset < 9:
        return _batched_scan(node, *inputs)
    carried, series = list(inputs[: len(inputs) - series_count]), inputs[len(inputs) - series_count :]
    in_axes, backwards = node.get("scan_input_axes") or [0] * series_count, node.get("scan_input_directions") or [0] * series_count
    steps = series[0].shape[in_axes[0]]
    collected = len(node.outputs) - len(carried)
    out_axes, out_back = node.get("scan_output_axes") or [0] * collected, node.get("scan_output_directions") or [0] * collected
    columns: list[list[Tensor]] = [[] for _ in range(collected)]
    for t in range(steps):
        slices = [x.select(axis, steps - 1 - t if back else t) for x, axis, back in zip(series, in_axes, backwards, strict=True)]
        results = body(node.outer, [*carried, *slices])
        carried = list(results[: len(carried)])
        for column, item in zip(columns, results[len(carried) :], strict=True):
            column.append(item)
    stacked = [torch.stack(column[::-1] if back else column, axis) for column, axis, back in zip(columns, out_axes, out_back, strict=True)]
    return *carried, *stacked


def _batched_scan(node: Node, _lengths: Tensor | None, *inputs: Tensor) -> tuple[Any, ...]:
    body, series_count = node.bodies["body"], node.get("num_scan_inputs")
    count, per_item = len(inputs) - series_count, []
    for b in range(inputs[0].shape[0]):
        carried, series = [x[b] for x in inputs[:count]], [x[b] for x in inputs[count:]]
        rows = []
        for t in range(series[0].shape[0]):
            results = body(node.outer, [*carried, *(x[t] for x in series)])
            carried = list(results[:count])
            rows.append(results[count:])
        per_item.append([*carried, *(torch.stack(column) for column in zip(*rows, strict=True))])
    return tuple(torch.stack(parts) for parts in zip(*per_item, strict=True))


def _sequence_at(_node: Node, sequence: list[Any], position: Tensor) -> Any:
    return sequence[ints(position)[0]]


def _sequence_insert(_node: Node, sequence: list[Any], value: Any, position: Tensor | None = None) -> list[Any]:
    place = len(sequence) if position is None else ints(position)[0]
    copy = list(sequence)
    copy.insert(place, value)
    return copy


def _sequence_erase(_node: Node, sequence: list[Any], position: Tensor | None = None) -> list[Any]:
    copy = list(sequence)
    del copy[-1 if position is None else ints(position)[0]]
    return copy


def _concat_sequence(node: Node, sequence: list[Tensor]) -> Tensor:
    return torch.stack(sequence, node.get("axis")) if node.get("new_axis", 0) else torch.cat(sequence, node.get("axis"))


def _split_sequence(node: Node, x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
    axis = node.get("axis", 0)
    if sizes is None:
        parts = torch.split(x, 1, axis)
        return list(parts) if node.get("keepdims", 1) else [part.squeeze(axis) for part in parts]
    return list(torch.split(x, ints(sizes)[0] if sizes.dim() == 0 else ints(sizes), axis))


def _optional(_node: Node, value: Any = None) -> Any:
    return value


OPERATORS: dict[str, Operator] = {
    "ConcatFromSequence": _concat_sequence,
    "If": _if,
    "Loop": _loop,
    "Optional": _optional,
    "OptionalGetElement": _optional,
    "OptionalHasElement": lambda _node, value=None: torch.tensor(value is not None),
    "Scan": _scan,
    "SequenceAt": _sequence_at,
    "SequenceConstruct": lambda _node, *values: list(values),
    "SequenceEmpty": lambda _node: [],
    "SequenceErase": _sequence_erase,
    "SequenceInsert": _sequence_insert,
    "SequenceLength": lambda _node, sequence: torch.tensor(len(sequence)),
    "SplitToSequence": _split_sequence,
}
