"""A run as its live page shows it, in plain JSON: figures, progress, charts, notes. One reading of its events serves every browser. No Streamlit here.

Everybody who looks at a run asks for it every few seconds, while it trains on the same processor: events are read
from where the last look ended, and charts are made again only if there are new ones.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import runs
from engine.errors import StudioError
from engine.events import History
from engine.recipe import Recipe
from engine.runs import Run, State
from pages.parts.live_chart import chart_data
from pages.parts.progress import Now, charts_of, notes_of, plan_words, read_new, read_now
from pages.parts.scores import METRIC_HELP, metric_title
from pages.parts.wording import duration, megabytes, percent

__all__ = ["changed", "live_json", "live_state", "marks_of"]

_KEPT = 8
"""Runs whose history stays in memory; another one is read again from disk."""


@dataclass
class _Seen:
    """What is known of one run. `charts` is the JSON text of those of `charted` bytes of events."""

    recipe: Recipe
    history: History = field(default_factory=History)
    charts: str = "[]"
    charted: int = -1
    lock: threading.Lock = field(default_factory=threading.Lock)


_seen: OrderedDict[Path, _Seen] = OrderedDict()
_guard = threading.Lock()


def _of(run: Run) -> _Seen:
    with _guard:
        found = _seen.get(run.folder) or _Seen(run.recipe)
        _seen[run.folder] = found
        _seen.move_to_end(run.folder)
        while len(_seen) > _KEPT:
            _seen.popitem(last=False)
    return found


def _read(run: Run, seen: _Seen) -> None:
    """Take in what a run wrote since the last look."""
    if run.events_path.exists() and run.events_path.stat().st_size < seen.history.offset:  # the file was put back from a backup
        seen.history, seen.charted = History(), -1
    read_new(seen.history, run)
    if seen.charted != seen.history.offset:
        recipe = seen.recipe
        seen.charts = json.dumps([chart_data(chart) for chart in charts_of(seen.history, recipe.phases, recipe.task)], allow_nan=False)
        seen.charted = seen.history.offset


def live_json(run: Run, state: State, known: int = -1, more: bool = False) -> str:
    """Return what the live page shows of a run, as JSON text. Charts are left out if the caller has those of `known` bytes of events.

    Args:
        run: the run.
        state: its state.
        known: the `at` of the caller's last answer.
        more: `changed` in the answer: whether something that the page's frame depends on is no longer as it was.
    """
    seen = _of(run)
    with seen.lock:
        _read(run, seen)
        history, recipe = seen.history, seen.recipe
        now = read_now(history, recipe.phases, recipe.task)
        said = {
            "at": seen.charted,
            "changed": more,
            "share": round(now.share, 4),
            "words": _words(now, state),
            "figures": _figures(now, state, recipe.task),
            "notes": _notes(history, state),
        }
        charts = f', "charts": {seen.charts}' if known != seen.charted else ""
    return json.dumps(said, allow_nan=False).removesuffix("}") + charts + "}"


def live_state(run: Run, state: State) -> dict[str, Any]:
    """Return what the live page shows of a run."""
    found: dict[str, Any] = json.loads(live_json(run, state))
    return found


def _words(now: Now, state: State) -> str:
    if state == "interrupted":
        return "Interrupted: its process ended without a word. Nothing that was saved is lost."
    return now.words


def _figures(now: Now, state: State, task: str) -> list[dict[str, str]]:
    ended = state not in ("running", "waiting")
    time_words = "Since it started." if ended else "Of the present part, going by its pace so far."
    rows = [
        (metric_title(task), percent(now.score), METRIC_HELP[task]),
        ("Epoch", f"{now.epoch} of {now.epochs}" if now.epoch is not None else "–", "One epoch is one pass over all the training pictures."),
        ("Time taken" if ended else "Time left", duration(now.seconds if ended else now.seconds_left), time_words),
        ("Pictures/s", f"{now.images_per_s:,.0f}" if now.images_per_s else "–", "How many pictures it goes through in a second."),
        ("Memory", megabytes(now.memory_mb), "Memory that training takes now."),
    ]
    return [{"title": title, "value": value, "help": words} for title, value, words in rows]


def _notes(history: History, state: State) -> list[dict[str, str]]:
    found = []
    if words := plan_words(history):
        found.append({"icon": "", "text": f"What the dry run chose for this machine: {words}."})
    if history.usable and state in ("running", "waiting"):
        text = f"A model that can be used was there {duration(history.usable.seconds)} after Start; it only gets better from here."
        found.append({"icon": "check_circle", "text": text})
    return [*found, *({"icon": "warning" if note.level == "warning" else "info", "text": note.text} for note in notes_of(history))]


def _mark(run: Run, state: State | None = None) -> str:
    """Say in one word what the page's frame (badges, buttons) depends on: a run's state and what was asked of it."""
    asked = "-stopping" if run.path("stop").exists() else "-pausing" if run.path("pause").exists() else ""
    return f"{state or runs.state(run)}{asked}"


def marks_of(states: Iterable[tuple[Run, State]]) -> str:
    """Return how some runs stand as one text, for a page to ask later whether it is still so (see `changed`)."""
    return ",".join(f"{run.id}:{_mark(run, state)}" for run, state in states)


def changed(marks: str) -> bool:
    """Tell whether a run stands otherwise than `marks` says, or is gone."""
    for entry in filter(None, marks.split(",")):
        name, _, then = entry.partition(":")
        try:
            if _mark(runs.find(name)) != then:
                return True
        except StudioError:
            return True
    return False
