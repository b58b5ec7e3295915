"""The export job: from its request to the file a user takes away. Runs in a worker; torch and TensorRT are imported only where a format needs them.

A request is {"run_id": RUN or "ready/NAME", "format": "onnx" | "tensorrt" | "folder", "options": {...}}, or {"ready": NAME} for short.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine import runs
from engine.errors import StudioError
from engine.events import Event, Phase
from engine.tasks import TASKS

__all__ = ["FORMATS", "run_export"]

FORMATS = {"onnx": "ONNX file", "tensorrt": "TensorRT engine", "folder": "deploy folder"}

Emit = Callable[[Event], None]


def run_export(request: Mapping[str, Any], emit: Emit, should_stop: Callable[[], bool], folder: Path | None = None) -> dict[str, Any]:
    """Do what an export job asks and return its result: {"file": path, ...}; {} if it was told to stop before it was done.

    Args:
        request: see above.
        emit: takes events.
        should_stop: asked between the steps of the work.
        folder: where files that are not kept with the run go, usually the job's own; `exports` in the run's folder by default.

    Raises:
        StudioError: if the request makes no sense, the run has no model yet, or the file cannot be made.
    """
    source, kind = _asked(request)
    emit(Phase(name="export", title=f"Making the {FORMATS[kind]}"))
    model = _model(source, emit)
    if should_stop():
        return {}
    if kind == "onnx":
        return {"file": str(model)}
    out = folder or (model.parent / "exports")
    options = dict(request.get("options") or {})
    if kind == "tensorrt":
        return _engine(source, model, out, options)
    from engine.export.folder import deploy_folder

    run = runs.find(source)
    return {"file": str(deploy_folder(run, out / f"{run.id}.zip", project_name=_project_name(run)))}


def _engine(source: str, model: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Build a TensorRT engine; one that finds things from a file in steps that TensorRT runs, which is checked first and not kept."""
    from engine.export import tensorrt

    gpu, precision = str(options.get("compute_capability", "8.9")), str(options.get("precision", "fp32"))
    tensorrt.checked(gpu, precision)
    target = out / f"{source.rpartition('/')[2]}-sm{gpu.replace('.', '')}-{precision}.engine"
    if source.startswith("ready/") or TASKS[(run := runs.find(source)).recipe.task].family != "dense":
        return tensorrt.build_engine(model, target, compute_capability=gpu, precision=precision)
    from engine.export import for_tensorrt

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        parity = for_tensorrt.write(run, file, precision)
        built = tensorrt.build_engine(file, target, compute_capability=gpu, precision=precision, converted=True)
        return {**built, "parity": parity}


def _asked(request: Mapping[str, Any]) -> tuple[str, str]:
    """Return what to export ('ready/NAME' or a run's id) and as what."""
    source = f"ready/{request['ready'].removeprefix('ready/')}" if request.get("ready") else str(request.get("run_id", ""))
    kind = str(request.get("format", "onnx"))
    if kind not in FORMATS:
        raise StudioError(f"there is no export format '{kind}'", f"Choose one of {', '.join(FORMATS)}.")
    if kind == "folder" and source.startswith("ready/"):
        raise StudioError("a deploy folder tells of a training, and a ready model has none here", "Take its ONNX file, or train from it first.")
    return source, kind


def _model(source: str, emit: Emit) -> Path:
    """Return the ONNX file, written now where it is not there yet."""
    if source.startswith("ready/"):
        from engine.export.models import export_ready

        return export_ready(source.removeprefix("ready/"))
    run = runs.find(source)
    model = run.path("model.onnx")
    if not model.exists() or not run.path("parity.json").exists():
        if not run.path("best.safetensors").exists():
            raise StudioError(f"'{run.name}' has no trained model yet", "Wait until it has finished, or stop it and keep the best model.")
        from engine.export.models import export_run

        emit(Phase(name="export", title="Writing the ONNX file and checking it"))
        export_run(run)
    return model


def _project_name(run: runs.Run) -> str:
    from engine.data import projects

    return projects.get(run.project_id).name
