"""Guesses how a network wants its pictures: size, layout, and which numbers they are scaled to. Torch-free.

The guess is a starting point: the X-ray shows it with its source, and the user may change it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from engine.models.own_onnx.interface import Port
from engine.models.own_onnx.roles import consumers
from engine.models.own_onnx.stored import array_of

__all__ = ["Preparation", "guess"]

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_AS_IS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_BYTES = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
_DEFAULT_SIZE = 224


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the network's input: (pixel / 255 - mean) / std, in this layout.

    Attributes:
        source: in words, what the guess rests on.
        sure: whether the file itself says so.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str
    channels: int
    interpolation: str = "bicubic"
    crop_share: float = 0.875
    source: str = ""
    sure: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Preparation:
        """Read it back."""
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        return cls(**values)


def guess(model: ModelProto, port: Port, dtype: str | None = None) -> Preparation:
    """Guess from metadata, then from the first operators, then from the element type and layout.

    Args:
        port: the picture input.
        dtype: the input's element type in the file as it was dropped.
    """
    height, width = port.size
    size = height or width or _DEFAULT_SIZE
    told = {entry.key: entry.value for entry in model.metadata_props}
    base = Preparation(size, *_IMAGENET, port.layout, port.channels or 3)
    own = _from_graft(told, base)
    if own is not None:
        return own
    if "imgsz" in told and "names" in told:  # written by a well-known detector's exporter
        return _with(base, _AS_IS, "the file's metadata is that of a detector that takes pictures as 0 to 1", sure=True)
    if "mean" in told and "std" in told:
        stated = _stated(told)
        if stated is not None:
            return _with(base, stated, "the file's metadata states mean and std", sure=True)
    first = _first_operators(model, port)
    if first is not None:
        return _with(base, *first)
    if (dtype or port.dtype) in ("uint8", "int8"):
        return _with(base, _BYTES, "the input takes bytes, 0 to 255", sure=True)
    if port.layout == "NHWC":
        return _with(base, ((0.5,) * 3, (0.5,) * 3), "channels last, as TensorFlow writes them; most such networks take -1 to 1")
    return _with(base, _IMAGENET, "nothing in the file tells; this is what most networks exported from PyTorch take")


def _with(base: Preparation, values: tuple[tuple[float, ...], tuple[float, ...]], source: str, sure: bool = False) -> Preparation:
    return Preparation(base.image_size, *values, base.layout, base.channels, base.interpolation, base.crop_share, source, sure)


def _from_graft(told: Mapping[str, str], base: Preparation) -> Preparation | None:
    try:
        row = json.loads(told["graft.preprocessing"])
        size, crop, interpolation = int(row["image_size"]), float(row["crop_share"]), str(row["interpolation"])
    except (KeyError, ValueError, TypeError):
        return None
    return Preparation(size, *_BYTES, base.layout, base.channels, interpolation, crop, "Graft wrote this file and says so in it", True)


def _stated(told: Mapping[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    try:
        mean, std = (tuple(float(value) for value in json.loads(told[key])) for key in ("mean", "std"))
    except (ValueError, TypeError):
        return None
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        return None
    factor = 255.0 if max(mean) > 1.5 else 1.0
    return tuple(value / factor for value in mean), tuple(value / factor for value in std)


def _constant(model: ModelProto, node: NodeProto) -> np.ndarray | None:
    stored = {item.name: item for item in model.graph.initializer}
    found = [stored[name] for name in node.input if name in stored]
    return array_of(found[0]).astype(np.float64).reshape(-1) if found else None


def _first_operators(model: ModelProto, port: Port) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], str, bool] | None:
    """Scaling inside the network tells what it is fed: what divides by 255 is fed bytes."""
    readers, name = consumers(model.graph.node), port.name
    for _ in range(6):
        following = readers.get(name, [])
        if len(following) != 1:
            return None
        node = following[0][0]
        if node.op_type in ("Transpose", "Cast", "Identity", "Resize"):
            name = node.output[0]
            continue
        values = _constant(model, node)
        if node.op_type not in ("Sub", "Div", "Mul", "Add", "BatchNormalization") or values is None:
            return None
        if node.op_type == "BatchNormalization":
            mean = {item.name: item for item in model.graph.initializer}.get(node.input[3])
            values = np.zeros(1) if mean is None else array_of(mean).astype(np.float64)
            large = float(np.abs(values).max()) > 3
            return (_BYTES if large else _AS_IS), "the network scales its input itself, with a BatchNorm", False
        largest = float(np.abs(values).max())
        bytes_in = largest > 3 if node.op_type in ("Sub", "Add", "Div") else 0 < largest < 0.05
        words = "the network scales its input itself; its numbers fit pixels of " + ("0 to 255" if bytes_in else "0 to 1")
        return (_BYTES if bytes_in else _AS_IS), words, True
    return None
