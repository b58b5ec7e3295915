"""What a network takes and gives: its inputs and outputs in words a form can use. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from engine.models.own_onnx.roles import consumers

__all__ = ["Port", "example", "inputs_of", "outputs_of", "picture_input", "sizes_to_try"]

Kind = Literal["picture", "text", "signal", "other"]
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)
_DEFAULT_SIZE = 224
_DEFAULT_LENGTH = 16_000
_SIZES = (224, 256, 320, 128, 64, 48, 32)
"""Sides of pictures that are tried, in pixels, where a file leaves them open: lines of text are 48 or 32 high."""

_LENGTHS = (16_000, 512, 576, 1024, 32_000)
"""Lengths of sound that are tried, in samples."""

_MOST_LAYERS = 8


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        shape: sizes; None where the file leaves them open.
        kind: of an input: what it seems to take.
        layout: of a picture: 'NCHW' (channels first) or 'NHWC' (channels last); '' otherwise.
        dtype: element type as numpy names it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    kind: Kind = "other"
    layout: str = ""
    axis_names: tuple[str, ...] = ()

    @property
    def channels(self) -> int | None:
        """Number of colour channels of a picture."""
        return self.shape[1] if self.layout == "NCHW" else self.shape[3] if self.layout == "NHWC" else None

    @property
    def batch_axis(self) -> int:
        """The axis along which examples lie side by side: the first, but the second of a recurrent state (layers x batch x width)."""
        state = len(self.shape) == 3 and self.dtype.startswith("float") and (self.shape[0] or 99) <= _MOST_LAYERS and self.shape[1] in (None, 1)
        return 1 if state and self.shape[2] is not None else 0

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width of a picture."""
        first = 2 if self.layout == "NCHW" else 1
        return (self.shape[first], self.shape[first + 1]) if self.layout else (None, None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype, "kind": self.kind, "layout": self.layout}


def _port(value: ValueInfoProto) -> tuple[tuple[int | None, ...], str, tuple[str, ...]]:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in kind.shape.dim)
    names = tuple(dim.dim_param for dim in kind.shape.dim)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name if kind.elem_type else "float32"
    return shape, dtype, names


def _layout(model: ModelProto, name: str, shape: tuple[int | None, ...]) -> str:
    """Channels first or last: by the sizes, else by who reads the input first."""
    few = (1, 3, 4)
    first, last = shape[1] in few, shape[3] in few
    if first != last:
        return "NCHW" if first else "NHWC"
    for node, _position in consumers(model.graph.node).get(name, []):
        if node.op_type == "Transpose":
            order = next((list(item.ints) for item in node.attribute if item.name == "perm"), [])
            return "NHWC" if order == [0, 3, 1, 2] else "NCHW"
    return "NCHW" if first or not last else "NHWC"


def _is_looked_up(model: ModelProto, name: str) -> bool:
    readers = consumers(model.graph.node)
    frontier, seen = [name], set[str]()
    while frontier:
        current = frontier.pop()
        seen.add(current)
        for node, position in readers.get(current, []):
            if node.op_type == "Gather" and position == 1:
                return True
            if node.op_type in ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze"):
                frontier += [out for out in node.output if out not in seen]
    return False


def _input(model: ModelProto, value: ValueInfoProto) -> Port:
    shape, dtype, names = _port(value)
    kind: Kind = "other"
    layout = ""
    if len(shape) == 4 and (dtype.startswith("float") or dtype in ("uint8", "int8", "bfloat16")):
        kind, layout = "picture", _layout(model, value.name, shape)
    elif (
        value.type.tensor_type.elem_type in _INTEGERS and len(shape) <= 2 and (_is_looked_up(model, value.name) or "mask" in value.name or "ids" in value.name)
    ):
        kind = "text"
    elif dtype.startswith("float") and len(shape) in (2, 3):
        kind = "signal"
    return Port(value.name, shape, dtype, kind, layout, names)


def inputs_of(model: ModelProto) -> list[Port]:
    """Return the inputs that are no weights."""
    stored = {item.name for item in model.graph.initializer}
    return [_input(model, value) for value in model.graph.input if value.name not in stored]


def outputs_of(model: ModelProto) -> list[Port]:
    """Return the outputs."""
    return [Port(value.name, *_port(value)[:2]) for value in model.graph.output]


def picture_input(ports: Sequence[Port]) -> Port | None:
    """Return the one input that takes pictures; None where there is none, or it is not the only input."""
    return ports[0] if len(ports) == 1 and ports[0].kind == "picture" and ports[0].channels in (1, 3, 4, None) else None


def sizes_to_try(ports: Sequence[Port], first: int = 0) -> list[int]:
    """Sides of pictures, or lengths of sound, at which a network is tried until it runs; one where the file fixes them."""
    port = ports[0]
    if port.kind == "picture" and None in port.size:
        return list(dict.fromkeys([first or _DEFAULT_SIZE, *_SIZES]))
    return list(_LENGTHS) if port.kind == "signal" and len(port.shape) == 2 and port.shape[1] is None else [first]


def _open_length(port: Port, axis: int, size: int) -> int:
    """A length for an axis that the file leaves open."""
    if port.kind == "picture":
        return 3 if axis == (1 if port.layout == "NCHW" else 3) else size or _DEFAULT_SIZE
    if port.kind == "text":
        return 16
    if port.kind == "signal" and len(port.shape) == 2:
        return size or _DEFAULT_LENGTH
    return 80 if axis == 1 and len(port.shape) == 3 else 32


def _example(port: Port, shape: Sequence[int], random: np.random.Generator) -> np.ndarray:
    if port.kind == "text":
        return np.ones(shape) if "mask" in port.name else np.zeros(shape) if "type" in port.name else random.integers(3, 100, shape)
    if port.dtype in ("uint8", "int8"):
        return random.integers(0, 255 if port.dtype == "uint8" else 127, shape)
    if port.dtype == "bool":
        return np.ones(shape)
    if port.dtype.startswith(("int", "uint")):
        rate = not shape and port.name.lower() in ("sr", "rate", "sample_rate", "sampling_rate")
        return np.array(_DEFAULT_LENGTH) if rate else random.integers(1, 3, shape)
    return random.standard_normal(shape)


def example(ports: Sequence[Port], *, batch: int | None = None, seed: int = 0, size: int = 0) -> list[np.ndarray]:
    """Make inputs of the right kind and shape.

    Args:
        batch: how many examples, where the file leaves it open, and where it fixes it if given; None keeps what is fixed.
        size: side of pictures (0: 224) or length of sound (0: 16,000) where the file leaves it open.
    """
    random, arrays = np.random.default_rng(seed), []
    for port in ports:
        shape = []
        for axis, length in enumerate(port.shape):
            if axis == port.batch_axis and len(port.shape) > 1 and (batch is not None or length is None):
                shape.append(batch if batch is not None else 1)
            else:
                shape.append(length if length is not None else _open_length(port, axis, size))
        arrays.append(np.asarray(_example(port, shape, random)).astype(port.dtype if port.dtype != "bfloat16" else np.float32))
    return arrays
