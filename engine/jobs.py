"""What a worker does for each kind of job; `engine.worker` has the table.

Heavy imports stand inside the functions: a worker that waits, imports pictures or downloads weights never loads torch.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from engine import events, runs, workspace
from engine.errors import StudioError
from engine.recipe import Recipe
from engine.work import LastWord, Work

__all__ = [
    "check",
    "device_wanted",
    "download",
    "estimate",
    "export",
    "export_data",
    "has_something_to_keep",
    "import_pictures",
    "look",
    "propose",
    "step_reached",
    "suggest",
    "train",
    "xray",
]


def device_wanted(job: Work) -> str:
    """Return the recipe's `device` setting of a run or of an estimate."""
    recipe = job.request.get("recipe")
    return str(recipe.get("device", "auto")) if recipe is not None else job.run.recipe.device


def has_something_to_keep(job: Work) -> bool:
    """Tell whether a run that is told to stop has a model worth finishing."""
    return job.wish() == "stop" and job.run.path("best.safetensors").exists()


def step_reached(job: Work) -> int:
    """Return the optimiser step the last checkpoint stands at: 0 where there is none, or its beginning is damaged.

    Read from the checkpoint's own header: last.json beside it may be one kill older.
    """
    try:
        with job.run.path("last.safetensors").open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _MOST_HEADER_BYTES)))
        return int(json.loads(header["__metadata__"]["position"])["step"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0


_MOST_HEADER_BYTES = 16 << 20


def train(job: Work) -> LastWord:
    """Train a run, then write its ONNX file, so that Try and Ship have it at once."""
    from engine.models import catalogue
    from engine.training import session

    run, recipe = job.run, job.run.recipe
    outcome = session.train(
        recipe=recipe,
        manifest=workspace.read_json(run.path("version.json")),
        start=catalogue.resolve(recipe.start, recipe.task),
        files=session.Files(run.folder),
        emit=job.emit,
        wish=job.wish,
        pressed_t=runs.pressed_of(run)["t"],
    )
    if outcome.kind == "paused":
        return None if job.told_to_go else events.Paused(step=outcome.step)
    if run.path("best.safetensors").exists():
        _export_best(job)
    return events.Ended(outcome=outcome.kind, metrics=outcome.metrics, seconds=job.seconds)


def _export_best(job: Work) -> None:
    """Write a run's ONNX file. Where that fails the run has still finished: its model is safe, and Ship can try again."""
    from engine.export import models

    job.emit(events.Phase(name="export", title="Writing the ONNX file and checking it", step=job.step))
    try:
        models.export_run(job.run)
    except StudioError as error:
        job.emit(events.Message(level="warning", text=f"The run is finished, but its ONNX file is not: {error}"))


def estimate(job: Work) -> LastWord:
    """Time a few training steps and say what a run with this recipe would take."""
    from engine.data import versions
    from engine.models import catalogue
    from engine.training import session

    recipe = Recipe.model_validate(job.request["recipe"])
    manifest = versions.freeze(job.request["project_id"])
    found = session.estimate(recipe=recipe, manifest=manifest, start=catalogue.resolve(recipe.start, recipe.task), emit=job.emit, wish=job.wish)
    return job.finished(found) if found else job.left()


def import_pictures(job: Work) -> LastWord:
    """Take a folder or an archive into a project."""
    from engine.data import importing

    asked = job.request
    try:
        found = importing.import_path(
            asked["project_id"],
            Path(asked["path"]),
            in_place=asked.get("in_place"),
            mapping=asked.get("mapping"),
            report=job.progress,
            stage=lambda stage: job.emit(events.Phase(name=stage, title=_IMPORT_STAGES[stage])),
            should_stop=job.should_stop,
        )
    except StudioError:
        if job.should_stop():
            return job.left()
        raise
    return job.finished(dataclasses.asdict(found))


_IMPORT_STAGES = {"earlier": "Looking through the pictures of the last import first", "enter": "Reading your pictures", "look": "Looking through your pictures"}


def export_data(job: Work) -> LastWord:
    """Write a project's pictures and labels to a zip in the job's own folder."""
    from engine.data import export

    asked = job.request
    into = job.run.path(asked["name"])
    try:
        made = export.export(asked["project_id"], asked["format"], into, pictures=asked["pictures"], report=job.progress, should_stop=job.should_stop)
    except StudioError:
        if job.should_stop():
            return job.left()
        raise
    return job.finished({"file": into.relative_to(workspace.home()).as_posix(), **dataclasses.asdict(made)})


def look(job: Work) -> LastWord:
    """Look through the pictures of a project that an import left, and give them their splits."""
    from engine.data import looking, splits

    project_id = job.request["project_id"]
    out = looking.finish(project_id, job.progress, job.should_stop)
    if out is None:
        return job.left()
    splits.assign(project_id)
    return job.finished({"left": looking.left(project_id), "taken_out": [dataclasses.asdict(one) for one in out]})


def download(job: Work) -> LastWord:
    """Fetch a backbone's weights, or a finished model ('ready/KEY')."""
    from engine.models import weights

    name = job.request["backbone"]
    fetch = weights.download_published if name.startswith("ready/") else weights.download
    path = fetch(name, report=job.progress, should_stop=job.should_stop)
    return job.finished({"file": str(path)}) if path else job.left()


def export(job: Work) -> LastWord:
    """Make the file a user takes away: an ONNX file, a TensorRT engine or a deploy folder."""
    from engine.export.jobs import run_export

    result = run_export(job.request, job.emit, job.should_stop, job.run.folder)
    return job.finished(result) if result else job.left()


def suggest(job: Work) -> LastWord:
    """Propose classes for a project's pictures without one."""
    from engine.data import marks, projects
    from engine.training import probe, tag_probe

    project_id = job.request["project_id"]
    several = projects.get(project_id).task == marks.TAGGING
    found = (tag_probe if several else probe).suggest(project_id, job.emit, job.should_stop)
    return job.finished(found) if found else job.left()


def propose(job: Work) -> LastWord:
    """Propose shapes in a project's pictures that nobody has drawn on."""
    from engine import proposing

    found = proposing.propose(job.request, job.emit, job.progress, job.should_stop)
    return job.finished(found) if found is not None else job.left()


def xray(job: Work) -> LastWord:
    """Look into an ONNX file that a user brought."""
    from engine.models.own_onnx.jobs import run_xray

    result = run_xray(job.request, job.emit, job.should_stop)
    return job.finished(result) if result else job.left()


def check(job: Work) -> LastWord:
    """Check a project's pictures and labels."""
    from engine import passport

    return passport.check(job)
