"""Commands that read what runs have left."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from engine import runs
from engine.cli import waiting
from engine.cli.answer import Answer, share, table
from engine.errors import StudioError
from engine.tasks import TASKS

__all__ = ["compare", "compare_options", "list_runs", "report", "report_options", "runs_options"]


def runs_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `runs` takes."""
    parser.add_argument("--project", metavar="NAME", help="only this project's")


def list_runs(given: argparse.Namespace) -> Answer:
    """List runs, newest first."""
    from engine.data import projects

    listed = runs.list_runs(projects.find(given.project).id if given.project else None)
    value = {"runs": [{**waiting.outcome(run), "name": run.name, "project_id": run.project_id, "recipe": run.recipe.model_dump()} for run in listed]}
    if not listed:
        return Answer(value, "There is no run yet. Start one with: python -m engine train --project NAME")
    metrics = {row["recipe"]["task"]: TASKS[row["recipe"]["task"]].metric for row in value["runs"]}
    rows = [(row["run"], row["state"], share(row["metrics"].get(metrics[row["recipe"]["task"]])), row["recipe"]["start"], row["name"]) for row in value["runs"]]
    return Answer(value, table(("run", "state", " or ".join(sorted(set(metrics.values()))), "start", "name"), rows))


def report_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `report` takes."""
    parser.add_argument("run", metavar="RUN")


def report(given: argparse.Namespace) -> Answer:
    """Say how good a finished run is."""
    run = runs.find(given.run)
    found = runs.read_report(run)
    if found is None:
        raise StudioError(f"'{run.id}' is {runs.state(run)} and has no report yet", "Wait until it has finished, or stop it and keep the best model.")
    figures = "\n".join(f"{key}: {value:.4f}" for key, value in found["metrics"].items() if value is not None)
    head = f"{run.name}: {found['n']} pictures kept for {'the test' if found['split'] == 'test' else 'validation'}"
    return Answer({"run": run.id, **found}, f"{head}\n{figures}\n\n{_by_class(found['per_class'])}")


def _by_class(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the figures of each class: shares as percent, counts as they are."""
    keys = [key for key in rows[0] if key != "name"]
    cells = [[row["name"], *(row[key] if isinstance(row[key], int) else share(row[key]) for key in keys)] for row in rows]
    return table(("class", *("pictures" if key == "support" else key for key in keys)), cells)


def compare_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `compare` takes."""
    parser.add_argument("runs", metavar="RUN", nargs="+")


def compare(given: argparse.Namespace) -> Answer:
    """Lay runs side by side."""
    from engine.evaluation import compare as comparing

    if len(given.runs) < 2:
        raise StudioError("one run alone cannot be compared", "Give two or more.")
    found = comparing.compare([runs.find(run_id) for run_id in given.runs])
    metric = TASKS[found.task].metric
    rows = [
        (row.run_id, row.name, share(row.score), f"{share(row.interval[0])} to {share(row.interval[1])}" if row.interval else "–", share(row.common_score))
        for row in found.leaderboard
    ]
    lines = [table(("run", "name", metric, "95% interval", "on common pictures"), rows), "", found.verdict]
    lines += [f"{key}: {' | '.join(str(value) for value in values)}" for key, values in found.differing.items()]
    return Answer(dataclasses.asdict(found), "\n".join([*lines, *found.notes]))
