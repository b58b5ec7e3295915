"""Runs as pages show them: a one-glance summary (read from the end of its events only), its state in words, and pickers.

A summary is cached until the run's events or recipe change, so that a page with a thousand runs opens at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import streamlit as st

from engine import events, runs
from engine.models.dense.table import ARCHITECTURES
from engine.recipe import PRESETS
from engine.runs import Run, State
from pages.parts.scores import metric_of
from pages.parts.wording import percent

__all__ = ["ACTIVE", "RESUMABLE", "STATES", "Summary", "badge", "finished_runs", "label_of", "pick_run", "summary", "summary_line"]

Colour = Literal["red", "orange", "blue", "green", "gray"]

STATES: dict[State, tuple[str, str, Colour, str]] = {
    "new": ("Not started", "schedule", "gray", "It was made but not started."),
    "waiting": ("Waiting", "hourglass_top", "orange", "It starts by itself as soon as the device is free."),
    "running": ("Running", "play_circle", "blue", "A worker process is training it. It goes on when you close this page."),
    "paused": ("Paused", "pause_circle", "orange", "Everything is saved and the device is free. Resume goes on from the same step."),
    "interrupted": ("Interrupted", "power_off", "orange", "Its process ended without a word (power cut, kill, restart). Resume goes on from the last save."),
    "finished": ("Finished", "check_circle", "green", "It ran to its end."),
    "stopped": ("Stopped", "stop_circle", "gray", "It was stopped early; its best model was kept."),
    "failed": ("Failed", "error", "red", "It could not go on."),
}
"""State -> title, icon, colour, help."""

ACTIVE: tuple[State, ...] = ("waiting", "running")
RESUMABLE: tuple[State, ...] = ("paused", "interrupted", "failed", "stopped")


MOST_LISTED = 200
"""Runs a picker offers; older ones are opened from the list on the Train page."""


@dataclass(frozen=True)
class Summary:
    """What a list shows of a run. `score` is its task's leading figure on held-out pictures, 0..1, once it ended."""

    id: str
    project_id: str
    name: str
    preset: str
    start: str
    made: float
    task: str = "image-classification"
    score: float | None = None
    seconds: float | None = None
    outcome: str = ""
    problem: str = ""
    remedy: str = ""

    @property
    def final(self) -> bool:
        """Whether it has an outcome."""
        return bool(self.outcome)


def summary(run: Run) -> Summary:
    """Return a run's summary, reading it again only if it changed."""
    try:
        stamp = run.events_path.stat()
    except FileNotFoundError:
        return _summary(0, 0, run)
    return _summary(stamp.st_mtime_ns, stamp.st_size, run)


@lru_cache(maxsize=20_000)  # not Streamlit's cache: a hit there takes 0.2 ms, and a picker asks for 200
def _summary(mtime_ns: int, size: int, run: Run) -> Summary:  # noqa: ARG001 (the first two are part of the cache's key)
    recipe = json.loads(run.path("recipe.json").read_bytes())
    newest = events.last(run.events_path)
    ended = newest if isinstance(newest, events.Ended) else None
    metrics: dict[str, Any] = ended.metrics if ended else {}
    task = recipe.get("task", "image-classification")
    return Summary(
        id=run.id,
        project_id=run.project_id,
        name=recipe.get("name") or run.id,
        preset=recipe.get("preset", "balanced"),
        start=_short(recipe.get("start", "")),
        made=run.path("recipe.json").stat().st_mtime,
        task=task,
        score=metrics.get(metric_of(task)),
        seconds=ended.seconds if ended else None,
        outcome=ended.outcome if ended else "",
        problem=ended.problem if ended else "",
        remedy=ended.remedy if ended else "",
    )


def _short(start: str) -> str:
    """Return a starting point without the folders of this machine.

    >>> _short("fcos//home/me/graft/models/mine.onnx"), _short("/home/me/mine.onnx"), _short("linear/resnet18")
    ('fcos/mine.onnx', 'mine.onnx', 'linear/resnet18')
    """
    if not start.lower().endswith(".onnx"):
        return start
    top, *_, name = re.split(r"[/\\]", start)
    return f"{top}/{name}" if top in ARCHITECTURES else name


def badge(state: State) -> None:
    """Show a state as a coloured badge with its meaning as help."""
    title, icon, colour, words = STATES[state]
    st.badge(title, icon=f":material/{icon}:", color=colour, help=words)


def summary_line(row: Summary) -> str:
    """Say in one line how a run was made."""
    return f"{PRESETS[row.preset].title if row.preset in PRESETS else row.preset} · {row.start}"


def label_of(row: Summary) -> str:
    """Return what a picker shows of a run."""
    return f"{row.name} · {percent(row.score)}" if row.score is not None else row.name


def finished_runs(project_id: str, *, most: int = MOST_LISTED) -> list[Run]:
    """Return the newest runs that have a report, at most `most`, newest first."""
    found = []
    for run in runs.list_runs(project_id):
        if run.path("report.json").exists():
            found.append(run)
            if len(found) == most:
                break
    return found


def pick_run(candidates: Sequence[Run], current: Run | None, *, label: str = "Run", key: str = "picked-run") -> Run:
    """Let the user choose one of some runs; the current one is chosen at first."""
    by_id = {run.id: run for run in candidates}
    if current is not None:
        by_id.setdefault(current.id, current)
    wanted = current.id if current is not None and current.id in by_id else candidates[0].id
    if st.session_state.get(key) not in by_id:
        st.session_state.pop(key, None)
    chosen = st.selectbox(
        label,
        list(by_id),
        index=list(by_id).index(wanted),
        format_func=lambda run_id: label_of(summary(by_id[run_id])),
        key=key,
    )
    return by_id[chosen]
