"""A trained network as one self-contained ONNX file, checked against torch on real pictures before it counts.

In: `images` float32 [batch, 3, H, W], RGB, 0..255. Out: `probabilities` [batch, classes]; what networks give that find and outline things is
`engine.export.dense_form`'s. Normalisation and softmax, or sigmoid where a picture can show several classes, are inside.
Labels, preprocessing and origin travel in the file's metadata (`engine.export.metadata`); nothing else does, no stack trace, no path.
Running the file is left to `engine.export.predictor`; which model is exported when, to `engine.export.models`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from engine.errors import StudioError
from engine.export import metadata
from engine.models.build import ModelSpec
from engine.models.own_onnx import stored
from engine.models.own_onnx.beside import file_bytes
from engine.models.own_onnx.write import activated
from engine.tasks import TASKS

__all__ = ["TOLERANCE", "Form", "Shipped", "export_onnx"]

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference allowed between the file and torch, of probabilities (absolute) and of logits (relative to the largest)."""

MOST_BYTES = 2_000_000_000
"""Protocol Buffers, the form of an ONNX file, end at 2 GiB."""

_TIMED_SECONDS = 5.0

EXPORTERS = ("torchscript", "dynamo")
"""The older exporter takes 0.9 s where the newer takes 8-10 s (EfficientNet-Lite0, 2 cores); the newer steps in where the older fails."""

log = logging.getLogger(__name__)


class Shipped(nn.Module):
    """The network with its normalisation in front and softmax or sigmoid behind: pictures 0..255 in, probabilities out."""

    mean_255: torch.Tensor
    std_255: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], activation: str = "softmax") -> None:
        super().__init__()
        self.network, self.activation = network, activation
        self.register_buffer("mean_255", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1) * 255)
        self.register_buffer("std_255", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1) * 255)

    def logits(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the logits [batch, classes] of pictures 0..255."""
        return self.network((images_BCHW - self.mean_255) / self.std_255)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the probabilities [batch, classes] of pictures 0..255."""
        return activated(self.logits(images_BCHW), self.activation)


def export_onnx(
    module: nn.Module,
    spec: ModelSpec,
    path: Path,
    *,
    origin: Mapping[str, Any],
    pictures: NDArray[np.uint8],
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Write the model to `path` and return how well it agrees with torch.

    Args:
        module: normalised float images [B, 3, H, W] -> logits [B, classes].
        spec: says classes, picture size and preprocessing.
        origin: where the model comes from: starting_point, licence, version_id, run_id ...
        pictures: real pictures [N, H, W, 3] as the model sees them, at least one: what the file is checked on.
        thresholds: of a model that tags, the probability from which on each class counts as shown; a half where they are not given.

    Returns:
        {"max_abs", "max_rel", "n", "passed", "exporter", "opset", "bytes", "latency_ms", "threads"}

    Raises:
        StudioError: if no exporter can write it, or the file's answers differ from torch's.
    """
    size, own = sum(tensor.numel() * 4 for tensor in module.state_dict().values()), _is_own(module, spec)
    if size > MOST_BYTES and not own:
        raise StudioError(f"the model has {size / 1e9:.1f} GB of weights, and one ONNX file holds 2 GB at most", "Choose a smaller starting point.")
    making = path.with_name(f".{path.name}.making") if own and stored.too_large(size) else None
    try:
        with stored.apart(making):
            describe = partial(metadata.attach, described=metadata.of_spec(spec), origin=origin, thresholds=thresholds)
            return _written(_form(module, spec), describe, path, pictures, making)
    finally:
        if making is not None:
            shutil.rmtree(making, ignore_errors=True)


def _is_own(module: nn.Module, spec: ModelSpec) -> bool:
    """Tell whether a network is a user's own ONNX file, which is written back as the graph it came as."""
    return TASKS[spec.task].family != "dense" and hasattr(getattr(module, "backbone", None), "as_onnx")


def _written(form: Form, describe: Callable[[onnx.ModelProto], None], path: Path, pictures: NDArray[np.uint8], making: Path | None) -> dict[str, Any]:
    """Write and check; a large network is made in the folder `making` first, its numbers in a file beside the graph."""
    images_BCHW = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
    faults = []
    for exporter, write in form.writers.items():
        try:
            proto = write(form.shipped, images_BCHW[:1])
            metadata.strip(proto)
            describe(proto)
            _check(proto, making / path.name if making is not None else None)
        except (
            RuntimeError,
            TypeError,
            ValueError,
            torch.onnx.errors.OnnxExporterError,
            onnx.checker.ValidationError,
            onnx.shape_inference.InferenceError,
        ) as error:
            log.warning("exporter %s failed", exporter, exc_info=True)
            faults.append(f"{exporter}: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}")
            continue
        session = _session(form.observed(proto))
        parity = form.parity(form.shipped, session, images_BCHW)
        if parity["passed"]:
            if making is None:
                stored.save(proto, path)
            else:
                stored.move(making / path.name, path)
            told = {"exporter": exporter, "opset": proto.opset_import[0].version, "bytes": file_bytes(path)}
            return {**parity, **told, **_latency(session, images_BCHW, form.outputs)}
        faults.append(f"{exporter}: {form.fault(parity)}")
    raise StudioError(
        f"the model cannot be written as an ONNX file ({'; '.join(faults)})",
        "The trained model itself is safe. Choose another starting point for models that must be exported, or report this with the run's log.",
    )


@dataclass(frozen=True)
class Form:
    """How one family of networks is shipped and checked.

    Attributes:
        shipped: pictures 0..255 in, answers out.
        outputs: their names.
        writers: ways to write it, tried in this order.
        observed: the graph that is compared with torch.
        parity: how far file and torch are from each other, `passed` among it; fault: the same as a half sentence.
    """

    shipped: nn.Module
    outputs: tuple[str, ...]
    writers: Mapping[str, Callable[[Any, torch.Tensor], onnx.ModelProto]]
    observed: Callable[[onnx.ModelProto], onnx.ModelProto]
    parity: Callable[[Any, onnxruntime.InferenceSession, torch.Tensor], dict[str, Any]]
    fault: Callable[[Mapping[str, Any]], str]


def _form(module: nn.Module, spec: ModelSpec) -> Form:
    if TASKS[spec.task].family == "dense":
        from engine.export import dense_form

        shipped = dense_form.ShippedDense(module, spec.mean, spec.std).float().cpu().eval()
        return Form(shipped, shipped.output_names, {"torchscript": dense_form.write}, lambda proto: proto, dense_form.parity, dense_form.fault)
    names = ("graph",) if _is_own(module, spec) else EXPORTERS
    return Form(
        Shipped(module, spec.mean, spec.std, TASKS[spec.task].activation).float().cpu().eval(),
        ("probabilities",),
        {name: _WRITERS[name] for name in names},
        _with_logits,
        _parity,
        lambda parity: f"probabilities differ from torch's by {parity['max_abs']:.1e}, logits by {parity['max_rel']:.1e}",
    )


def _with_torchscript(shipped: Shipped, images_BCHW: torch.Tensor) -> onnx.ModelProto:
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            shipped,
            (images_BCHW,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_axes={"images": {0: "batch"}, "probabilities": {0: "batch"}},
        )
        return onnx.load(file)


def _with_dynamo(shipped: Shipped, images_BCHW: torch.Tensor) -> onnx.ModelProto:
    two_BCHW = images_BCHW.repeat(2, 1, 1, 1)  # an example of one would make torch take the batch for fixed
    with _quiet():
        program = torch.onnx.export(
            shipped,
            (two_BCHW,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _with_own_graph(shipped: Shipped, images_BCHW: torch.Tensor) -> onnx.ModelProto:
    """Write an imported network back as the graph it came as, with its new weights and head."""
    from engine.models.own_onnx.write import write

    network: Any = shipped.network
    mean, std = shipped.mean_255.flatten() / 255, shipped.std_255.flatten() / 255
    return write(network.backbone, network.head, mean.tolist(), std.tolist(), images_BCHW.shape[-1], shipped.activation)


_WRITERS: dict[str, Callable[[Shipped, torch.Tensor], onnx.ModelProto]] = {
    "torchscript": _with_torchscript,
    "dynamo": _with_dynamo,
    "graph": _with_own_graph,
}


@contextlib.contextmanager
def _quiet() -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _check(proto: onnx.ModelProto, large: Path | None) -> None:
    """Hold a model to ONNX's own rules. One past protobuf's 2 GB is written for it, for the checker reads numbers beside a graph from a file only."""
    if large is None:
        onnx.checker.check_model(proto, full_check=True)
    else:
        stored.save(proto, large)
        onnx.checker.check_model(str(large), full_check=True)


def _session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside a busy neighbour spinning costs ten times the work
    return stored.session(proto, options)


def _parity(shipped: Shipped, session: onnxruntime.InferenceSession, images_BCHW: torch.Tensor) -> dict[str, Any]:
    """Compare file and torch, the first picture alone and the rest together, so that the free batch size is tried as well."""
    parts = [part for part in (images_BCHW[:1], images_BCHW[1:]) if len(part)]
    with torch.no_grad():
        logits_NC = torch.cat([shipped.logits(part) for part in parts])
    answers = [session.run(["probabilities", "logits"], {"images": part.numpy()}) for part in parts]
    probabilities_NC, file_logits_NC = (torch.from_numpy(np.concatenate(column)) for column in zip(*answers, strict=True))
    max_abs = float((probabilities_NC - activated(logits_NC, shipped.activation)).abs().max())
    max_rel = float((file_logits_NC - logits_NC).abs().max() / logits_NC.abs().max().clamp_min(1e-12))
    return {"max_abs": max_abs, "max_rel": max_rel, "n": len(images_BCHW), "passed": max_abs <= TOLERANCE and max_rel <= TOLERANCE}


def _with_logits(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that gives out what the probabilities are made from as well, as `logits`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    last = next(node for node in copy.graph.node if "probabilities" in node.output)
    assert last.op_type in ("Softmax", "Sigmoid"), last.op_type
    copy.graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], ["logits"]))
    copy.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None))
    return copy


def _latency(session: onnxruntime.InferenceSession, images_BCHW: torch.Tensor, outputs: tuple[str, ...], rounds: int = 9) -> dict[str, Any]:
    """Time ONNX Runtime on one picture on this machine: the median, in milliseconds, of fewer rounds where each takes long."""
    feed, seconds = {"images": images_BCHW[:1].numpy()}, []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        session.run(list(outputs), feed)
        seconds.append(time.perf_counter() - began)
        if len(seconds) > 2 and sum(seconds) > _TIMED_SECONDS:
            break
    return {"latency_ms": round(1000 * median(seconds[2:]), 3), "threads": torch.get_num_threads()}
