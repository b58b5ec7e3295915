"""Results: how good the model is, in words first; what it got wrong, and why. Everything is read from the run's directory.

What is shown between the run picker and the way on is the task's: a row of `BODIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from engine.runs import Run, read_report
from pages.parts import results_classes, results_maps, results_tags, results_things
from pages.parts import state as ui
from pages.parts.run_picker import finished_runs, pick_run

BODIES: dict[str, Callable[[Run, dict[str, Any]], None]] = {
    "image-classification": results_classes.body,
    "multi-label-classification": results_tags.body,
    "object-detection": results_things.body,
    "instance-segmentation": results_things.body,
    "semantic-segmentation": results_maps.body,
}


def main() -> None:
    ui.stepper("Results")
    project = ui.current_project()
    if project is None:
        ui.no_project("Results")
        return
    st.title("Results")
    candidates = finished_runs(project.id)
    if not candidates:
        ui.empty("monitoring", "No results yet", "Train a model first; what it gets right and wrong is shown here.", "train.py", "Train a model")
        return
    current = ui.current_run()
    run = pick_run(candidates, current if current and current.path("report.json").exists() and current.project_id == project.id else None)
    if current is None or run.id != current.id:
        ui.select(run=run.id)
    report = _report(str(run.folder), run.path("report.json").stat().st_mtime_ns, run)
    BODIES[report["task"]](run, report)
    _next(run)
    ui.shell_command(f"python -m engine report {run.id}")


@st.cache_data(max_entries=64, show_spinner=False)
def _report(folder: str, mtime_ns: int, _run: Run) -> dict[str, Any]:  # noqa: ARG001 (the cache's key)
    report = read_report(_run)
    assert report is not None
    return report


def _next(run: Run) -> None:
    st.space("small")
    with st.container(horizontal=True):
        ui.link("Try", label="Try it on a picture", run=run.id)
        ui.link("Compare", label="Compare with other runs", run=run.id)
        ui.link("Ship", label="Take it with you", run=run.id)


with ui.guard():
    main()
