"""Runs the nodes of an ONNX graph in order on torch tensors, dropping every value after its last use.

Decodes nodes once (`compile_graph`), then `execute` is a short loop. What is a weight and what a constant is
`graph.py`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from onnx import AttributeProto, GraphProto, NodeProto
from torch import Tensor

from engine.models.own_onnx.operators import OPERATORS, Node, Operator, OperatorError, key
from engine.models.own_onnx.operators.types import from_numpy
from engine.models.own_onnx.stored import array_of

__all__ = ["FAULTS", "Body", "Step", "compile_graph", "execute", "set_training"]

FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, NotImplementedError, ZeroDivisionError, OverflowError)
"""What an operator raises when a file asks for something it cannot do."""

_HOST_INPUTS: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "If": (0,),
    "Loop": (0, 1),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""Inputs that say how, not what: they stay in the processor's memory, where reading them costs no wait for the device."""


@dataclass(slots=True)
class Step:
    """One node, ready to run: where its inputs are, what to call, and which values nobody needs afterwards."""

    node: Node
    run: Operator
    free: tuple[str, ...] = ()
    host: tuple[int, ...] = ()


@dataclass(slots=True)
class Body:
    """A subgraph of If, Loop or Scan; it sees the values of the graph around it."""

    inputs: list[str]
    outputs: list[str]
    steps: list[Step]
    constants: dict[str, Any]
    captured: set[str] = field(default_factory=set)

    def __call__(self, outer: Mapping[str, Any], arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Run on these arguments and return the outputs in order."""
        values = {**outer, **self.constants, **dict(zip(self.inputs, arguments, strict=False))}
        execute(self.steps, values)
        return tuple(values[name] for name in self.outputs)

    def train(self, mode: bool) -> None:
        """Pass training mode on to the nodes inside."""
        for step in self.steps:
            set_training(step.node, mode)


def set_training(node: Node, mode: bool) -> None:
    """Put a node and its subgraphs into training or inference mode."""
    node.training = mode
    for body in node.bodies.values():
        body.train(mode)


def _attribute(attribute: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.STRING:
        return value.decode()
    if attribute.type == AttributeProto.STRINGS:
        return [item.decode() for item in value]
    if attribute.type == AttributeProto.TENSOR:
        return from_numpy(array_of(value))
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return list(value)
    return value


def _node(proto: NodeProto, opsets: Mapping[str, int], kinds: Mapping[str, int]) -> Node:
    attributes = {item.name: _attribute(item) for item in proto.attribute if item.type not in (AttributeProto.GRAPH, AttributeProto.GRAPHS)}
    bodies = {item.name: _body(item.g, opsets, kinds) for item in proto.attribute if item.type == AttributeProto.GRAPH}
    inputs = list(proto.input)
    while inputs and not inputs[-1]:
        inputs.pop()
    if proto.op_type == "QuantizeLinear" and len(inputs) > 2 and inputs[2] in kinds:
        attributes["zero_kind"] = kinds[inputs[2]]
    if proto.op_type == "CastLike" and inputs[1] in kinds:
        attributes["like_kind"] = kinds[inputs[1]]
    opset = opsets.get(proto.domain, opsets.get("", 0))
    return Node(proto.op_type, proto.name or proto.output[0], tuple(inputs), tuple(proto.output), attributes, opset, proto.domain, bodies=bodies)


def _body(graph: GraphProto, opsets: Mapping[str, int], kinds: Mapping[str, int]) -> Body:
    constants = {item.name: from_numpy(array_of(item)) for item in graph.initializer}
    outputs = [value.name for value in graph.output]
    inner = {**kinds, **{item.name: item.data_type for item in graph.initializer}}
    steps = compile_graph(graph.node, outputs, opsets, inner, free=False)
    made = {name for step in steps for name in step.node.outputs} | set(constants) | {value.name for value in graph.input}
    captured = {name for step in steps for name in _needs(step.node)} | set(outputs)
    return Body([value.name for value in graph.input], outputs, steps, constants, captured - made)


def _needs(node: Node) -> set[str]:
    """Every value a node reads, its subgraphs included."""
    inner = {name for body in node.bodies.values() for name in body.captured}
    return {name for name in node.inputs if name} | inner


def compile_graph(protos: Iterable[NodeProto], outputs: Sequence[str], opsets: Mapping[str, int], kinds: Mapping[str, int], *, free: bool = True) -> list[Step]:
    """Decode nodes and note after which step each value can go.

    Raises:
        OperatorError: if an operator is not in the table.
    """
    steps = []
    for proto in protos:
        name = key(proto.op_type, proto.domain)
        if name not in OPERATORS:
            raise OperatorError(f"{name} is not an operator that can be trained")
        steps.append(Step(_node(proto, opsets, kinds), OPERATORS[name], host=_HOST_INPUTS.get(proto.op_type, ())))
    if not free:
        return steps
    kept, seen = set(outputs), set[str]()
    for step in reversed(steps):
        names = _needs(step.node) | {name for name in step.node.outputs if name}
        step.free = tuple(sorted(names - seen - kept))
        seen |= names
    return steps


def _aligned(step: Step, arguments: list[Any]) -> list[Any]:
    """Bring small constants and shapes to the device the data is on, except where they only say how."""
    device = next((item.device for item in arguments if isinstance(item, Tensor) and item.device.type != "cpu"), None)
    if device is None:
        return arguments
    return [
        item.to(device) if isinstance(item, Tensor) and item.device != device and item.dim() and position not in step.host else item
        for position, item in enumerate(arguments)
    ]


def execute(steps: Sequence[Step], values: dict[str, Any], *, on_host: bool = True) -> None:
    """Run every step, reading from and writing to `values`.

    Raises:
        OperatorError: if an operator fails; the message names its node.
    """
    node: Node | None = None
    try:
        for step in steps:
            node = step.node
            arguments = [values[name] if name else None for name in node.inputs]
            if node.bodies:
                node.outer = values
            result = step.run(node, *(arguments if on_host else _aligned(step, arguments)))
            if type(result) is tuple:
                for name, value in zip(node.outputs, result, strict=False):
                    if name:
                        values[name] = value
            else:
                values[node.outputs[0]] = result
            if node.bodies:
                node.outer = {}
            for name in step.free:
                values.pop(name, None)
    except torch.OutOfMemoryError:
        raise
    except FAULTS as error:
        assert node is not None
        raise OperatorError(f"{node.op} at '{node.name}': {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error
