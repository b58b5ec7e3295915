"""Networks in the form that is shipped: decoding and NMS inside, as an ONNX graph with a dynamic batch.

Joining it with normalisation and metadata, and the check against torch on real pictures, are `engine.export`'s.
"""

from __future__ import annotations

import io
import warnings
from contextlib import nullcontext, redirect_stdout
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from engine.models.dense import boxes

__all__ = ["OPSET", "OUTPUT_NAMES", "ForExport", "to_onnx"]

OPSET = 18

OUTPUT_NAMES = {
    "object-detection": ("detections",),
    "instance-segmentation": ("detections", "masks"),
    "semantic-segmentation": ("probabilities",),
}


class ForExport(nn.Module):
    """images [B, 3, H, W], normalised -> tensors in the order of `output_names`; `plain`: in the steps that TensorRT can run."""

    def __init__(self, network: Any, limit: int = 100, *, plain: bool = False) -> None:
        super().__init__()
        self.network, self.limit, self.plain = network, limit, plain
        self.output_names = OUTPUT_NAMES[network.task]

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return detections [B, D, 6]; detections and masks [B, D, H, W]; or probabilities [B, K + 1, H, W]."""
        with boxes.plain_steps() if self.plain else nullcontext():
            found = self.network.decode(self.network(images_BCHW), self.limit)
        if "logits_BKHW" in found:
            return (found["logits_BKHW"].softmax(1),)
        return (found["detections_BD6"], found["masks_BDHW"]) if "masks_BDHW" in found else (found["detections_BD6"],)


def to_onnx(module: nn.Module, images_BCHW: Tensor, *, dynamic_size: bool = False) -> onnx.ModelProto:
    """Write a module that has `output_names` as an ONNX graph; its batch is free, its picture size where `dynamic_size`.

    Raises:
        torch.onnx.errors.OnnxExporterError, RuntimeError: if the exporter cannot.
    """
    names = list(module.output_names)  # type: ignore[arg-type, union-attr]
    axes = {"images": {0: "batch"} | ({2: "height", 3: "width"} if dynamic_size else {}), **{name: {0: "batch"} for name in names}}
    content = io.BytesIO()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (images_BCHW,),
            content,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=names,
            dynamic_axes=axes,  # type: ignore[arg-type]
        )
    return onnx.load_from_string(content.getvalue())
