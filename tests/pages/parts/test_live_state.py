"""What an open page of a run is told: the same history for everybody, charts only when they are new, and whether the page's frame still holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import events, locks, runs, workspace
from engine.recipe import recipe_from
from engine.runs import Run
from pages.parts.live_state import changed, live_json, live_state, marks_of


def _step(number: int, loss: float | None = 1.0) -> events.Step:
    return events.Step(phase="finetune", step=number, steps=10, loss=loss, images_per_s=20.0, memory_mb=640.0)


@pytest.fixture
def run(home: Path) -> Run:
    """A run that was pressed, with two steps done and no worker at it."""
    made = runs.create_run("project", recipe_from({"name": "Live"}), {"id": "0" * 64})
    workspace.write_json(made.path("pressed.json"), {"t": 0.0, "offset": 0})
    for event in (events.Started(pid=1, device="cpu"), events.Phase(name="finetune", title="Fine-tuning"), _step(1), _step(2, float("nan"))):
        events.append(made.events_path, event)
    return made


def test_charts_are_told_only_to_who_does_not_have_them(run: Run) -> None:
    first = live_state(run, "running")
    assert first["words"] == "Part 4 of 6: Fine-tuning · step 2 of 10"
    loss = first["charts"][0]["lines"][0]
    assert (loss["x"], loss["y"]) == ([1, 2], [1.0, None])
    again = json.loads(live_json(run, "running", known=first["at"]))
    assert "charts" not in again
    assert again["words"] == first["words"]
    events.append(run.events_path, _step(3, 0.5))
    later = json.loads(live_json(run, "running", known=first["at"]))
    assert later["at"] > first["at"]
    assert later["charts"][0]["lines"][0]["y"] == [1.0, None, 0.5]


def test_a_resumed_run_takes_back_the_points_that_were_not_saved(run: Run) -> None:
    assert live_state(run, "running")["charts"][0]["lines"][0]["x"] == [1, 2]
    events.append(run.events_path, events.Started(pid=2, device="cpu", step=1, attempt=2))
    assert live_state(run, "running")["charts"][0]["lines"][0]["x"] == [1]


def test_events_that_were_put_back_are_read_from_the_beginning(run: Run) -> None:
    live_state(run, "running")
    run.events_path.write_bytes(b"")
    events.append(run.events_path, _step(1, 0.25))
    assert live_state(run, "running")["charts"][0]["lines"][0]["y"] == [0.25]


def test_a_figure_says_what_it_is(run: Run) -> None:
    figures = {figure["title"]: figure["value"] for figure in live_state(run, "running")["figures"]}
    assert figures["Pictures/s"] == "20"
    assert figures["Memory"] == "640 MB"
    assert "Time left" in figures
    assert "Time taken" in {figure["title"] for figure in live_state(run, "paused")["figures"]}


def test_the_frame_holds_until_a_run_stands_otherwise(run: Run) -> None:
    marks = marks_of([(run, runs.state(run))])
    assert marks == f"{run.id}:interrupted"
    assert not changed(marks)
    with locks.hold(run.path("lock")):
        assert changed(marks)
        marks = marks_of([(run, runs.state(run))])
        assert not changed(marks)
        runs.pause(run)
        assert changed(marks)  # another browser's Pause is seen here
        assert marks_of([(run, runs.state(run))]) == f"{run.id}:running-pausing"
    runs.delete(run)
    assert changed(marks)
    assert not changed("")
    assert changed("../../etc:running")
