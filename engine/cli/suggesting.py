"""The command that lets a model suggest labels for what nobody has labelled."""

from __future__ import annotations

import argparse
from typing import Any

from engine import runs
from engine.cli import waiting
from engine.cli.answer import Answer, share
from engine.errors import StudioError

__all__ = ["suggest", "suggest_options"]


def suggest_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `suggest` takes."""
    parser.add_argument("--project", required=True, metavar="NAME")
    parser.add_argument("--run", metavar="RUN", help="where labels are drawn: the run whose model suggests; the latest finished one if left out")
    parser.add_argument(
        "--least", type=float, metavar="SCORE", help="where labels are drawn: how sure it must be of a thing, 0 to 1; its balanced one if left out"
    )
    parser.add_argument(
        "--agree", type=float, metavar="SCORE", help="then agree to all it is at least so sure of, 0 to 1; without, people decide on the Label page"
    )


def suggest(given: argparse.Namespace) -> Answer:
    """Suggest labels, and wait for it. They count for nothing until somebody agrees."""
    from engine.data import marks, projects, proposals, suggestions, tag_suggestions

    project = projects.find(given.project)
    for name in ("least", "agree"):
        if getattr(given, name) is not None and not 0 <= getattr(given, name) <= 1:
            raise StudioError(f"--{name} is {getattr(given, name):g}", "Give a share from 0 to 1, such as 0.8.")
    if "class" not in marks.TASK_KINDS[project.task]:
        request = {"project_id": project.id, "run_id": runs.find(given.run).id if given.run else None, "confidence": given.least}
        result = _done("propose", request)
        agreed = proposals.agree_above(project.id, given.agree) if given.agree is not None else None
        left = proposals.count(project.id).shapes
        words = f"'{result['name']}' suggests {result['shapes']} shapes in {result['pictures']} of {result['looked_at']} pictures."
        count = agreed.shapes if agreed else 0
    else:
        if given.run or given.least is not None:
            raise StudioError(f"'{project.name}' sorts whole pictures: a small model learns from those that have a class", "Leave out --run and --least.")
        result = _done("suggest", {"project_id": project.id})
        kept = tag_suggestions if project.task == marks.TAGGING else suggestions
        count = len(kept.agree_above(project.id, given.agree)) if given.agree is not None else 0
        left = kept.count(project.id)
        words = f"It suggests classes for {result['suggested']} pictures; of your own, each hidden in its turn, it got {share(result['accuracy'])} right."
    words += f" Agreed to {count}; {left} are open." if given.agree is not None else " They are open until somebody agrees."
    return Answer({"project": {"id": project.id, "name": project.name}, **result, "agreed": count, "open": left}, words)


def _done(kind: str, request: dict[str, Any]) -> dict[str, Any]:
    job = runs.create_job(kind, request)
    runs.launch(job)
    state = waiting.wait(job)
    result = runs.result_of(job)
    if state != "finished" or result is None:
        ended = waiting.outcome(job)
        raise StudioError(ended["problem"] or f"the job was {state}", ended["remedy"] or "Start it again.")
    return {"job": job.id, **result}
