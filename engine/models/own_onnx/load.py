"""Reads an ONNX file from disk, trusting nothing in it. Torch-free.

Only this module opens the file and its external data. What it returns is sorted, free of cycles, and its external
data lies inside the file's own folder. Structure is judged in `inspect.py`.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from engine.errors import StudioError
from engine.models.own_onnx.limits import MOST
from engine.models.own_onnx.roles import reads
from engine.models.own_onnx.stored import lay_apart

__all__ = ["external_files", "graphs", "read", "refuse", "sort", "tensors"]


_NO_WHOLE_BYTES = (
    TensorProto.UNDEFINED,
    TensorProto.STRING,
    *(getattr(TensorProto, name) for name in ("UINT4", "INT4", "FLOAT4E2M1", "UINT2", "INT2", "FLOAT6E2M3", "FLOAT6E3M2") if hasattr(TensorProto, name)),
)


def refuse(problem: str, remedy: str = "Export the model again with its framework's own ONNX exporter, then drop that file here.") -> StudioError:
    """Make the error a refused file is answered with."""
    return StudioError(problem, remedy)


def graphs(graph: GraphProto, depth: int = 0) -> Iterator[GraphProto]:
    """Yield a graph and every graph inside it.

    Raises:
        StudioError: if they lie too deep inside each other.
    """
    if depth > MOST["depth"]:
        raise refuse(f"the file has graphs inside graphs, more than {MOST['depth']} deep")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                yield from graphs(inner, depth + 1)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every stored tensor: weights, and tensors in attributes."""
    for graph in graphs(model.graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def read(path: Path, *, weights: bool = True) -> ModelProto:
    """Read a model from disk.

    Args:
        path: the file; its external data must lie in the same folder.
        weights: load external data too; without it the structure alone is read.

    Raises:
        StudioError: if it is no ONNX file, too large, or reaches for files outside its folder.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise refuse(f"there is no file {path.name}", "Check the path, or drop the file again.") from error
    if not path.is_file():
        raise refuse(f"{path.name} is not a file", "Choose an ONNX file.")
    if size == 0:
        raise refuse(f"{path.name} is empty", "The upload may have been cut off: drop the file again.")
    if size > MOST["graph_bytes"]:
        raise refuse(
            f"{path.name} has {size / 1e9:.1f} GB in one piece, and the form of an ONNX file ends at 2 GB",
            "Save it with external data: with onnx.save(model, file, save_as_external_data=True), or torch's own exporter. Then drop both files.",
        )
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError, RecursionError) as error:
        raise refuse(f"{path.name} cannot be read as an ONNX model: it is damaged or of another kind") from error
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            _check_external(tensor, path.parent)
    if weights:
        try:
            lay_apart(model, path.parent)
        except (onnx.checker.ValidationError, OSError, ValueError) as error:  # such as a hard link: onnx fears what it may lead to
            raise refuse(
                f"the weights beside {path.name} cannot be read ({str(error)[:200]})", "Copy the model and its external data, and drop the copies."
            ) from error
    sort(model.graph)
    return model


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _check_external(tensor: TensorProto, folder: Path) -> None:
    """Hold a tensor's external data inside the folder, the file and the tensor's own size."""
    entries = _entries(tensor)
    location, name = entries.get("location", ""), tensor.name[:80]
    if not location or "\0" in location or Path(location).is_absolute() or location.startswith(("\\", "/")) or ":" in location or ".." in Path(location).parts:
        raise refuse(f"the weights of '{name}' are said to lie at '{location[:80]}', outside the upload", "Keep the external data beside the file.")
    target = folder / location
    real = Path(os.path.realpath(target))
    if not real.is_relative_to(Path(os.path.realpath(folder))):
        raise refuse(f"the weights of '{name}' lead outside the upload through a link", "Keep the external data itself beside the file.")
    if not real.is_file():
        raise refuse(f"the file {location[:80]} with the model's weights is missing", "Drop it together with the ONNX file.")
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or 0)
    except ValueError as error:
        raise refuse(f"the place of the weights of '{name}' is no number") from error
    held, wanted = length or real.stat().st_size - offset, _bytes_of(tensor)
    if offset >= 0 and length >= 0 and wanted is not None and (held < wanted or length > wanted):
        raise refuse(
            f"the weights of '{name}' should have {wanted:,} bytes and have {max(held, 0):,}", "The upload may have been cut off: drop both files again."
        )
    if offset < 0 or length < 0 or offset + length > real.stat().st_size:
        raise refuse(f"the weights of '{name}' lie past the end of {location[:80]}", "The upload may have been cut off: drop both files again.")


def _bytes_of(tensor: TensorProto) -> int | None:
    """How many bytes a tensor's numbers take; None for kinds that share bytes, or whose size `inspect` refuses."""
    if tensor.data_type not in TensorProto.DataType.values() or any(size < 0 for size in tensor.dims):
        return None
    if tensor.data_type in _NO_WHOLE_BYTES:
        return None
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def external_files(model: ModelProto) -> list[str]:
    """Return the names of the files that hold a model's external data."""
    return sorted({_entries(tensor).get("location", "") for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL})


def sort(graph: GraphProto) -> None:
    """Put the nodes into an order in which each follows what it reads, in place.

    Raises:
        StudioError: if there is none (a cycle), a value is made twice, or a value is read that nothing makes.
    """
    known = {value.name for value in graph.input} | {item.name for item in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    maker: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and (name in maker or name in known):
                raise refuse(f"the value '{name[:80]}' is made twice")
            if name:
                maker[name] = index
    waiting, followers = [0] * len(graph.node), [[] for _ in graph.node]  # type: list[int], list[list[int]]
    for index, node in enumerate(graph.node):
        for name in reads(node):
            if name in maker:
                waiting[index] += 1
                followers[maker[name]].append(index)
            elif name not in known:
                raise refuse(f"the node '{(node.name or node.op_type)[:80]}' reads '{name[:80]}', which nothing makes")
    if all(maker.get(name, -1) < index for index, node in enumerate(graph.node) for name in node.input):
        return
    ready, order = deque(index for index, count in enumerate(waiting) if not count), []
    while ready:
        index = ready.popleft()
        order.append(index)
        for follower in followers[index]:
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    if len(order) < len(graph.node):
        stuck = next(node for index, node in enumerate(graph.node) if waiting[index])
        raise refuse(f"the graph runs in a circle at '{(stuck.name or stuck.op_type)[:80]}'")
    nodes = [graph.node[index] for index in order]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
