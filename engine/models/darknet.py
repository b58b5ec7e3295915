"""Darknet's YOLOv3-tiny, the one finished detector that a package of the Python package index carries, brought into the form of the others. No torch here.

A Darknet weight file is a header and then bare floats in the order in which the layers run: of each convolution with batch norm the shift, scale,
mean and variance of its norm and then its kernels, of one without its bias and then its kernels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from engine import workspace
from engine.errors import StudioError

__all__ = ["BODY", "BOXES", "KIND", "convert"]

KIND = "yolov3_tiny"
"""What its settings call it, as `engine.models.dense.yolo` knows it."""

BODY = (16, 32, 64, 128, 256, 512, 1024)
"""Channels of YOLOv3-tiny's convolutions before its head."""
BOXES = 5
"""Numbers a box has: where, how large, how likely it is a thing at all. Those of the classes follow."""
_KINDS = 3
"""Anchor boxes at each place of a map."""

_ANCHORS = {16: ((23, 27), (37, 58), (81, 82)), 32: ((81, 82), (135, 169), (344, 319))}
"""Stride -> width and height of its boxes, in pixels. The settings published today name (10, 14), (23, 27), (37, 58) for the finer map; with those a cup that
is 81 x 85 px comes out as 34 x 62. The weights are older: docs.openvino.ai, yolo-v3-tiny-tf, lists the boxes they were trained with."""


def _layers() -> list[tuple[str, int, int, int]]:
    """Return name, channels in and out, and kernel size of the layers in the order of the file; those named 'out' have no norm."""
    body = [(f"body.layers.{place}", inside, outside, 3) for place, (inside, outside) in enumerate(zip((3, *BODY), BODY, strict=False))]
    coarse = [("head.mixes.0", 1024, 256, 1), ("head.tops.0", 256, 512, 3), ("out.0", 512, 0, 1)]
    return [*body, *coarse, ("head.squeezes.0", 256, 128, 1), ("head.tops.1", 384, 256, 3), ("out.1", 256, 0, 1)]


def _split(kernels: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Part the outputs about boxes from those about classes."""
    apart = kernels.reshape(_KINDS, BOXES + classes, *kernels.shape[1:])
    return apart[:, :BOXES].reshape(-1, *kernels.shape[1:]), apart[:, BOXES:].reshape(-1, *kernels.shape[1:])


def _tensors(floats: NDArray[np.float32], classes: int) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    at = 0

    def take(*shape: int) -> NDArray[Any]:
        nonlocal at
        count = int(np.prod(shape))
        if at + count > len(floats):
            raise StudioError("the weights of YOLOv3-tiny end too early", "Download them again.")
        at += count
        return floats[at - count : at].reshape(shape)

    for name, inside, outside, kernel in _layers():
        if not name.startswith("out"):
            for key in ("bias", "weight", "running_mean", "running_var"):
                found[f"{name}.1.{key}"] = take(outside)
            found[f"{name}.0.weight"] = take(outside, inside, kernel, kernel)
            continue
        level, outputs = name.removeprefix("out."), _KINDS * (BOXES + classes)
        for key, shape in (("bias", ()), ("weight", (inside, kernel, kernel))):
            found[f"head.boxes.{level}.{key}"], found[f"head.classes.{level}.{key}"] = _split(take(outputs, *shape), classes)
    if at != len(floats):
        raise StudioError(f"the weights of YOLOv3-tiny hold {len(floats) - at} numbers too many", "Download them again.")
    return found


def convert(weights: bytes, names: bytes, folder: Path) -> None:
    """Write Darknet's weights and class names (one a line) as model.safetensors and config.json into a folder.

    Raises:
        StudioError: if the weights are not as many as the network has.
    """
    classes = [line.strip() for line in names.decode().splitlines() if line.strip()]
    major, minor = np.frombuffer(weights, "<i4", 2)
    header = 20 if major * 10 + minor >= 2 else 16  # how many pictures it saw is counted in 8 bytes since version 0.2
    tensors = _tensors(np.frombuffer(weights, "<f4", offset=header), len(classes))
    settings = {"model_type": KIND, "anchors": {str(stride): sizes for stride, sizes in _ANCHORS.items()}, "id2label": dict(enumerate(classes))}
    with workspace.replacing(folder / "model.safetensors") as beside:
        beside.write_bytes(safetensors.numpy.save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, {"format": "pt"}))
    with workspace.replacing(folder / "config.json") as beside:
        beside.write_text(json.dumps(settings, indent=1))
