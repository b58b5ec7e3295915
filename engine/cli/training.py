"""Commands that start runs and steer them."""

from __future__ import annotations

import argparse
from typing import Any

from engine import naming, runs
from engine.cli import waiting
from engine.cli.answer import Answer, say, share, table
from engine.errors import StudioError
from engine.recipe import PRESETS, Recipe, recipe_from

__all__ = ["estimate", "estimate_options", "pause", "resume", "run_options", "stop", "train", "train_options"]


def train_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `train` takes."""
    estimate_options(parser)
    parser.add_argument("--name", default="", help="a name for the run")
    parser.add_argument("--wait", action="store_true", help="stay until it is over; progress goes to stderr")


def estimate_options(parser: argparse.ArgumentParser) -> None:
    """Declare what makes a recipe."""
    parser.add_argument("--project", required=True, metavar="NAME")
    parser.add_argument("--start", metavar="START", help="what to start from, as 'starts' lists it; else what the project has chosen")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="balanced")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="any setting; may be given many times")


def _recipe(given: argparse.Namespace, project: Any) -> Recipe:
    from engine.models import catalogue

    values: dict[str, Any] = {}
    for pair in given.settings:
        key, equals, value = pair.partition("=")
        if not equals:
            raise StudioError(f"--set {pair} has no value", "Write it as --set KEY=VALUE, as in --set epochs=3.")
        values[key.strip()] = value.strip()
    values["task"] = project.task
    if getattr(given, "name", ""):
        values["name"] = given.name
    start = given.start or values.get("start") or project.start
    if start:
        values["start"] = start
    recipe = recipe_from(values, preset=given.preset)
    return recipe.model_copy(update={"start": catalogue.resolve(recipe.start, recipe.task).key})


def train(given: argparse.Namespace) -> Answer:
    """Start a run."""
    from engine.data import projects, versions

    project = projects.find(given.project)
    recipe = naming.named(_recipe(given, project), project.id)
    run = runs.create_run(project.id, recipe, versions.freeze(project.id))
    runs.launch(run)
    return _begun(run, given.wait)


def _begun(run: runs.Run, stay: bool) -> Answer:
    if not stay:
        return Answer(waiting.outcome(run), f"{run.id} has started. Follow it with: python -m engine runs")
    try:
        waiting.wait(run)
    except KeyboardInterrupt:
        say(f"{run.id} goes on without this terminal. End it with: python -m engine stop {run.id}")
    value = waiting.outcome(run)
    figures = ", ".join(f"{key} {share(number)}" for key, number in value["metrics"].items())
    return Answer(value, f"{run.id} {value['state']}{': ' + figures if figures else ''}", code=0 if value["state"] in ("finished", "stopped") else 1)


def estimate(given: argparse.Namespace) -> Answer:
    """Try a few steps with the settings given and say what a run would take."""
    from engine.data import projects

    project = projects.find(given.project)
    job = runs.create_job("estimate", {"project_id": project.id, "recipe": _recipe(given, project).model_dump()})
    runs.launch(job)
    waiting.wait(job)
    found = waiting.outcome(job)
    result = runs.result_of(job)
    if result is None:
        raise StudioError(found["problem"] or f"the estimate was {found['state']}", found["remedy"] or "Try again.")
    return Answer(result, table(("what", "figure"), [(key, value) for key, value in result.items() if not isinstance(value, list | dict)]))


def run_options(parser: argparse.ArgumentParser) -> None:
    """Declare what a command on one run takes."""
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--wait", action="store_true", help="stay until nobody works on the run any more")


def resume(given: argparse.Namespace) -> Answer:
    """Go on with a run."""
    run = runs.find(given.run)
    runs.resume(run)
    return _begun(run, given.wait)


def pause(given: argparse.Namespace) -> Answer:
    """Save a run and free the device."""
    run = runs.find(given.run)
    runs.pause(run)
    return _asked(run, given.wait, "pause")


def stop(given: argparse.Namespace) -> Answer:
    """End a run and keep its best model."""
    run = runs.find(given.run)
    runs.stop(run)
    return _asked(run, given.wait, "stop")


def _asked(run: runs.Run, stay: bool, what: str) -> Answer:
    if stay:
        waiting.wait(run)
    value = waiting.outcome(run)
    return Answer(value, f"{run.id} is asked to {what}." if value["state"] in ("waiting", "running") else f"{run.id} {value['state']}")
