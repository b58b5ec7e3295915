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
from engine.export.metadata import TAGGING, WHOLE
from engine.export.tensorrt import target
from engine.models import catalogue
from engine.models.own_onnx.beside import data_path, file_bytes

__all__ = ["export", "export_options", "predict", "predict_options"]

READY = "ready/"


def export_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `export` takes."""
    parser.add_argument("run", metavar="RUN", help="a run, or ready/NAME for a finished model of the catalogue")
    parser.add_argument("--format", choices=("onnx", "tensorrt", "folder"), default="onnx")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--gpu", dest="compute_capability", default="8.9", help="tensorrt: the compute capability of the GPU it is for, as in 8.9")
    parser.add_argument("--precision", choices=("fp32", "fp16"), help="tensorrt: the numbers it computes with; full precision where that GPU takes it")


def export(given: argparse.Namespace) -> Answer:
    """Write a run's model, or a ready one, to a file."""
    source = given.run if given.run.startswith(READY) else runs.find(given.run).id
    options = {}
    if given.format == "tensorrt":
        row = target(given.compute_capability)
        options = {"compute_capability": row.key, "precision": given.precision or row.precisions[-1]}
    result = _made(source, given.format, options)
    made = Path(result["file"])
    if data_path(made).exists():
        from engine.models.own_onnx import stored

        stored.copy_file(made, given.output)
        words = f"Wrote {given.output} and its weights, {data_path(given.output).name}, beside it: keep both together"
    else:
        words = f"Wrote {given.output}" + (": it was built without its GPU and has not been run." if given.format == "tensorrt" else "")
        with workspace.replacing(given.output.absolute()) as beside:
            shutil.copyfile(made, beside)
    return Answer({"run": source, "format": given.format, **result, "bytes": file_bytes(given.output), "file": str(given.output)}, words)


def _made(source: str, kind: str, options: dict[str, str]) -> dict[str, Any]:
    """Have a worker make a file, and wait for it."""
    if source.startswith(READY):
        catalogue.resolve(source)  # an unknown name is a sentence at once
    job = runs.create_job("export", {"run_id": source, "format": kind, "options": options})
    runs.launch(job)
    waiting.wait(job)
    result, found = runs.result_of(job), waiting.outcome(job)
    if result is None:
        raise StudioError(found["problem"] or f"the export was {found['state']}", found["remedy"] or "Try again.")
    return result


def predict_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `predict` takes."""
    parser.add_argument("model", metavar="RUN_OR_ONNX", help="a run, an ONNX file that Graft wrote, or ready/NAME for a finished model of the catalogue")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--top", type=int, default=5, help="how many classes to name, of a model that sorts pictures; one that tags names all it sees")
    parser.add_argument("--least", type=float, default=0.3, metavar="SCORE", help="how sure it must be of a thing, 0 to 1, of a model that finds things")


def predict(given: argparse.Namespace) -> Answer:
    """Ask the exported model about pictures."""
    from engine.export.predictor import Predictor

    path = _model_file(given.model)
    predictor = Predictor(path)
    if predictor.task not in WHOLE:
        return _found(path, predictor, given)
    if predictor.task == TAGGING:
        return _tagged(path, predictor, given)
    answers = predictor.predict([predictor.open(file) for file in given.files], top=given.top)
    rows: list[dict[str, Any]] = [
        {"file": str(file), "top": [{"label": label, "probability": float(p)} for label, p in answer]}
        for file, answer in zip(given.files, answers, strict=True)
    ]
    lines = [f"{row['file']}: " + ", ".join(f"{entry['label']} {share(entry['probability'])}" for entry in row["top"]) for row in rows]
    return Answer({"model": str(path), "predictions": rows}, "\n".join(lines))


def _tagged(path: Path, predictor: Any, given: argparse.Namespace) -> Answer:
    """Name every class of each picture that reaches its threshold, and how likely each of all is."""
    pictures = [predictor.open(file) for file in given.files]
    rows: list[dict[str, Any]] = [
        {
            "file": str(file),
            "tags": [{"label": label, "probability": p} for label, p in said],
            "probabilities": dict(zip(predictor.labels, map(float, all_K), strict=True)),
        }
        for file, said, all_K in zip(given.files, predictor.tags(pictures), predictor.probabilities(pictures), strict=True)
    ]
    lines = [f"{row['file']}: " + (", ".join(f"{entry['label']} {share(entry['probability'])}" for entry in row["tags"]) or "none") for row in rows]
    thresholds = dict(zip(predictor.labels, predictor.thresholds, strict=True))
    return Answer({"model": str(path), "thresholds": thresholds, "predictions": rows}, "\n".join(lines))


def _found(path: Path, predictor: Any, given: argparse.Namespace) -> Answer:
    """Say what was found in each picture; masks as COCO's compressed run lengths."""
    rows: list[dict[str, Any]] = []
    for file, answer in zip(given.files, predictor.answers([predictor.open(file) for file in given.files]), strict=True):
        kept = answer.above(given.least)
        things = [
            {
                "label": predictor.labels[label],
                "score": round(float(score), 4),
                "box": [round(float(edge), 1) for edge in box],
                **({} if kept.masks is None else {"mask": kept.masks[place]}),
            }
            for place, (label, score, box) in enumerate(zip(kept.classes_D, kept.scores_D, kept.boxes_D4, strict=True))
        ]
        rows.append({"file": str(file), "width": answer.width, "height": answer.height, "things": things})
    lines = [f"{row['file']}: " + (", ".join(f"{one['label']} {share(one['score'])}" for one in row["things"]) or "nothing") for row in rows]
    return Answer({"model": str(path), "predictions": rows}, "\n".join(lines))


def _model_file(model: str) -> Path:
    """Return the ONNX file of a run, of a ready model (made on first use), or the one that is named."""
    if model.lower().endswith(".onnx"):
        path = Path(model)
    elif model.startswith(READY):
        path = workspace.cache("onnx") / f"{catalogue.resolve(model).key.removeprefix(READY)}.onnx"
        if not path.exists():
            path = Path(_made(model, "onnx", {})["file"])
    else:
        path = runs.find(model).path("model.onnx")
    if not path.exists():
        raise StudioError(f"'{model}' has no model file yet", "Give a finished run, or an ONNX file that Graft wrote.")
    return path
