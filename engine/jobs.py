"""What a worker does for each kind of job; `engine.worker` has the table.

Heavy imports stand inside the functions: a worker that waits, imports pictures or downloads weights never loads torch.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from engine import events, runs, workspace
from engine.errors import StudioError
from engine.recipe import Recipe
from engine.work import LastWord, Work

__all__ = ["device_wanted", "download", "estimate", "export", "has_something_to_keep", "import_pictures", "step_reached", "train"]


def device_wanted(job: Work) -> str:
    """Return the recipe's `device` setting of a run or of an estimate."""
    recipe = job.request.get("recipe")
    return str(recipe.get("device", "auto")) if recipe is not None else job.run.recipe.device


def has_something_to_keep(job: Work) -> bool:
    """Tell whether a run that is told to stop has a model worth finishing."""
    return job.wish() == "stop" and job.run.path("best.safetensors").exists()


def step_reached(job: Work) -> int:
    """Return the optimiser step the last checkpoint stands at: 0 where there is none."""
    path = job.run.path("last.json")
    return int(workspace.read_json(path).get("step", 0)) if path.exists() else 0


def train(job: Work) -> LastWord:
    """Train a run, then write its ONNX file, so that Try and Ship have it at once."""
    from engine.models import catalogue
    from engine.training import session

    run, recipe = job.run, job.run.recipe
    outcome = session.train(
        recipe=recipe,
        manifest=workspace.read_json(run.path("version.json")),
        start=catalogue.resolve(recipe.start),
        files=session.Files(run.folder),
        emit=job.emit,
        wish=job.wish,
        pressed_t=runs.pressed_of(run)["t"],
    )
    if outcome.kind == "paused":
        return None if job.told_to_go else events.Paused(step=outcome.step)
    return events.Ended(outcome=outcome.kind, metrics=outcome.metrics, seconds=job.seconds)


def estimate(job: Work) -> LastWord:
    """Time a few training steps and say what a run with this recipe would take."""
    from engine.data import versions
    from engine.models import catalogue
    from engine.training import session

    recipe = Recipe.model_validate(job.request["recipe"])
    manifest = versions.freeze(job.request["project_id"])
    return job.finished(session.estimate(recipe=recipe, manifest=manifest, start=catalogue.resolve(recipe.start), emit=job.emit, wish=job.wish))


def import_pictures(job: Work) -> LastWord:
    """Take a folder or an archive into a project."""
    from engine.data import importing

    asked = job.request
    found = importing.import_path(
        asked["project_id"],
        Path(asked["path"]),
        in_place=asked.get("in_place"),
        report=job.progress,
        should_stop=job.should_stop,
    )
    if job.should_stop():
        return job.left()
    return job.finished(dataclasses.asdict(found))


def download(job: Work) -> LastWord:
    """Fetch a backbone's weights."""
    from engine.models import weights

    path = weights.download(job.request["backbone"], report=job.progress, should_stop=job.should_stop)
    return job.left() if job.should_stop() else job.finished({"file": str(path)})


def export(job: Work) -> LastWord:
    """Make the file a user takes away: an ONNX file, a TensorRT engine or a deploy folder."""
    run = runs.find(job.request["run_id"])
    file = _EXPORTS[job.request["format"]](run, job, dict(job.request.get("options") or {}))
    return job.finished({"file": str(file)})


def _onnx(run: runs.Run, job: Work, options: dict[str, Any]) -> Path:  # noqa: ARG001
    return exported_model(run)


def exported_model(run: runs.Run) -> Path:
    """Return a run's ONNX file.

    Raises:
        StudioError: if the run has none.
    """
    path = run.path("model.onnx")
    if not path.exists():
        raise StudioError(f"'{run.id}' has no finished model yet", "Wait until it has finished, or stop it and keep the best model.")
    return path


def _tensorrt(run: runs.Run, job: Work, options: dict[str, Any]) -> Path:
    from engine.export import tensorrt

    out = job.run.path("model.engine")
    tensorrt.build_engine(exported_model(run), out, **options)
    return out


def _folder(run: runs.Run, job: Work, options: dict[str, Any]) -> Path:
    from engine.export import folder

    out = job.run.path(f"{run.id}.zip")
    folder.deploy_folder(run, out, **options)
    return out


_EXPORTS = {"onnx": _onnx, "tensorrt": _tensorrt, "folder": _folder}
