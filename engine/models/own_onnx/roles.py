"""Decides, without torch, what each stored tensor of a graph is: a weight to train, a statistic, or a constant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from engine.models.own_onnx.stored import array_of

__all__ = ["FLOATS", "Role", "consumers", "needed_nodes", "parameter_names", "reads", "roles", "weights_inside"]

Role = Literal["weight", "buffer", "constant"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Attention": (0, 1, 2),
    "BatchNormalization": (1, 2),
    "BiasGelu": (1,),
    "CausalConvWithState": (1, 2),
    "Conv": (0, 1, 2),
    "ConvTranspose": (0, 1, 2),
    "DeformConv": (1, 3),
    "Einsum": tuple(range(16)),
    "FastGelu": (1,),
    "FusedConv": (0, 1, 2),
    "FusedGemm": (0, 1, 2),
    "FusedMatMul": (0, 1),
    "GRU": (1, 2, 3, 5),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3, 5, 6, 7),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "RNN": (1, 2, 3, 5),
    "SkipLayerNormalization": (2, 3, 4),
    "TransposeMatMul": (0, 1),
}
"""Inputs whose stored value is always learnt, whatever its size."""

_LEARNT_IF_LARGE = (
    "Add",
    "Concat",
    "Div",
    "Expand",
    "Identity",
    "Max",
    "Mean",
    "Min",
    "Mul",
    "Pow",
    "Reshape",
    "Slice",
    "Split",
    "Sub",
    "Sum",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Squeeze",
    "Where",
    "Softmax",
    "Sigmoid",
    "Exp",
    "Softplus",
    "Neg",
    "Tanh",
    "Cast",
    "Pad",
    "Resize",
    "Flatten",
    "ReduceMean",
    "ReduceSum",
    "ReduceL2",
    "Sqrt",
    "LpNormalization",
    "GatherElements",
    "GatherND",
)
"""Inputs whose stored value is learnt where it has more than one element: 0.5 in a written-out GELU is no weight."""

_COMPARE = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsInf", "IsNaN")
"""What is compared is no weight: masks are made so."""

_NO_GRADIENT = (*_COMPARE, "ArgMax", "ArgMin", "Ceil", "Floor", "NonZero", "Round", "Shape", "Sign", "Size")

_STATISTICS: dict[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}
_PREPARATION = (
    "Sub",
    "Div",
    "Mul",
    "Add",
    "Cast",
    "Transpose",
    "Identity",
    "Unsqueeze",
    "Slice",
    "Gather",
    "Concat",
    "Resize",
    "Clip",
    "Reshape",
    "Squeeze",
    "Split",
    "Pad",
)
_FIRST_INPUT_ONLY = (
    "Pad",
    "Resize",
    "Reshape",
    "Slice",
    "Expand",
    "Tile",
    "Unsqueeze",
    "Squeeze",
    "Split",
    "Pow",
    "ReduceMean",
    "ReduceSum",
    "ReduceL2",
    "GatherElements",
    "GatherND",
)


def needed_nodes(graph: GraphProto, outputs: Sequence[str]) -> list[NodeProto]:
    """Return the nodes that some values depend on, in the graph's order."""
    wanted, chosen = set(outputs), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            chosen.append(node)
            wanted.update(reads(node))
    return chosen[::-1]


def reads(node: NodeProto) -> set[str]:
    """Every name a node reads, those of its subgraphs included."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == AttributeProto.GRAPH else []:
            made = {name for item in graph.node for name in item.output} | {value.name for value in graph.input} | {item.name for item in graph.initializer}
            inner = {name for item in graph.node for name in reads(item)} | {value.name for value in graph.output}
            found |= inner - made
    return found


def consumers(nodes: Iterable[NodeProto]) -> dict[str, list[tuple[NodeProto, int]]]:
    """Who reads each value, and at which input."""
    table: dict[str, list[tuple[NodeProto, int]]] = {}
    for node in nodes:
        for position, name in enumerate(node.input):
            if name:
                table.setdefault(name, []).append((node, position))
    return table


def _preparing(graph: GraphProto, nodes: Sequence[NodeProto]) -> set[str]:
    """Values made of the input alone by scaling and shifting: what preprocessing inside the file looks like."""
    stored = {item.name for item in graph.initializer}
    raw = {value.name for value in graph.input if value.name not in stored}
    for node in nodes:
        if node.op_type in _PREPARATION and any(name in raw for name in node.input) and all(name in raw or name in stored or not name for name in node.input):
            raw.update(node.output)
    return raw


def _differentiable(nodes: Sequence[NodeProto]) -> set[str]:
    """Values from which a gradient can come back: some way to an end that does not round, compare or count.

    Where a float becomes a whole number (position buckets), what was computed before is no weight.
    """
    ends = {name for node in nodes for name in node.output} - {name for node in nodes for name in reads(node)}
    found = set(ends)
    for node in reversed(nodes):
        whole = node.op_type == "Cast" and any(item.name == "to" and item.i not in FLOATS for item in node.attribute)
        if not whole and node.op_type not in _NO_GRADIENT and found.intersection(node.output):
            found.update(reads(node))
    return found


def _is_mask(tensor: TensorProto) -> bool:
    """Tell whether a tensor holds only zeros and large negative numbers: what is added to attention scores to hide places."""
    if int(np.prod(tensor.dims)) > 4_000_000:
        return False
    values = np.unique(array_of(tensor).astype(np.float32).reshape(-1)[:65536])
    return len(values) <= 2 and bool((values <= 0).all()) and bool(values[0] <= -50)


def _role_at(node: NodeProto, position: int, tensor: TensorProto, raw: set[str]) -> Role:
    op, size = node.op_type, int(np.prod(tensor.dims))
    if position in _STATISTICS.get(op, ()):
        return "buffer"
    if position in _WEIGHTS.get(op, ()):
        return "weight"
    if op not in _LEARNT_IF_LARGE or (op in _FIRST_INPUT_ONLY and position > 0):
        return "constant"
    if size <= 1 and not (tensor.dims and tensor.doc_string != "constant"):
        return "constant"
    if any(name in raw for name in node.input) or (op in ("Add", "Where", "Expand", "Unsqueeze") and _is_mask(tensor)):
        return "constant"
    return "weight"


def roles(graph: GraphProto, nodes: Sequence[NodeProto]) -> dict[str, Role]:
    """Say of each stored tensor what it is. One use as a weight makes it a weight."""
    readers, raw, table = consumers(nodes), _preparing(graph, nodes), dict[str, Role]()
    differentiable = _differentiable(nodes)
    for item in graph.initializer:
        if item.data_type not in FLOATS:
            table[item.name] = "constant"
            continue
        found: set[Role] = {_role_at(node, position, item, raw) for node, position in readers.get(item.name, [])}
        if item.name not in differentiable or any(node.op_type in _COMPARE for node, _ in readers.get(item.name, [])):
            found = {"constant"}
        table[item.name] = "weight" if "weight" in found else "buffer" if "buffer" in found else "constant"
    return table


_MOST_NUMBERS = 64


def weights_inside(graph: GraphProto, outer: frozenset[str] = frozenset()) -> str:
    """The name of the first If, Loop or Scan whose own graph stores weights, or reads those around it; empty where there is none."""
    large = outer | {item.name for item in graph.initializer if _is_large(item)}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == AttributeProto.GRAPH else []:
                constants = [item.t for part in inner.node if part.op_type == "Constant" for item in part.attribute if item.HasField("t")]
                held = any(_is_large(item) for item in (*inner.initializer, *constants)) or any(large & reads(part) for part in inner.node)
                if held or weights_inside(inner, large):
                    return node.name or node.op_type
    return ""


def _is_large(item: TensorProto) -> bool:
    return item.data_type in FLOATS and int(np.prod(item.dims)) > _MOST_NUMBERS


_ANONYMOUS = re.compile(r"^(onnx::.*|\d+|val_\d+|_?[vV]?\d+|.*_(quantized|transposed|folded)_?\d*|tensor_\d+|const.*|_to_copy.*|t_\d+|.*::.*)$")
_PART_NAMES: dict[str, tuple[str, ...]] = {
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "GRU": ("", "weight_ih", "weight_hh", "bias"),
    "Gather": ("weight",),
    "Gemm": ("weight", "weight", "bias"),
    "LSTM": ("", "weight_ih", "weight_hh", "bias"),
    "LayerNormalization": ("", "weight", "bias"),
    "MatMul": ("weight", "weight"),
    "Add": ("bias", "bias"),
    "Mul": ("scale", "scale"),
}


def parameter_names(graph: GraphProto, nodes: Sequence[NodeProto]) -> dict[str, str]:
    """Readable dotted names: the file's own where it has any, else after the layer that reads the tensor."""
    readers, names, used = consumers(nodes), dict[str, str](), set[str]()
    for item in graph.initializer:
        name = item.name
        if _ANONYMOUS.match(name) and readers.get(name):
            node, position = readers[name][0]
            parts = _PART_NAMES.get(node.op_type, ())
            path = _path(node)
            leaf = parts[position] if position < len(parts) and parts[position] else f"value{position}"
            name = ".".join([*(path or [node.name.strip("/").replace("/", "_") or node.op_type.lower()]), leaf])
        name = name.replace("/", ".").replace("::", "_").strip(".") or "value"
        name = re.sub(r"\.{2,}", ".", name)
        unique, count = name, 1
        while unique in used:
            count += 1
            unique = f"{name}_{count}"
        used.add(unique)
        names[item.name] = unique
    return names


def _path(node: NodeProto) -> list[str]:
    """'/layer1/layer1.0/conv1/Conv' tells each level twice: keep the last telling, and leave the operator's own name out."""
    levels = [part for part in node.name.split("/") if part]
    if levels and levels[-1].startswith(node.op_type):
        levels.pop()
    return [level for level, after in zip(levels, [*levels[1:], ""], strict=False) if not after.startswith(f"{level}.")]
