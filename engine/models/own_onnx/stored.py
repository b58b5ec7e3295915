"""Where the numbers of stored tensors lie: in the graph itself, or apart from it, in files that are mapped into memory.

Protocol Buffers, the form of an ONNX file, end at 2 GiB. Of a network that comes near that, large tensors stay in files ("apart") all the
way: read, changed, compared and written, the graph passes around without them. A tensor that lies apart names its file by an absolute
path, which only this module writes; what a file from outside says of its external data is checked in `load.py`. Torch-free.

    with apart(folder):     new numbers go into this folder, which must outlive every model made inside
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import ModelProto, TensorProto, external_data_helper, helper, numpy_helper

from engine import workspace
from engine.errors import StudioError
from engine.models.own_onnx.beside import data_path
from engine.models.own_onnx.limits import MOST

__all__ = [
    "apart",
    "array_of",
    "check_weight",
    "copy_file",
    "gathered",
    "is_apart",
    "lay_apart",
    "map_beside",
    "move",
    "save",
    "session",
    "tensor_of",
    "too_large",
    "weight_bytes",
]

_LEAST_BYTES = 1 << 16
"""Smaller tensors stay in the graph."""

_ALIGNED = 4096
"""Where each tensor begins: at a page, so that it can be mapped."""

_PLAIN = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32)
_PLAIN_BYTES = (TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL)

_OLDEST_LARGE = 9
"""Older graphs are brought up to date by a converter that wants them whole in memory."""

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

_folder: ContextVar[Path | None] = ContextVar("folder of numbers that lie apart", default=None)


def too_large(weight_bytes: int) -> bool:
    """Tell whether a network with so many bytes of weights is worked on with its large tensors apart."""
    return weight_bytes > MOST["whole_bytes"]


def weight_bytes(model: ModelProto) -> int:
    """How much a network's weights take in full precision, as it is trained."""
    return sum(4 * math.prod(item.dims) for item in external_data_helper._get_all_tensors(model) if item.data_type in _FLOATS)


def check_weight(model: ModelProto, held: int) -> None:
    """See whether this machine can hold a large network twice: once here, once in ONNX Runtime, which it is compared with.

    Args:
        held: its `weight_bytes`.

    Raises:
        StudioError: if it cannot, or nothing could write the network again.
    """
    free = psutil.virtual_memory().available
    if held > MOST["weight_bytes"] or (too_large(held) and 2 * held > free):
        raise StudioError(
            f"the network has {held / 1e9:.1f} GB of weights in full precision; "
            f"this machine can retrain up to {min(MOST['weight_bytes'], free // 2) / 1e9:.1f} GB now",
            "Choose a smaller variant of the network, or end other programs.",
        )
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if too_large(held) and opset < _OLDEST_LARGE:
        raise StudioError(f"a network of {held / 1e9:.1f} GB in ONNX's old form (opset {opset}) cannot be written again", "Export it for opset 13 or newer.")


@contextmanager
def apart(folder: Path | None) -> Iterator[None]:
    """Put large tensors that are made meanwhile into this folder; None keeps them in the graph."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def is_apart(tensor: TensorProto) -> bool:
    """Tell whether a tensor's numbers lie in a file of their own."""
    return tensor.data_location == TensorProto.EXTERNAL


def _place(tensor: TensorProto) -> tuple[Path, int, int]:
    """File, offset and length in bytes of a tensor that lies apart."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    size = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return Path(entries["location"]), int(entries.get("offset") or 0), size


def array_of(tensor: TensorProto) -> np.ndarray:
    """Return a tensor's numbers; those that lie apart are mapped, and writing to them changes memory alone, never the file."""
    if not is_apart(tensor):
        return numpy_helper.to_array(tensor)
    path, offset, size = _place(tensor)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if not size:
        return np.zeros(tuple(tensor.dims), kind)
    raw: np.ndarray = np.memmap(path, np.uint8, "c", offset, (size,))
    if offset % kind.itemsize:  # no processor reads numbers between their places at full speed, and torch asks for them in place
        raw = np.array(raw)
    return raw.view(kind).reshape(tuple(tensor.dims))


def tensor_of(array: np.ndarray, name: str) -> TensorProto:
    """Return an array as a stored tensor."""
    folder = _folder.get()
    kind = helper.np_dtype_to_tensor_dtype(array.dtype) if folder is not None and array.nbytes >= _LEAST_BYTES else 0
    if folder is None or kind not in (*_PLAIN, *_PLAIN_BYTES):
        return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
    file = folder / "numbers"
    with file.open("ab") as stream:
        stream.write(bytes(-stream.tell() % _ALIGNED))
        offset = stream.tell()
        np.ascontiguousarray(array).tofile(stream)
    tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
    _point(tensor, file.absolute().as_posix(), offset, array.nbytes)
    return tensor


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def lay_apart(model: ModelProto, beside: Path) -> None:
    """Give a model just read from a file its numbers, in place: all loaded, or, inside `apart`, the large ones of the graph mapped.

    Args:
        beside: the folder of the file; external data in it has been checked.
    """
    if _folder.get() is None:
        onnx.load_external_data_for_model(model, str(beside))
        return
    stored = {id(item) for item in model.graph.initializer}
    for tensor in external_data_helper._get_all_tensors(model):
        if not is_apart(tensor):
            continue
        path, offset, size = _place(tensor)
        if id(tensor) in stored and size >= _LEAST_BYTES and tensor.data_type in (*_PLAIN, *_PLAIN_BYTES):
            _point(tensor, (beside / path).resolve().as_posix(), offset, size)
        else:
            external_data_helper.load_external_data_for_tensor(tensor, str(beside))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    for item in model.graph.initializer:
        if not is_apart(item) and len(item.raw_data) >= _LEAST_BYTES:
            note = item.doc_string
            item.CopyFrom(tensor_of(numpy_helper.to_array(item), item.name))
            item.doc_string = note


def map_beside(path: Path) -> ModelProto:
    """Open a model that `save` wrote; large tensors are mapped."""
    model = onnx.load(str(path), load_external_data=False)
    for item in model.graph.initializer:
        if is_apart(item):
            _, offset, size = _place(item)
            _point(item, data_path(path).absolute().as_posix(), offset, size)
    return model


def gathered(model: ModelProto) -> ModelProto:
    """Return a model with every number in the graph, unless numbers are put apart just now; changes it in place."""
    if _folder.get() is None:
        for item in model.graph.initializer:
            if is_apart(item):
                note = item.doc_string
                item.CopyFrom(tensor_of(array_of(item), item.name))
                item.doc_string = note
    return model


def save(model: ModelProto, path: Path, *, split: bool = False) -> None:
    """Write a model: one file, or, with tensors that lie apart, the graph and one file of numbers beside it (`data_path`).

    Args:
        split: write every large tensor beside it.
    """
    light = ModelProto()
    light.CopyFrom(model)
    for item in light.graph.initializer if split else ():
        if len(item.raw_data) >= _LEAST_BYTES and item.data_type in (*_PLAIN, *_PLAIN_BYTES):
            _point(item, "", 0, 0)
    sources = {item.name: item for item in model.graph.initializer}
    items = [item for item in light.graph.initializer if is_apart(item)]
    if items:
        with workspace.replacing(data_path(path)) as beside, beside.open("wb") as stream:
            for item in items:
                array = array_of(sources[item.name])
                stream.write(bytes(-stream.tell() % _ALIGNED))
                offset = stream.tell()
                np.ascontiguousarray(array).tofile(stream)
                _point(item, data_path(path).name, offset, array.nbytes)
    workspace.write_bytes(path, light.SerializeToString())
    if not items:
        data_path(path).unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Move a model that `save` wrote to a folder of the same disk, where it keeps its name."""
    assert path.name == target.name
    if data_path(path).exists():
        data_path(path).replace(data_path(target))
    path.replace(target)
    workspace.sync_folder(target.parent)


def session(model: ModelProto, options: Any) -> Any:
    """Open a model in ONNX Runtime, on the processor. Numbers that lie apart are handed over as they lie, for protobuf could not carry them."""
    import onnxruntime

    numbers = {item.name: array_of(item) for item in model.graph.initializer if is_apart(item)}
    if numbers:
        options.add_external_initializers(list(numbers), [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in numbers.values()])
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def copy_file(path: Path, target: Path) -> None:
    """Copy a model that `save` wrote, its numbers with it, under a name of its own."""
    if not data_path(path).exists():
        shutil.copyfile(path, target)
        return
    shutil.copyfile(data_path(path), data_path(target))
    model = onnx.load(str(path), load_external_data=False)
    for item in model.graph.initializer:
        if is_apart(item):
            _, offset, size = _place(item)
            _point(item, data_path(target).name, offset, size)
    target.write_bytes(model.SerializeToString())
