"""Takes BatchNorm out of the convolutions again that an exporter merged it into. What the network computes stays the same.

Merging multiplies each filter by what BatchNorm would have scaled its result by. Afterwards filters of one network differ in length by
a factor of hundreds, and an optimiser that moves every weight by about the same amount tears some and hardly moves others. So each
filter becomes one of unit length again, followed by a BatchNormalization that puts its length and its bias back (filters of unit length
and a separate scale are weight normalisation, https://arxiv.org/abs/1602.07868; where BatchNorm was never merged, the middle filter of
EfficientNet-Lite0 has length 1.05, and after merging the layers' middle lengths lie between 0.12 and 10). The statistics are those of
real pictures, so that the layer also behaves as BatchNorm does where batches are normalised by their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from torch import Tensor

from engine.models.own_onnx.cut import data_values
from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.roles import consumers
from engine.models.own_onnx.stored import array_of, tensor_of

__all__ = ["merged", "restore"]

_EPSILON = 1e-5
_FEWEST = 3
"""In a network with fewer such convolutions the names rather mislead."""

_PAIRS = (("weight", "bias"), ("weights", "bias"), ("weights", "biases"), ("w", "b"), ("kernel", "bias"), ("filter", "bias"), ("conv2d", "biasadd"))
"""What weight and bias of one layer are called."""

_AT_ONCE = 16
"""Results kept in memory at a time while statistics are measured."""


def merged(graph: GraphProto) -> list[NodeProto]:
    """Return the convolutions that BatchNorm was merged into.

    A convolution that was written with a bias calls it as it calls its weight ('stem.weight', 'stem.bias'); a bias that an exporter made
    has a name of its own ('onnx::Conv_194', 'stem.weight_bias').
    """
    stored, readers, data = {item.name: item for item in graph.initializer}, consumers(graph.node), data_values(graph)
    outputs = {value.name for value in graph.output}
    found = []
    for node in graph.node:
        if node.op_type != "Conv" or node.domain not in ("", "ai.onnx") or len(node.input) != 3 or node.input[0] not in data:
            continue
        weight, bias = node.input[1], node.input[2]
        own = weight in stored and bias in stored and len(readers[weight]) == len(readers[bias]) == 1 and node.output[0] not in outputs
        normed = any(reader.op_type.endswith("Normalization") for reader, _ in readers.get(node.output[0], []))
        if own and not normed and stored[weight].data_type == TensorProto.FLOAT and not _named_together(weight, bias):
            found.append(node)
    return found if len(found) >= _FEWEST else []


def _named_together(weight: str, bias: str) -> bool:
    """Tell whether two names differ only in the word for what they are: 'conv1_w_0' and 'conv1_b_0'."""
    words = [re.split(r"[^A-Za-z0-9]+", name.lower()) for name in (weight, bias)]
    pairs = [(a, b) for a, b in zip(*words, strict=False) if a != b]
    return len(words[0]) == len(words[1]) and len(pairs) == 1 and pairs[0] in _PAIRS


def restore(model: ModelProto, pictures: Sequence[np.ndarray]) -> int:
    """Take BatchNorm out of every convolution it was merged into, in place; return how many that were.

    Args:
        model: normalised, of free batch size.
        pictures: what the network is fed, a batch of one each.
    """
    nodes = merged(model.graph)
    if not nodes:
        return 0
    measured: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    names = [node.output[0] for node in nodes]
    for start in range(0, len(names), _AT_ONCE):
        measured |= _measured(model, names[start : start + _AT_ONCE], pictures)
    stored = {item.name: item for item in model.graph.initializer}
    added: dict[str, NodeProto] = {}
    for count, node in enumerate(nodes):
        added[node.output[0]] = _separate(model.graph, node, stored, measured[node.output[0]], f"restored_norm{count}")
    biases = {node.input[2] for node in nodes}
    order = []
    for node in model.graph.node:
        copy = NodeProto.FromString(node.SerializeToString())
        order.append(copy)
        if copy.output[0] in added:
            order.append(added[copy.output[0]])
            copy.output[0] = order[-1].input[0]
            del copy.input[2:]
    del model.graph.node[:]
    model.graph.node.extend(order)
    kept = [TensorProto.FromString(item.SerializeToString()) for item in model.graph.initializer if item.name not in biases]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return len(nodes)


def _measured(model: ModelProto, names: Sequence[str], pictures: Sequence[np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of each channel of some values over pictures and places."""
    module = ImportedGraph(model, names)
    totals: dict[str, tuple[Tensor, Tensor, int]] = {}
    with torch.no_grad():
        for picture in pictures:
            for name, value in zip(names, module.run([torch.from_numpy(picture).float()], names), strict=True):
                rows = value.transpose(0, 1).flatten(1).double()
                first, second, count = totals.get(name, (torch.zeros(len(rows)).double(), torch.zeros(len(rows)).double(), 0))
                totals[name] = first + rows.sum(1), second + rows.square().sum(1), count + rows.shape[1]
    return {
        name: ((first / count).numpy(), (second / count - (first / count).square()).clamp_min(0).numpy()) for name, (first, second, count) in totals.items()
    }


def _separate(graph: GraphProto, node: NodeProto, stored: dict[str, TensorProto], measured: tuple[np.ndarray, np.ndarray], name: str) -> NodeProto:
    """Bring a convolution's filters to unit length and return the normalisation that follows it from now on."""
    weight = array_of(stored[node.input[1]]).astype(np.float64)
    bias = array_of(stored[node.input[2]]).astype(np.float64)
    length = np.sqrt(np.square(weight.reshape(len(weight), -1)).sum(1))
    length[length < 1e-12] = 1.0
    mean, variance = (measured[0] - bias) / length, measured[1] / np.square(length)
    scale = length * np.sqrt(variance + _EPSILON)
    values = {"weight": scale, "bias": bias + length * mean, "running_mean": mean, "running_var": variance}
    weight_name = node.input[1]
    stored[weight_name].CopyFrom(tensor_of((weight / length.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32), weight_name))
    graph.initializer.extend(tensor_of(value.astype(np.float32), f"{name}.{key}") for key, value in values.items())
    output = node.output[0]
    return helper.make_node(
        "BatchNormalization", [f"{output}/convolved", *(f"{name}.{key}" for key in values)], [output], name=f"{node.name or output}/{name}", epsilon=_EPSILON
    )
