"""TensorRT engines, built ahead of time from an ONNX file for a chosen generation of GPU; no GPU is needed to build with tensorrt-rtx.

Files that find things must hold none of the operators that TensorRT for RTX cannot run: `engine.export.for_tensorrt` writes them so.

The full `tensorrt` package is used where it imports and the machine has a GPU to build for, else `tensorrt_rtx`. Both are imported only
inside the export job. What a page needs to know (`TARGETS`, `PRECISIONS`) is a plain table.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import workspace
from engine.errors import StudioError
from engine.export import metadata
from engine.export.metadata import WHOLE
from engine.models.own_onnx.beside import data_path

__all__ = ["BATCHES", "DENSE_BATCHES", "PRECISIONS", "TARGETS", "Target", "build_engine", "checked", "reason_against", "target"]


@dataclass(frozen=True)
class Target:
    """A generation of NVIDIA GPUs. `key` is its compute capability."""

    key: str
    title: str
    words: str
    ahead: bool = True
    """Whether tensorrt-rtx builds for it on any machine; else the full package must build on a machine with such a GPU."""
    precisions: tuple[str, ...] = ("fp16", "fp32")

    @property
    def member(self) -> str:
        """Its name in trt.ComputeCapability."""
        return f"SM{self.key.replace('.', '')}"


TARGETS = (
    Target("7.5", "Turing", "GeForce GTX 16 and RTX 20, Quadro RTX, T4", precisions=("fp16",)),
    Target("8.0", "Ampere (data centre)", "A100, A30"),
    Target("8.6", "Ampere", "GeForce RTX 30, RTX A series, A10, A40"),
    Target("8.9", "Ada Lovelace", "GeForce RTX 40, RTX 6000 Ada, L4, L40"),
    Target("9.0", "Hopper (data centre)", "H100, H200: only on a machine that has one, with the full TensorRT", ahead=False),
    Target("10.0", "Blackwell (data centre)", "B200, GB200: only on a machine that has one, with the full TensorRT", ahead=False),
    Target("12.0", "Blackwell", "GeForce RTX 50, RTX PRO Blackwell"),
    Target("12.1", "Blackwell (GB10)", "DGX Spark"),
)

PRECISIONS = {
    "fp32": "Full precision: the same answers as the ONNX file.",
    "fp16": "Half precision: half the size and faster, answers differ in the third digit.",
}

BATCHES = (1, 8, 64)
"""Smallest, usual and largest batch that the engine takes."""

DENSE_BATCHES = (1, 4, 16)
"""The same where every picture has a map or a table of overlaps of its own: 64 of them would ask for gigabytes."""


def target(key: str) -> Target:
    """Return the target of that compute capability.

    Raises:
        StudioError: if there is none.
    """
    for row in TARGETS:
        if row.key == key:
            return row
    raise StudioError(f"there is no GPU generation '{key}' to build for", f"Choose one of {', '.join(f'{row.key} ({row.title})' for row in TARGETS)}.")


def checked(compute_capability: str, precision: str) -> Target:
    """Return the target, once it is sure that engines of that precision are built for it.

    Raises:
        StudioError: if there is no such generation or precision, or they do not go together.
    """
    chosen = target(compute_capability)
    if precision not in PRECISIONS:
        raise StudioError(f"there is no precision '{precision}'", f"Choose one of {', '.join(PRECISIONS)}.")
    if precision not in chosen.precisions:
        raise StudioError(f"TensorRT builds no {precision} engines for {chosen.title} GPUs", f"Choose {' or '.join(chosen.precisions)}.")
    return chosen


def reason_against(chosen: Target) -> StudioError | None:
    """Say why no engine for these GPUs can be built on this machine; None where one can. Imports no TensorRT."""
    full = _gpu_here() == chosen.key and importlib.util.find_spec("tensorrt") is not None
    if not chosen.ahead and not full:
        return StudioError(
            f"engines for {chosen.title} GPUs can only be built on a machine that has one, with the full TensorRT installed",
            "Build there, choose another generation, or use the ONNX file.",
        )
    if not full and importlib.util.find_spec("tensorrt_rtx") is None:
        return StudioError(
            "TensorRT is not installed on this machine",
            "Install it with: pip install tensorrt-rtx (Linux or Windows on x86-64). The ONNX file runs everywhere.",
        )
    return None


def build_engine(onnx_path: Path, out: Path, *, compute_capability: str = "8.9", precision: str = "fp32", converted: bool = False) -> dict[str, Any]:
    """Build an engine that runs on GPUs of the given generation, and write it to `out`.

    `converted` says that the file is in that precision already.

    Returns:
        {"file", "bytes", "target", "precision", "builder", "version", "batches"}

    Raises:
        StudioError: if the generation or precision is unknown, TensorRT is not installed, or it cannot build this model.
    """
    chosen = checked(compute_capability, precision)
    trt = _builder_for(chosen)
    if precision != "fp32" and data_path(onnx_path).exists():
        raise StudioError("a model of more than 2 GB cannot be halved here", "Choose full precision.")
    content = onnx_path.read_bytes() if precision == "fp32" or converted else _halved(onnx_path)
    batches = BATCHES if _task_of(content) in ("", *WHOLE) else DENSE_BATCHES
    plan = _build(trt, content, chosen, batches, str(onnx_path))
    workspace.write_bytes(out, plan)
    return {
        "file": str(out),
        "bytes": len(plan),
        "target": chosen.key,
        "precision": precision,
        "builder": trt.__name__,
        "version": trt.__version__,
        "batches": list(batches),
    }


def _builder_for(chosen: Target) -> Any:
    """Return the package that can build for this target: full TensorRT where this machine's own GPU is of that kind, else TensorRT for RTX."""
    if (reason := reason_against(chosen)) is not None:
        raise reason
    names = ["tensorrt"] if _gpu_here() == chosen.key else []
    names += ["tensorrt_rtx"] if chosen.ahead else []
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            last = error
    raise StudioError(f"TensorRT is installed but does not load ({last})", "Install it again, or use the ONNX file: it runs everywhere.") from last


def _gpu_here() -> str:
    """Return the compute capability of this machine's first NVIDIA GPU, '' where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(pynvml.nvmlDeviceGetHandleByIndex(0))
    except pynvml.NVMLError:
        return ""
    return f"{major}.{minor}"


def _build(trt: Any, content: bytes, chosen: Target, batches: tuple[int, ...], path: str) -> bytes:
    with _said(trt) as (logger, complaints):
        builder = trt.Builder(logger)
        strongly = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(1 << int(strongly) if strongly is not None else 0)
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(content, path):  # the path tells where weights beside the file lie
            raise _cannot(str(parser.get_error(0).desc()) if parser.num_errors else "")
        images = network.get_input(0)
        profile = builder.create_optimization_profile()
        profile.set_shape(images.name, *((batch, *tuple(images.shape)[1:]) for batch in batches))
        config = builder.create_builder_config()
        config.add_optimization_profile(profile)
        if hasattr(config, "num_compute_capabilities"):  # the full package builds for the GPU that is here
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, chosen.member), 0)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise _cannot(complaints[-1] if complaints else "")
        return bytes(plan)


def _cannot(reason: str) -> StudioError:
    return StudioError(
        f"TensorRT cannot build this model{f' ({reason[:200]})' if reason else ''}", "Use the ONNX file: ONNX Runtime runs it on NVIDIA GPUs too."
    )


@contextmanager
def _said(trt: Any) -> Iterator[tuple[Any, list[str]]]:
    """Give a logger that keeps the builder's errors as sentences, and the list it keeps them in."""
    complaints: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                complaints.append(message)

    yield Logger(), complaints


def _halved(onnx_path: Path) -> bytes:
    """Return the model in half precision; pictures go in and probabilities come out as float32 still."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(onnx.load(onnx_path), keep_io_types=True).SerializeToString()


def _task_of(content: bytes) -> str:
    """Return the task that an ONNX file says it is for; '' where it says none or is no such file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        entries = onnx.load_from_string(content).metadata_props
    except DecodeError:
        return ""
    about = metadata.parse({entry.key: entry.value for entry in entries})
    return about.task if about else ""
