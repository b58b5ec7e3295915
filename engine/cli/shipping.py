"""Commands that take a model away, and ask it."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from engine import runs, workspace
from engine.cli import waiting
from engine.cli.answer import Answer, share
from engine.errors import StudioError

__all__ = ["export", "export_options", "predict", "predict_options"]


def export_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `export` takes."""
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--format", choices=("onnx", "tensorrt", "folder"), default="onnx")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--gpu", dest="compute_capability", default="8.9", help="tensorrt: the compute capability of the GPU it is for, as in 8.9")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="tensorrt: the numbers it computes with")


def export(given: argparse.Namespace) -> Answer:
    """Write a run's model to a file."""
    run = runs.find(given.run)
    options = {"compute_capability": given.compute_capability, "precision": given.precision} if given.format == "tensorrt" else {}
    job = runs.create_job("export", {"run_id": run.id, "format": given.format, "options": options})
    runs.launch(job)
    waiting.wait(job)
    result, found = runs.result_of(job), waiting.outcome(job)
    if result is None:
        raise StudioError(found["problem"] or f"the export was {found['state']}", found["remedy"] or "Try again.")
    with workspace.replacing(given.output.absolute()) as beside:
        shutil.copyfile(result["file"], beside)
    return Answer({"run": run.id, "format": given.format, "bytes": given.output.stat().st_size, **result, "file": str(given.output)}, f"Wrote {given.output}")


def predict_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `predict` takes."""
    parser.add_argument("model", metavar="RUN_OR_ONNX", help="a run, or an ONNX file that Graft wrote")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--top", type=int, default=5, help="how many classes to name")


def predict(given: argparse.Namespace) -> Answer:
    """Ask the exported model about pictures."""
    from engine.data.images import open_rgb
    from engine.export.predictor import Predictor

    path = Path(given.model) if given.model.lower().endswith(".onnx") else runs.find(given.model).path("model.onnx")
    if not path.exists():
        raise StudioError(f"'{given.model}' has no model file yet", "Give a finished run, or an ONNX file that Graft wrote.")
    answers = Predictor(path).predict([open_rgb(file) for file in given.files], top=given.top)
    rows: list[dict[str, Any]] = [
        {"file": str(file), "top": [{"label": label, "probability": float(p)} for label, p in answer]}
        for file, answer in zip(given.files, answers, strict=True)
    ]
    lines = [f"{row['file']}: " + ", ".join(f"{entry['label']} {share(entry['probability'])}" for entry in row["top"]) for row in rows]
    return Answer({"model": str(path), "predictions": rows}, "\n".join(lines))
