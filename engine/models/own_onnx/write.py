"""Writes a retrained network as one ONNX graph: the user's own graph with its new weights, and the new head behind it.

No tracing of the backbone: what comes out is the graph that came in. Only the head goes through torch's exporter.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, TensorProto, compose
from onnx.helper import make_node, make_opsetid, make_tensor_value_info
from torch import Tensor, nn

from engine.models.own_onnx.backbone import FrozenFeatures, FrozenValues, TrainableBackbone, TrainableValues
from engine.models.own_onnx.normalise import constant_tensor

__all__ = ["activated", "join", "write"]

_HEAD_OPSETS = (9, 20)
"""Versions torch's older exporter writes; graphs outside are brought to one of them, or keep their own above."""


def activated(logits_BK: Tensor, activation: str) -> Tensor:
    """Return the probabilities [B, K] of logits: 'softmax' where one of K classes is right, 'sigmoid' where each is a question of its own."""
    return logits_BK.sigmoid() if activation == "sigmoid" else logits_BK.softmax(1)


class _Tail(nn.Module):
    """Pooling, the head, and probabilities."""

    def __init__(self, pool: nn.Module, head: nn.Module, activation: str) -> None:
        super().__init__()
        self.pool, self.head, self.activation = pool, head, activation

    def forward(self, value: Tensor) -> Tensor:
        """Return probabilities [B, K]."""
        return activated(self.head(self.pool(value)), self.activation)


def write(
    backbone: TrainableBackbone | FrozenFeatures, head: nn.Module, mean: Sequence[float], std: Sequence[float], image_size: int, activation: str = "softmax"
) -> ModelProto:
    """Return a model from `images` (RGB, 0..255, batch x 3 x H x W) to `probabilities`, made from logits by `activated`."""
    return join(backbone, _Tail(backbone.pool, head, activation), [backbone.cut.shape], ["probabilities"], mean, std, image_size)


def join(
    backbone: TrainableValues | FrozenValues,
    tail: nn.Module,
    shapes: Sequence[Sequence[int]],
    outputs: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int,
) -> ModelProto:
    """Return one model: pixels to what the network takes, the network up to its values, and a module behind them.

    Args:
        tail: takes the backbone's values, raw and in order, and returns one tensor for each of `outputs`, all with the batch as first axis.
        shapes: of the values at `image_size`; the first axis, the batch, is free in the file.
    """
    base = backbone.as_onnx()
    opset = next(item.version for item in base.opset_import if item.domain in ("", "ai.onnx"))
    if opset < _HEAD_OPSETS[0]:
        base = onnx.version_converter.convert_version(base, 13)
        opset = 13
    base = compose.add_prefix(base, "net/")
    graph = GraphProto(name="graft")
    _front(graph, backbone, mean, std, base.graph.input[0].name, opset, image_size)
    graph.node.extend(base.graph.node)
    graph.initializer.extend(base.graph.initializer)
    behind = _tail(tail, shapes, [value.name for value in base.graph.output], outputs, min(max(opset, _HEAD_OPSETS[0]), _HEAD_OPSETS[1]))
    graph.node.extend(behind.graph.node)
    graph.initializer.extend(behind.graph.initializer)
    graph.input.append(make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, image_size, image_size]))
    for value in behind.graph.output:
        sizes = ["batch", *(dim.dim_value or None for dim in value.type.tensor_type.shape.dim[1:])]
        graph.output.append(make_tensor_value_info(value.name, value.type.tensor_type.elem_type, sizes))
    opsets = [make_opsetid("", opset), *(item for item in base.opset_import if item.domain not in ("", "ai.onnx"))]
    model = onnx.helper.make_model(graph, opset_imports=opsets, producer_name="graft")
    model.ir_version = max(base.ir_version, 8)
    return model


def _front(
    graph: GraphProto, backbone: TrainableValues | FrozenValues, mean: Sequence[float], std: Sequence[float], fed: str, opset: int, image_size: int
) -> None:
    """Pixels to what the network takes: scaled, in its layout and order, grey where it wants grey."""
    shape = (1, 3, 1, 1)
    graph.initializer.append(constant_tensor((255 * torch.tensor(mean)).view(shape).numpy(), "graft/mean"))
    graph.initializer.append(constant_tensor((255 * torch.tensor(std)).view(shape).numpy(), "graft/std"))
    graph.node.append(make_node("Sub", ["images", "graft/mean"], ["graft/centred"], name="graft/sub"))
    channels = backbone.port.channels
    graph.node.append(make_node("Div", ["graft/centred", "graft/std"], ["graft/scaled"], name="graft/div"))
    last = _stretched(graph, "graft/scaled", backbone.oblong, opset, image_size)
    if channels == 1:
        graph.initializer.append(constant_tensor(torch.tensor([0.299, 0.587, 0.114]).view(shape).numpy(), "graft/grey_weight"))
        graph.node.append(make_node("Conv", [last, "graft/grey_weight"], ["graft/grey"], name="graft/grey"))
        last = "graft/grey"
    elif backbone.bgr:
        graph.initializer.append(constant_tensor(np.array([2, 1, 0], dtype=np.int64), "graft/order"))
        graph.node.append(make_node("Gather", [last, "graft/order"], ["graft/bgr"], name="graft/bgr", axis=1))
        last = "graft/bgr"
    if backbone.port.layout == "NHWC":
        graph.node.append(make_node("Transpose", [last], ["graft/last"], name="graft/last", perm=[0, 2, 3, 1]))
        last = "graft/last"
    kind = {"float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8, "float64": TensorProto.DOUBLE}.get(backbone.port.dtype)
    frozen = isinstance(backbone, FrozenValues) and kind is not None
    graph.node.append(make_node("Cast", [last], [fed], name="graft/feed", to=kind) if frozen else make_node("Identity", [last], [fed], name="graft/feed"))


def _stretched(graph: GraphProto, last: str, oblong: tuple[int, int] | None, opset: int, image_size: int) -> str:
    """Stretch a square to the size of a network that takes no squares."""
    if oblong is None or oblong == (image_size, image_size):
        return last
    graph.initializer.append(constant_tensor(np.array([1, 1, *(length / image_size for length in oblong)], dtype=np.float32), "graft/stretch"))
    inputs = [last, "graft/stretch"] if opset < 11 else [last, "", "graft/stretch"]
    how = {"coordinate_transformation_mode": "half_pixel"} if opset >= 11 else {}
    graph.node.append(make_node("Resize", inputs, ["graft/stretched"], name="graft/stretched", mode="linear", **how))
    return "graft/stretched"


def _tail(tail: nn.Module, shapes: Sequence[Sequence[int]], values: Sequence[str], outputs: Sequence[str], opset: int) -> ModelProto:
    """Export what follows the network, reading the network's values under their names."""
    own = [f"value{index}" for index in range(len(values))]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        file = Path(folder) / "head.onnx"
        torch.onnx.export(
            tail.float().cpu().eval(),
            tuple(torch.zeros([2, *shape[1:]]) for shape in shapes),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=own,
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (*own, *outputs)},
        )
        exported = onnx.load(file)
    made = [*(name for node in exported.graph.node for name in node.output), *(item.name for item in exported.graph.initializer)]
    renamed = {name: f"head/{name}" for name in made if name not in outputs} | dict(zip(own, values, strict=True))
    for node in exported.graph.node:
        node.name = f"head/{node.name}"
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = renamed.get(name, name)
    for item in exported.graph.initializer:
        item.name = renamed[item.name]
    return exported
