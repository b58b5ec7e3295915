"""The command that checks a data set."""

from __future__ import annotations

import argparse

from engine import runs
from engine.cli import waiting
from engine.cli.answer import Answer, table
from engine.errors import StudioError

__all__ = ["check", "check_options"]


def check_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `check` takes."""
    parser.add_argument("--project", required=True, metavar="NAME")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0 or mps: where pictures are looked at")


def check(given: argparse.Namespace) -> Answer:
    """Check a project's pictures and labels, and wait for the result. What was dismissed or mended since is left out."""
    from engine.data import items, projects
    from engine.data.check import standing

    project = projects.find(given.project)
    job = runs.create_job("check", {"project_id": project.id, **({} if given.device == "auto" else {"device": given.device})})
    runs.launch(job)
    state = waiting.wait(job)
    result = runs.result_of(job)
    if state != "finished" or result is None:
        ended = waiting.outcome(job)
        raise StudioError(ended["problem"] or f"the check was {state}", ended["remedy"] or "Start it again: it goes on from what it has seen.")
    now = standing.standing(project.id, result)
    value = {
        "project": {"id": project.id, "name": project.name},
        "job": job.id,
        "pictures": result["pictures"],
        "seconds": result["seconds"],
        "severity": now.severity,
        "findings": [one.to_json() for one in now.findings],
    }
    rows = [(one.severity, one.count, one.words) for one in now.findings]
    lines = [table(("", "count", "what was found"), rows)]
    for one in now.findings:
        names = [item.name for item in items.get_items(case.items[0] for case in one.cases[:3] if case.items)]
        if names:
            lines.append(f"{one.check.title}: {', '.join(names)}{' ...' if one.count > len(names) else ''}")
        lines += [one.note] if one.note else []
    return Answer(value, "\n".join(lines))
