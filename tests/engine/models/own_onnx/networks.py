"""Small networks as ONNX files, of the kinds users bring."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn


def export(
    module: nn.Module, path: Path, size: int = 64, *, dynamo: bool = False, opset: int = 17, batch: int = 1, free: bool = False, train: bool = False
) -> Path:
    """Export a network of pictures."""
    torch.manual_seed(0)
    for part in module.modules():  # an untrained BatchNorm does nothing, and weights of one would be stored once for all
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.1)
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    module.eval()
    images = torch.randn(batch, 3, size, size)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},) if free else None
            torch.onnx.export(module, (images,), path, dynamo=True, external_data=False, dynamic_shapes=shapes, opset_version=max(opset, 18), verbose=False)
        else:
            axes = {"images": {0: "batch"}, "scores": {0: "batch"}} if free else None
            mode = torch.onnx.TrainingMode.TRAINING if train else torch.onnx.TrainingMode.EVAL
            torch.onnx.export(
                module, (images,), path, dynamo=False, opset_version=opset, input_names=["images"], output_names=["scores"], dynamic_axes=axes, training=mode
            )
    return path


def timm_model(name: str, **options) -> Callable[[], nn.Module]:
    import timm

    return lambda: timm.create_model(name, num_classes=10, **options)


class Cnn(nn.Module):
    """Convolutions, BatchNorm, dropout, a head of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.stem(images)).flatten(1))


def cnn(path: Path, **options) -> Path:
    return export(Cnn(), path, 32, **options)


def half(path: Path) -> Path:
    """The CNN with every float of half precision."""
    model = onnx.load(cnn(path))
    for item in model.graph.initializer:
        item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), item.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    return path


def quantised(path: Path, *, operators: bool = False) -> Path:
    """The CNN quantised by ONNX Runtime: Q/DQ pairs, or quantised operators."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            random = np.random.default_rng(0)
            self.rows = iter([{"images": random.standard_normal((1, 3, 32, 32)).astype(np.float32)} for _ in range(8)])

        def get_next(self):
            return next(self.rows, None)

    source = cnn(path.with_name("whole.onnx"))
    quantize_static(source, path, Pictures(), quant_format=QuantFormat.QOperator if operators else QuantFormat.QDQ, per_channel=True)
    return path


def channels_last(path: Path, *, as_bytes: bool = False) -> Path:
    """The CNN fed as TensorFlow would: channels last, bytes divided by 255 inside."""
    model = onnx.load(cnn(path))
    graph = model.graph
    graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8 if as_bytes else TensorProto.FLOAT, [1, 32, 32, 3]))
    graph.initializer.append(numpy_helper.from_array(np.array(255.0, np.float32), "full"))
    front = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "full"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["images"], perm=[0, 3, 1, 2]),
    ]
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend([*front, *rest])
    onnx.save(model, path)
    return path


def untrainable(path: Path, *, free: bool = False) -> Path:
    """The CNN with an operator that ONNX Runtime has and the importer has not."""
    model = onnx.load(cnn(path, free=free))
    graph = model.graph
    index = next(i for i, node in enumerate(graph.node) if node.op_type == "GlobalAveragePool")
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    pooled = rest[index].output[0]
    rest[index].output[0] = "pooled"
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int32), "first"))
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first_axis"))
    rest[index + 1 : index + 1] = [
        helper.make_node("ExpandDims", ["pooled", "first"], ["wider"], name="expand", domain="com.microsoft"),
        helper.make_node("Squeeze", ["wider", "first_axis"], [pooled], name="squeeze"),
    ]
    del graph.node[:]
    graph.node.extend(rest)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    return path


def embedded_functions(path: Path) -> Path:
    """A network whose activation is a function defined in the file."""
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    function = helper.make_function("own", "MySilu", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model = onnx.load(cnn(path))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = "MySilu", "own"
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)
    return path


def external(path: Path) -> Path:
    """The CNN with its weights in a file beside it."""
    model: ModelProto = onnx.load(cnn(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path
