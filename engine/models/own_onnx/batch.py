"""Frees a fixed batch size: finds, by running the graph at its own batch and at twice that, what the number was baked into.

Exporters write the batch of the example into Reshape targets and repeat constants for it. For each node whose result
does not grow with the batch as it should, the graph is mended: a baked-in size becomes "whatever is left", a constant is
expanded to the batch that runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto
from torch import Tensor

from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.interpreter import FAULTS, Step
from engine.models.own_onnx.normalise import constant_tensor, drop_unused
from engine.models.own_onnx.operators import OperatorError
from engine.models.own_onnx.operators.node import ints
from engine.models.own_onnx.operators.types import from_numpy

__all__ = ["Freed", "free_batch"]

Shape = tuple[int, ...]
_BESIDE = ("Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Or", "Pow", "Sub", "Where")
"""Operators whose inputs lie beside each other: where one grows with the batch, the others must."""

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Freed:
    """A model that takes any batch size.

    Attributes:
        mended: how many nodes had the batch baked in.
        shapes: shape of every value at the example's batch.
        reference: the outputs for the example.
    """

    model: ModelProto
    mended: int
    shapes: dict[str, Shape]
    reference: dict[str, Any]


def free_batch(model: ModelProto, inputs: Sequence[np.ndarray], axes: Sequence[int] = ()) -> Freed:
    """Return a model that takes any batch size.

    Args:
        model: normalised.
        inputs: example inputs at the batch the file fixes (or 1).
        axes: of each input, the axis along which examples lie; empty takes the first of all.

    Raises:
        OperatorError: if the batch size is part of what the network computes.
    """
    copy = ModelProto.FromString(model.SerializeToString())
    module = ImportedGraph(copy)
    along = list(axes) or [0] * len(inputs)
    one = [from_numpy(item) for item in inputs]
    twice = [_joined(item, item.flip(axis) if item.dim() and item.shape[axis] > 1 else item, axis) for item, axis in zip(one, along, strict=True)]
    mending = _Mending(copy, module, one[0].shape[0])
    with torch.no_grad():
        reference = mending.reference(one)
        mending.run(twice, reference)
        if not mending.mended:
            fresh = module
        else:
            mending.write()
            drop_unused(copy)
            fresh = ImportedGraph(copy)
        _open_axes(copy, along, _verify(fresh, one, along, reference))
    outputs = {name: reference[name] for name in module.output_names}
    shapes = {name: tuple(value.shape) if isinstance(value, Tensor) else value for name, value in reference.items()}
    return Freed(copy, mending.mended, shapes, outputs)


def _joined(first: Tensor, second: Tensor, axis: int) -> Tensor:
    """Two batches as one; a single number stays what it is."""
    return torch.cat([first, second], axis) if first.dim() else first


def _open_axes(model: ModelProto, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Say in the file that the batch is free; drop shapes that may now be wrong."""
    stored = {item.name for item in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in stored]
    for value, axis in (*zip(given, inputs, strict=True), *zip(model.graph.output, outputs, strict=True)):
        dims = value.type.tensor_type.shape.dim
        if len(dims) > axis:
            dims[axis].ClearField("dim_value")
            dims[axis].dim_param = "batch"
    for value, axis in zip(model.graph.output, outputs, strict=True):
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            if position != axis:
                dim.ClearField("dim_value")
    del model.graph.value_info[:]


def _verify(module: ImportedGraph, one: Sequence[Tensor], along: Sequence[int], reference: dict[str, Any]) -> list[int]:
    """Two different batches side by side must give what each gives alone. Returns the batch's axis in each output."""
    torch.manual_seed(0)
    other = [item + 0.1 * torch.randn_like(item) if item.is_floating_point() else item for item in one]
    alone = module.run(other, module.output_names)
    both = module.run([_joined(a, b, axis) for a, b, axis in zip(one, other, along, strict=True)], module.output_names)
    axes = []
    for name, second, whole in zip(module.output_names, alone, both, strict=True):
        first = reference[name]
        if not isinstance(first, Tensor) or not first.dim():
            axes.append(0)
            continue
        axis = next((i for i, (a, b) in enumerate(zip(first.shape, whole.shape, strict=False)) if a != b), 0)
        axes.append(axis)
        expected = torch.cat([first, second], axis)
        scale = expected.abs().max().clamp_min(1e-6) if expected.is_floating_point() else 1
        if whole.shape != expected.shape or (whole.is_floating_point() and float((whole - expected).abs().max() / scale) > _TOLERANCE):
            raise OperatorError("pictures in one batch influence each other, or the batch size is part of what the network computes")
    return axes


class _Mending:
    """One pass over the nodes at twice the batch, remembering what has to change in the file."""

    def __init__(self, model: ModelProto, module: ImportedGraph, batch: int) -> None:
        self.model, self.module, self.batch = model, module, batch
        self.mended = 0
        self.targets: dict[str, list[int]] = {}
        self.expanded: list[tuple[str, int, int, str]] = []
        self.tiled: list[tuple[str, int, int, str]] = []
        self.ranks: dict[str, int] = {}
        self.inner: set[str] = set()
        """Values in which the picture's number runs fastest along its axis (token 0 of each picture, then token 1 ...)."""

    def _values(self, inputs: Sequence[Tensor]) -> dict[str, Any]:
        return {**dict(zip(self.module.input_names, inputs, strict=True)), **self.module._constants, **self.module.stored_values()}

    def reference(self, inputs: Sequence[Tensor]) -> dict[str, Any]:
        """Every value's shape at the file's own batch, and the outputs themselves."""
        values = self._values(inputs)
        shapes: dict[str, Any] = {name: tuple(value.shape) for name, value in values.items() if isinstance(value, Tensor)}
        for step in self.module.steps():
            self._step(step, values)
            for name in step.node.outputs:
                if isinstance(values.get(name), Tensor):
                    shapes[name] = tuple(values[name].shape)
            for name in step.free:
                values.pop(name, None)
        self.ranks = {name: len(shape) for name, shape in shapes.items()}
        return {**shapes, **{name: values[name] for name in self.module.output_names}}

    def _step(self, step: Step, values: dict[str, Any], arguments: list[Any] | None = None) -> None:
        node = step.node
        try:
            node.outer = values if node.bodies else {}
            result = step.run(node, *([values[name] if name else None for name in node.inputs] if arguments is None else arguments))
            node.outer = {}
        except FAULTS as error:
            raise OperatorError(f"{node.op} at '{node.name}' cannot run at another batch size: {str(error).splitlines()[0] if str(error) else ''}") from error
        results = result if isinstance(result, tuple) else (result,)
        values.update({name: value for name, value in zip(node.outputs, results, strict=False) if name})

    def run(self, inputs: Sequence[Tensor], reference: dict[str, Any]) -> None:
        """Run at twice the batch, mending as it goes."""
        values = self._values(inputs)
        for step in self.module.steps():
            node = step.node
            arguments = [values[name] if name else None for name in node.inputs]
            if node.op == "Reshape":
                arguments = self._reshape(step, arguments, reference)
            elif node.op == "Concat":
                arguments = self._concat(step, arguments)
            elif node.op == "Expand":
                arguments = self._expand(step, arguments, reference)
            elif node.op in ("LSTM", "GRU", "RNN"):
                arguments = self._states(step, arguments)
            elif node.op == "GatherElements":
                arguments = self._looked_up(step, arguments)
            elif node.op in _BESIDE:
                arguments = self._beside(step, arguments, reference)
            self._step(step, values, arguments)
            if node.op != "Reshape" and self.inner.intersection(node.inputs):
                self.inner.update(name for name in node.outputs if name)
            for name in step.free:
                values.pop(name, None)

    def _reshape(self, step: Step, arguments: list[Any], reference: dict[str, Any]) -> list[Any]:
        """Put 'whatever is left' where the batch belongs."""
        node = step.node
        before, after = _shape(reference, node.inputs[0]), _shape(reference, node.outputs[0])
        now = tuple(arguments[0].shape)
        axis = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), None)
        if axis is None or len(node.inputs) < 2:
            return arguments
        target = ints(arguments[1])
        goal, inner = _grown(before, after, axis, self.batch, node.inputs[0] in self.inner)
        if inner:
            self.inner.add(node.outputs[0])
        if goal is None:
            raise OperatorError(f"Reshape at '{node.name}' mixes the pictures of a batch")
        ratio = now[axis] // before[axis]
        wanted = [size * ratio if i == goal else size for i, size in enumerate(after)]
        if _resolved(target, now) == wanted:
            return arguments
        new = [-1 if i == goal else size for i, size in enumerate(after)]
        if goal == axis and not node.get("allowzero", 0):
            new = [0 if i == goal else size for i, size in enumerate(target)] if len(target) == len(after) else new
            if _resolved(new, now) != wanted:
                new = [-1 if i == goal else size for i, size in enumerate(after)]
        self.targets[node.outputs[0]] = new
        self.mended += 1
        return [arguments[0], torch.tensor(new), *arguments[2:]]

    def _concat(self, step: Step, arguments: list[Any]) -> list[Any]:
        """Repeat what does not grow with the batch for as many pictures as there are."""
        node = step.node
        along = node.get("axis", 1) % max(arguments[0].dim(), 1)
        shapes = [tuple(item.shape) for item in arguments]
        for axis in range(len(shapes[0])):
            sizes = [shape[axis] for shape in shapes]
            if axis == along or len(set(sizes)) == 1:
                continue
            grown = next(i for i, size in enumerate(sizes) if size == max(sizes))
            for position, size in enumerate(sizes):
                if size != max(sizes):
                    if size != 1:
                        raise OperatorError(f"Concat at '{node.name}' joins a constant made for a batch of {size}")
                    arguments[position] = arguments[position].expand([max(sizes) if i == axis else s for i, s in enumerate(shapes[position])])
                    self.expanded.append((node.outputs[0], position, axis, node.inputs[grown]))
                    self.mended += 1
        return arguments

    def _expand(self, step: Step, arguments: list[Any], reference: dict[str, Any]) -> list[Any]:
        node = step.node
        before, now = _shape(reference, node.inputs[0]), tuple(arguments[0].shape)
        target = ints(arguments[1])
        shift = len(target) - len(now)
        new = [1 if i >= shift and now[i - shift] != before[i - shift] else size for i, size in enumerate(target)]
        if new == target:
            return arguments
        self.targets[node.outputs[0]] = new
        self.mended += 1
        return [arguments[0], torch.tensor(new)]

    def _states(self, step: Step, arguments: list[Any]) -> list[Any]:
        """Initial states of recurrent layers that are stored for one batch."""
        node = step.node
        batch_axis = 0 if node.get("layout", 0) else 1
        for position in (5, 6):
            state = arguments[position] if len(arguments) > position else None
            size = arguments[0].shape[batch_axis]
            if isinstance(state, Tensor) and state.shape[batch_axis] == 1 != size:
                arguments[position] = state.expand([size if i == batch_axis else s for i, s in enumerate(state.shape)])
                self.expanded.append((node.outputs[0] or node.outputs[-1], position, batch_axis, f"{batch_axis}:{node.inputs[0]}"))
                self.mended += 1
        return arguments

    def _looked_up(self, step: Step, arguments: list[Any]) -> list[Any]:
        """A table of one row that is read at every picture's positions."""
        table, positions = arguments
        along = step.node.get("axis", 0) % table.dim()
        for axis, (size, wanted) in enumerate(zip(table.shape, positions.shape, strict=True)):
            if axis != along and size == 1 < wanted:
                arguments[0] = arguments[0].expand([wanted if i == axis else -1 for i in range(table.dim())])
                self.expanded.append((step.node.outputs[0], 0, axis, step.node.inputs[1]))
                self.mended += 1
        return arguments

    def _beside(self, step: Step, arguments: list[Any], reference: dict[str, Any]) -> list[Any]:
        """Repeat what was stored for all heads (or windows) of the file's batch, picture after picture."""
        node = step.node
        if not all(isinstance(item, Tensor) for item in arguments) or self.inner.intersection(node.inputs):
            return arguments
        for back in range(1, max(item.dim() for item in arguments) + 1):
            sizes = [item.shape[-back] if item.dim() >= back else 1 for item in arguments]
            most = max(sizes)
            for position, size in enumerate(sizes):
                before = _shape(reference, node.inputs[sizes.index(most)])
                if 1 < size < most and most % size == 0 and len(before) >= back and before[-back] == size:
                    axis = arguments[position].dim() - back
                    arguments[position] = arguments[position].repeat([most // size if i == axis else 1 for i in range(arguments[position].dim())])
                    self.tiled.append((node.outputs[0], position, back, node.inputs[sizes.index(most)]))
                    self.mended += 1
        return arguments

    def write(self) -> None:
        """Bring what was found into the file's graph."""
        graph = self.model.graph
        nodes = list(graph.node)
        added: dict[int, list[onnx.NodeProto]] = {}
        by_output = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        for count, (output, target) in enumerate(self.targets.items()):
            name = f"graft_target_{count}"
            graph.initializer.append(constant_tensor(np.array(target, dtype=np.int64), name))
            nodes[by_output[output]].input[1] = name
        for count, (output, position, axis, like) in enumerate(self.expanded):
            index = by_output[output]
            source = nodes[index].input[position]
            grown_axis, _, grown = like.partition(":") if like[1:2] == ":" else (str(axis), "", like)
            added.setdefault(index, []).extend(self._expansion(count, source, axis, int(grown_axis), grown))
            nodes[index].input[position] = f"graft_expanded_{count}"
        for count, (output, position, back, grown) in enumerate(self.tiled):
            index = by_output[output]
            added.setdefault(index, []).extend(self._tiling(count, nodes[index].input[position], back, grown))
            nodes[index].input[position] = f"graft_tiled_{count}"
        order = [item for index, node in enumerate(nodes) for item in (*added.get(index, []), node)]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in order]
        del graph.node[:]
        graph.node.extend(copies)

    def _expansion(self, count: int, source: str, axis: int, grown_axis: int, grown: str) -> list[onnx.NodeProto]:
        """Nodes that expand `source` along `axis` to the length of `grown` there."""
        graph, tag = self.model.graph, f"graft_expanded_{count}"
        graph.initializer.append(constant_tensor(np.array([grown_axis], dtype=np.int64), f"{tag}_axis"))
        graph.initializer.append(constant_tensor(np.array([1] * axis, dtype=np.int64), f"{tag}_before"))
        after = self.ranks[source] - axis - 1
        graph.initializer.append(constant_tensor(np.array([1] * after, dtype=np.int64), f"{tag}_after"))
        make = onnx.helper.make_node
        return [
            make("Shape", [grown], [f"{tag}_shape"], name=f"{tag}_shape"),
            make("Gather", [f"{tag}_shape", f"{tag}_axis"], [f"{tag}_size"], name=f"{tag}_size"),
            make("Concat", [f"{tag}_before", f"{tag}_size", f"{tag}_after"], [f"{tag}_target"], name=f"{tag}_target", axis=0),
            make("Expand", [source, f"{tag}_target"], [tag], name=tag),
        ]

    def _tiling(self, count: int, source: str, back: int, grown: str) -> list[onnx.NodeProto]:
        """Nodes that repeat `source` along its axis -`back` until it is as long as `grown` there."""
        graph, tag, make = self.model.graph, f"graft_tiled_{count}", onnx.helper.make_node
        for name, value in (("axis", [-back]), ("before", [1] * (self.ranks[source] - back)), ("after", [1] * (back - 1))):
            graph.initializer.append(constant_tensor(np.array(value, dtype=np.int64), f"{tag}_{name}"))
        return [
            make("Shape", [grown], [f"{tag}_shape"], name=f"{tag}_shape"),
            make("Gather", [f"{tag}_shape", f"{tag}_axis"], [f"{tag}_size"], name=f"{tag}_size"),
            make("Shape", [source], [f"{tag}_own_shape"], name=f"{tag}_own_shape"),
            make("Gather", [f"{tag}_own_shape", f"{tag}_axis"], [f"{tag}_own_size"], name=f"{tag}_own_size"),
            make("Div", [f"{tag}_size", f"{tag}_own_size"], [f"{tag}_times"], name=f"{tag}_times"),
            make("Concat", [f"{tag}_before", f"{tag}_times", f"{tag}_after"], [f"{tag}_repeats"], name=f"{tag}_repeats", axis=0),
            make("Tile", [source, f"{tag}_repeats"], [tag], name=tag),
        ]


def _shape(reference: dict[str, Any], name: str) -> Shape:
    """A value's shape at the file's own batch: of outputs, the values themselves are kept."""
    found = reference.get(name, ())
    return tuple(found.shape) if isinstance(found, Tensor) else tuple(found)


def _grown(before: Shape, after: Shape, axis: int, batch: int, inner: bool) -> tuple[int | None, bool]:
    """Find the axis of a reshaped tensor that grows where `axis` of the original does.

    Memory order tells: what lies inside one step of the batch is as long before as after. The batch may get an axis of its
    own, become the outer part of one (picture 0's windows, then picture 1's), or the inner part (each token, picture by picture).

    Returns:
        The axis, or None; and whether the batch is the inner part of it.
    """
    step = math.prod(before[axis + 1 :]) if inner else math.prod(before[axis:]) // batch
    inside = [math.prod(after[i + 1 :]) for i in range(len(after))]
    own = [i for i, size in enumerate(after) if size == batch and inside[i] == step]
    if own:
        return own[0], False
    outer = [i for i, size in enumerate(after) if size * inside[i] == step * batch]
    within = [i for i in range(len(after)) if inside[i] == step]
    if outer and (outer[0] < len(after) - 1 or not within):
        return outer[0], False
    return (within[0], True) if within else (None, False)


def _resolved(target: Sequence[int], shape: Shape) -> list[int] | None:
    """The sizes a Reshape target comes to, or None where it does not fit."""
    sizes = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(target)]
    total, rest = math.prod(shape), math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) > 1 or (-1 in sizes and (not rest or total % rest)):
        return None
    sizes = [total // rest if size == -1 else size for size in sizes]
    return sizes if math.prod(sizes) == total else None
