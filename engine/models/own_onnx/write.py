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

from engine.models.own_onnx.backbone import FrozenFeatures, TrainableBackbone
from engine.models.own_onnx.normalise import constant_tensor

__all__ = ["write"]

_HEAD_OPSETS = (9, 20)
"""Versions torch's older exporter writes; graphs outside are brought to one of them, or keep their own above."""


class _Tail(nn.Module):
    """Pooling, the head, and probabilities."""

    def __init__(self, pool: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.pool, self.head = pool, head

    def forward(self, value: Tensor) -> Tensor:
        """Return probabilities [B, K]."""
        return torch.softmax(self.head(self.pool(value)), 1)


def write(backbone: TrainableBackbone | FrozenFeatures, head: nn.Module, mean: Sequence[float], std: Sequence[float], image_size: int) -> ModelProto:
    """Return a model from `images` (RGB, 0..255, batch x 3 x H x W) to `probabilities`."""
    base = backbone.as_onnx()
    opset = next(item.version for item in base.opset_import if item.domain in ("", "ai.onnx"))
    if opset < _HEAD_OPSETS[0]:
        base = onnx.version_converter.convert_version(base, 13)
        opset = 13
    base = compose.add_prefix(base, "net/")
    graph = GraphProto(name="graft")
    fed = base.graph.input[0].name
    _front(graph, backbone, mean, std, fed)
    graph.node.extend(base.graph.node)
    graph.initializer.extend(base.graph.initializer)
    tail = _tail(backbone, head, base.graph.output[0].name, min(max(opset, _HEAD_OPSETS[0]), _HEAD_OPSETS[1]))
    graph.node.extend(tail.graph.node)
    graph.initializer.extend(tail.graph.initializer)
    graph.input.append(make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, image_size, image_size]))
    graph.output.append(
        make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", tail.graph.output[0].type.tensor_type.shape.dim[1].dim_value or None])
    )
    opsets = [make_opsetid("", opset), *(item for item in base.opset_import if item.domain not in ("", "ai.onnx"))]
    model = onnx.helper.make_model(graph, opset_imports=opsets, producer_name="graft")
    model.ir_version = max(base.ir_version, 8)
    return model


def _front(graph: GraphProto, backbone: TrainableBackbone | FrozenFeatures, mean: Sequence[float], std: Sequence[float], fed: str) -> None:
    """Pixels to what the network takes: scaled, in its layout and order, grey where it wants grey."""
    shape = (1, 3, 1, 1)
    graph.initializer.append(constant_tensor((255 * torch.tensor(mean)).view(shape).numpy(), "graft/mean"))
    graph.initializer.append(constant_tensor((255 * torch.tensor(std)).view(shape).numpy(), "graft/std"))
    graph.node.append(make_node("Sub", ["images", "graft/mean"], ["graft/centred"], name="graft/sub"))
    last, channels = "graft/scaled", backbone.port.channels
    graph.node.append(make_node("Div", ["graft/centred", "graft/std"], [last], name="graft/div"))
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
    frozen = isinstance(backbone, FrozenFeatures) and kind is not None
    graph.node.append(make_node("Cast", [last], [fed], name="graft/feed", to=kind) if frozen else make_node("Identity", [last], [fed], name="graft/feed"))


def _tail(backbone: TrainableBackbone | FrozenFeatures, head: nn.Module, value: str, opset: int) -> ModelProto:
    """Export pooling, head and softmax, reading the value at the cut."""
    shape = [2, *backbone.cut.shape[1:]]
    module = _Tail(backbone.pool, head).float().cpu().eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        file = Path(folder) / "head.onnx"
        torch.onnx.export(
            module,
            (torch.zeros(shape),),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=["value"],
            output_names=["probabilities"],
            dynamic_axes={"value": {0: "batch"}, "probabilities": {0: "batch"}},
        )
        tail = onnx.load(file)
    made = [*(name for node in tail.graph.node for name in node.output), *(item.name for item in tail.graph.initializer)]
    renamed = {name: f"head/{name}" for name in made if name != "probabilities"} | {"value": value}
    for node in tail.graph.node:
        node.name = f"head/{node.name}"
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = renamed.get(name, name)
    for item in tail.graph.initializer:
        item.name = renamed[item.name]
    return tail
