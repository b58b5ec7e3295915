"""A network as a graph that can be drawn and folded: nodes, arrows, and the blocks they belong to. Torch-free, plain JSON."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto

from engine.models.own_onnx.cut import data_values, threads

__all__ = ["draw", "summary"]

_MOST_DRAWN = 6000
"""Past so many nodes only blocks are drawn."""

_MOST_WRAPPED = 3
"""So many outer levels of names are looked behind for blocks."""

_WRAPPER = 0.8
"""A block with more than this share of the nodes is a wrapper."""

_LAYERS = ("Attention", "Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "MatMul", "RNN", "Gather")


def _own_path(node: NodeProto) -> list[str]:
    levels = [part for part in node.name.split("/") if part]
    kept = [level for level, after in zip(levels, [*levels[1:], ""], strict=False) if not after.startswith(f"{level}.")]
    return kept[:-1]


def _block(path: Sequence[str]) -> str:
    """The block a path names: 'layer1.0' of 'layer1.0/conv1', 'blocks.3' of 'blocks.3.1/attn/qkv'."""
    if not path:
        return ""
    parts = path[0].split(".")
    cut = next((index for index, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: cut + 1]) if cut is not None else parts[0]


def _blocks(graph: GraphProto) -> list[str]:
    """The block of each node: by the names the exporter gave, else by the seams all of the network flows through."""
    paths = [_own_path(node) for node in graph.node]
    for wrapped in range(_MOST_WRAPPED):  # 'model/layer1.0/conv1': a wrapper round all of it is no block
        named = [_block(path[wrapped:] or path) for path in paths]
        if len(set(named)) <= 3 or collections.Counter(named).most_common(1)[0][1] > _WRAPPER * len(named):
            continue
        last = "start"
        filled = []
        for name in named:
            last = name or last
            filled.append(last)
        return filled
    seams = set(threads(graph, [value.name for value in graph.output]))
    blocks, number, weights_in = [], 1, 0
    for node in graph.node:
        blocks.append(f"block {number}")
        weights_in += node.op_type in _LAYERS
        if weights_in >= 3 and seams.intersection(node.output):
            number, weights_in = number + 1, 0
    return blocks


def draw(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return {"nodes", "edges", "blocks", "complete"}.

    A node: {"id", "op", "name", "block", "value", "shape", "weights"}; an edge: [from, to] by id; a block: {"name", "nodes",
    "weights", "ops"}. `value` is what a cut at the node is called.
    """
    graph, sizes = model.graph, {item.name: math.prod(item.dims) for item in model.graph.initializer}
    data, blocks = data_values(graph), _blocks(graph)
    nodes, edges, makers = [], [], {}
    table: dict[str, dict[str, Any]] = {}
    for index, (node, block) in enumerate(zip(graph.node, blocks, strict=True)):
        weights = sum(sizes.get(name, 0) for name in node.input)
        row = table.setdefault(block, {"name": block, "nodes": 0, "weights": 0, "ops": collections.Counter()})
        row["nodes"] += 1
        row["weights"] += weights
        row["ops"][node.op_type] += 1
        for name in node.output:
            makers[name] = index
        if not any(name in data for name in node.output):
            continue
        value = node.output[0]
        nodes.append(
            {"id": index, "op": node.op_type, "name": node.name, "block": block, "value": value, "shape": list(shapes.get(value, ())), "weights": weights}
        )
        edges += [[makers[name], index] for name in dict.fromkeys(node.input) if name in makers and name in data]
    listed = [{**row, "ops": dict(row["ops"].most_common())} for row in table.values()]
    complete = len(nodes) <= _MOST_DRAWN
    return {
        "nodes": nodes if complete else [],
        "edges": edges if complete else [],
        "blocks": listed,
        "complete": complete,
        "block_edges": _between(nodes, edges),
    }


def _between(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Sequence[int]]) -> list[list[str]]:
    """Arrows between folded blocks."""
    block = {node["id"]: node["block"] for node in nodes}
    pairs = dict.fromkeys((block[a], block[b]) for a, b in edges if a in block and b in block and block[a] != block[b])
    return [list(pair) for pair in pairs]


_PRODUCERS = {
    "pytorch": "PyTorch",
    "tf2onnx": "TensorFlow (tf2onnx)",
    "keras2onnx": "Keras",
    "onnx.quantize": "ONNX Runtime's quantiser",
    "onnx.ml": "ONNX tools",
    "paddlepaddle": "PaddlePaddle",
    "graft": "Graft",
}


def summary(model: ModelProto, file_bytes: int) -> dict[str, Any]:
    """Return who wrote the file, with which operators, and how much it holds."""
    operators = collections.Counter(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}" for node in model.graph.node)
    opsets = {item.domain or "ai.onnx": item.version for item in model.opset_import}
    name = re.sub(r"[^\x20-\x7e]", "", model.producer_name)[:60]
    return {
        "producer": _PRODUCERS.get(name.lower(), name) or "unknown",
        "producer_version": re.sub(r"[^\x20-\x7e]", "", model.producer_version)[:40],
        "opset": opsets.get("ai.onnx", 0),
        "opsets": opsets,
        "ir_version": model.ir_version,
        "nodes": len(model.graph.node),
        "operators": dict(operators.most_common()),
        "bytes": file_bytes,
    }
