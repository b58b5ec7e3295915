"""The ONNX file a TensorRT engine is built from, for networks that find or outline things: the shipped answers in steps that TensorRT for RTX can run.

That builder has no NonMaxSuppression, NonZero or RoIAlign. The same answers come from products of matrices and GridSample
(`engine.models.dense.boxes.plain_steps`), and the file is held to torch on real pictures in ONNX Runtime, in half precision too. The engine itself
cannot be tried without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from engine import workspace
from engine.errors import StudioError
from engine.export import dense_form, metadata, models
from engine.models import build
from engine.models.dense.table import architecture
from engine.runs import Run

__all__ = ["ALLOWED", "halve", "write"]

ALLOWED = {"fp32": (dense_form.TOLERANCE, 0.001), "fp16": (0.05, 0.1)}
"""For each precision: how far scores (or a pixel's probability) may be from torch's, and which share of the things (or pixels) may be others."""


def write(run: Run, out: Path, precision: str) -> dict[str, Any]:
    """Write the file from a run's best checkpoint, in that precision, and return how well it agrees with torch: max_abs, max_rel, n, passed.

    Raises:
        StudioError: if it cannot be written, or its answers differ from torch's by more than that precision may.
    """
    (network, spec), (written, _) = (build.from_checkpoint(run.path("best.safetensors")) for _ in range(2))
    if precision == "fp16":
        halve(written)
    usual, plain = (dense_form.ShippedDense(one, spec.mean, spec.std, plain=one is written).eval() for one in (network, written))
    pictures = models.pictures_of(workspace.read_json(run.path("version.json")), spec)
    images_BCHW = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
    try:
        proto = dense_form.write(plain, images_BCHW[:1])
    except (RuntimeError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise _cannot(str(error).splitlines()[0][:200]) from error
    metadata.strip(proto)
    metadata.attach(proto, metadata.of_spec(spec), models.origin_of(run))
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    parity = dense_form.parity(usual, session, images_BCHW)
    scores, share = ALLOWED[precision]
    if parity["max_abs"] > scores or parity["max_rel"] > share:
        raise _cannot(f"in {precision} {dense_form.fault(parity)}")
    workspace.write_bytes(out, proto.SerializeToString())
    return {**parity, "passed": True}


def _cannot(reason: str) -> StudioError:
    return StudioError(f"the model cannot be written in the steps that TensorRT runs ({reason})", "Try the other precision, or use the ONNX file.")


def halve(network: Any) -> None:
    """Bring the parts that do the work to half precision, in place; what goes into each and comes out of it stays float32.

    Boxes are computed in full precision: of 1,024 px, half precision tells every one from the next, and no finer.
    """
    for part in _working(network):
        part.half()
        part.register_forward_pre_hook(lambda _, given: _cast(given, torch.float16))
        part.register_forward_hook(lambda _module, _given, found: _cast(found, torch.float32))


def _working(network: Any) -> Iterator[nn.Module]:
    yield network.backbone
    row = architecture(network.architecture)
    if row.task == "semantic-segmentation" and row.code != "transformers":
        yield network.head
        return
    for path in ("pyramid", "method.head"):
        if (part := _at(network.head, path)) is not None:
            yield part


def _at(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Bring every float tensor in a nest of tuples, lists and dicts to a type."""
    cast: Callable[[Any], Any] = lambda one: _cast(one, dtype)  # noqa: E731
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: cast(one) for key, one in value.items()}
    return type(value)(map(cast, value)) if isinstance(value, tuple | list) else value
