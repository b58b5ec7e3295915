"""Finds what an exporter wrote out in small steps and torch has in one: GELU, SiLU, hard swish, LayerNorm, attention, linear layers.

Written out, each step keeps its result for the way back; in one piece, training takes the time and memory of the network it came from.
Only how the graph is run changes: the file, its names and its weights stay, and what is written back is the graph as it came. Torch-free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onnx import GraphProto, NodeProto, helper

from engine.models.own_onnx.roles import consumers
from engine.models.own_onnx.stored import array_of

__all__ = ["DOMAIN", "fuse"]

DOMAIN = "graft"
"""Domain of the operators that only exist here; a file cannot bring them."""


class _Matcher:
    """The nodes of a graph, who makes what and who reads it, and which of them were made one."""

    def __init__(self, graph: GraphProto, nodes: Sequence[NodeProto], keep: Sequence[str]) -> None:
        self.nodes, self.keep = nodes, set(keep)
        self.makers = {name: node for node in nodes for name in node.output if name}
        self.readers = consumers(nodes)
        self.stored = {item.name: item for item in graph.initializer}
        inner = {name for node in nodes for item in node.attribute if item.HasField("g") for sub in item.g.node for name in sub.input}
        self.keep |= inner | {value.name for node in nodes for item in node.attribute if item.HasField("g") for value in item.g.output}
        self.gone: dict[int, NodeProto | None] = {}
        """By the id of a node: what stands in its place (nothing, or the fused node at the last one)."""

    def scalar(self, name: str) -> float | None:
        """The number a stored tensor of one element holds."""
        item = self.stored.get(name)
        if item is None or math.prod(item.dims) != 1:
            return None
        return float(array_of(item).reshape(-1)[0])

    def is_scalar(self, name: str, value: float) -> bool:
        """Tell whether a value is stored and about this number."""
        found = self.scalar(name)
        return found is not None and abs(found - value) <= 1e-3 * abs(value)

    def made_by(self, name: str, op: str) -> NodeProto | None:
        """The node of this kind that makes a value which nobody else needs."""
        node = self.makers.get(name)
        free = name not in self.keep and len(self.readers.get(name, [])) == 1
        return node if node is not None and node.op_type == op and free and node.domain in ("", "ai.onnx") and id(node) not in self.gone else None

    def reader(self, node: NodeProto, *ops: str) -> NodeProto | None:
        """The one node that reads a node's result, if it is of one of these kinds."""
        name = node.output[0]
        found = self.readers.get(name, [])
        if name in self.keep or len(found) != 1 or found[0][0].op_type not in ops or id(found[0][0]) in self.gone:
            return None
        return found[0][0]

    def other(self, node: NodeProto, name: str) -> str:
        """The other input of a node with two."""
        return node.input[1] if node.input[0] == name else node.input[0]

    def replace(self, old: Sequence[NodeProto], op: str, inputs: Sequence[str], domain: str = "", **attributes: float | int) -> None:
        """Put one node in the place of several; the last of them gives the result."""
        for node in old:
            self.gone[id(node)] = None
        fused = helper.make_node(op, list(inputs), [old[-1].output[0]], name=old[-1].name, domain=domain)
        fused.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.gone[id(old[-1])] = fused


def _gelu(m: _Matcher, node: NodeProto) -> None:
    """x * 0.5 * (1 + erf(x / sqrt(2))), in the orders exporters write it."""
    inner = m.made_by(node.input[0], "Div") or m.made_by(node.input[0], "Mul")
    if inner is None or not m.is_scalar(inner.input[1], math.sqrt(2) if inner.op_type == "Div" else math.sqrt(0.5)):
        return
    x, plus = inner.input[0], m.reader(node, "Add")
    if plus is None or not m.is_scalar(m.other(plus, node.output[0]), 1):
        return
    product = m.reader(plus, "Mul")
    if product is None:
        return
    factor = m.other(product, plus.output[0])
    half = m.made_by(factor, "Mul")
    if half is not None and x in half.input and m.is_scalar(m.other(half, x), 0.5):
        m.replace([inner, node, plus, half, product], "Gelu", [x])
        return
    last = m.reader(product, "Mul")
    rest = {factor, m.other(last, product.output[0])} if last is not None else set()
    if last is not None and x in rest and any(m.is_scalar(name, 0.5) for name in rest - {x}):
        m.replace([inner, node, plus, product, last], "Gelu", [x])


def _silu(m: _Matcher, node: NodeProto) -> None:
    product = m.reader(node, "Mul")
    if product is not None and m.other(product, node.output[0]) == node.input[0]:
        m.replace([node, product], "Swish", [node.input[0]])


def _hard_swish(m: _Matcher, node: NodeProto) -> None:
    alpha = next((item.f for item in node.attribute if item.name == "alpha"), 0.2)
    beta = next((item.f for item in node.attribute if item.name == "beta"), 0.5)
    product = m.reader(node, "Mul")
    if product is not None and m.other(product, node.output[0]) == node.input[0] and abs(alpha - 1 / 6) < 1e-4 and abs(beta - 0.5) < 1e-4:
        m.replace([node, product], "HardSwish", [node.input[0]])


def _layer_norm(m: _Matcher, node: NodeProto) -> None:
    """(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias over the last axis; anchored at the square root."""
    plus, quotient = m.made_by(node.input[0], "Add"), m.reader(node, "Div")
    if plus is None or quotient is None or quotient.input[1] != node.output[0]:
        return
    spread = m.made_by(plus.input[0], "ReduceMean")
    square = (m.made_by(spread.input[0], "Pow") or m.made_by(spread.input[0], "Mul")) if spread is not None else None
    centred = m.makers.get(quotient.input[0])
    epsilon = m.scalar(plus.input[1])
    if spread is None or square is None or centred is None or centred.op_type != "Sub" or epsilon is None or square.input[0] != quotient.input[0]:
        return
    squares = m.is_scalar(square.input[1], 2) if square.op_type == "Pow" else square.input[1] == square.input[0]
    mean, x = m.made_by(centred.input[1], "ReduceMean"), centred.input[0]
    alone = all(id(reader) in (id(square), id(quotient)) for reader, _ in m.readers[centred.output[0]]) and centred.output[0] not in m.keep
    if mean is None or mean.input[0] != x or not (squares and alone and _over_last(m, mean) and _over_last(m, spread)):
        return
    scaled = m.reader(quotient, "Mul")
    scale = m.other(scaled, quotient.output[0]) if scaled is not None else ""
    shifted = m.reader(scaled, "Add") if scaled is not None else None
    bias = m.other(shifted, scaled.output[0]) if scaled is not None and shifted is not None else ""
    plain = all(name in m.stored and len(m.stored[name].dims) == 1 for name in (scale, bias))
    if scaled is not None and shifted is not None and plain and m.stored[scale].dims == m.stored[bias].dims and m.stored[scale].dims[0] > 1:
        parts = [mean, centred, square, spread, plus, node, quotient, scaled, shifted]
        m.replace(parts, "LayerNormalization", [x, scale, bias], axis=-1, epsilon=epsilon)


def _over_last(m: _Matcher, node: NodeProto) -> bool:
    axes = next((list(item.ints) for item in node.attribute if item.name == "axes"), None)
    if axes is None and len(node.input) > 1 and node.input[1] in m.stored:
        axes = array_of(m.stored[node.input[1]]).reshape(-1).tolist()
    return axes == [-1] and next((item.i for item in node.attribute if item.name == "keepdims"), 1) == 1


def _attention(m: _Matcher, node: NodeProto) -> None:
    """softmax(q k' * scale) v without a mask; scores and their softmax are never kept."""
    axis = next((item.i for item in node.attribute if item.name == "axis"), -1)
    result = m.reader(node, "MatMul")
    if axis not in (-1, 3) or result is None or result.input[0] != node.output[0]:
        return
    scale, source, scaling = 1.0, node.input[0], None
    for op in ("Mul", "Div"):
        found = m.made_by(source, op)
        value = m.scalar(found.input[1]) if found is not None else None
        if found is not None and value:
            scaling, scale, source = found, value if op == "Mul" else 1 / value, found.input[0]
            break
    scores = m.made_by(source, "MatMul")
    if scores is None or any(name in m.stored for name in (*scores.input, result.input[1])):
        return
    parts = [scores, *([scaling] if scaling is not None else []), node, result]
    key, swapped = scores.input[1], 0
    transposed = m.made_by(key, "Transpose")
    order = [list(item.ints) for item in transposed.attribute if item.name == "perm"] if transposed is not None else []
    if transposed is not None and order and order[0] == [*range(len(order[0]) - 2), len(order[0]) - 1, len(order[0]) - 2]:
        key, swapped, parts = transposed.input[0], 1, [transposed, *parts]
    m.replace(parts, "Attended", [scores.input[0], key, result.input[1]], DOMAIN, scale=scale, transposed=swapped)


def _linear(m: _Matcher, node: NodeProto) -> None:
    """A product with a stored matrix and a stored bias added to it."""
    plus = m.reader(node, "Add")
    if plus is None or node.input[1] not in m.stored or len(m.stored[node.input[1]].dims) != 2:
        return
    bias = m.other(plus, node.output[0])
    if bias in m.stored and list(m.stored[bias].dims) == [m.stored[node.input[1]].dims[1]]:
        m.replace([node, plus], "Linear", [node.input[0], node.input[1], bias], DOMAIN)


_ANCHORS: dict[str, Callable[[_Matcher, NodeProto], None]] = {
    "Erf": _gelu,
    "HardSigmoid": _hard_swish,
    "MatMul": _linear,
    "Sigmoid": _silu,
    "Softmax": _attention,
    "Sqrt": _layer_norm,
}


def fuse(graph: GraphProto, nodes: Sequence[NodeProto], keep: Sequence[str]) -> list[NodeProto]:
    """Return the nodes to run instead.

    Args:
        graph: normalised; where its stored tensors are looked up.
        nodes: in order.
        keep: values that must still be made.
    """
    matcher = _Matcher(graph, nodes, keep)
    for node in nodes:
        if node.op_type in _ANCHORS and node.domain in ("", "ai.onnx") and id(node) not in matcher.gone:
            _ANCHORS[node.op_type](matcher, node)
    found: list[NodeProto] = []
    for node in nodes:
        if id(node) not in matcher.gone:
            found.append(node)
        else:
            replaced = matcher.gone[id(node)]
            found += [replaced] if replaced is not None else []
    return found
