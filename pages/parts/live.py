"""The live area of a run: figures, progress, moving charts, messages, log, and the buttons that steer it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import runs
from engine.events import History
from engine.runs import Run, State
from pages.parts.live_chart import live_charts
from pages.parts.progress import Now, charts_of, notes_of, plan_words, read_new, read_now
from pages.parts.run_picker import RESUMABLE
from pages.parts.scores import METRIC_HELP, metric_title
from pages.parts.wording import duration, megabytes, percent

__all__ = ["history_of", "live_area", "log_tail", "steering"]

_KEPT = 6
"""Histories a browser session keeps; an older one is read again from disk."""


def history_of(run: Run) -> History:
    """Return a run's history, reading only what was written since this session last looked."""
    kept: dict[str, History] = st.session_state.setdefault("_histories", {})
    history = kept.pop(run.id, None) or History()
    if run.events_path.exists() and run.events_path.stat().st_size < history.offset:  # the file was put back from a backup
        history = History()
    kept[run.id] = history
    while len(kept) > _KEPT:
        kept.pop(next(iter(kept)))
    read_new(history, run)
    return history


def live_area(run: Run, state: State) -> None:
    """Draw everything about a run that moves while it trains."""
    history = history_of(run)
    recipe = run.recipe
    now = read_now(history, recipe.phases, recipe.task)
    _progress(now, state)
    _figures(now, state, recipe.task)
    live_charts(charts_of(history, recipe.phases, recipe.task), key=f"charts-{run.id}", revision=run.id)
    if words := plan_words(history):
        st.caption(f"What the dry run chose for this machine: {words}.")
    if history.usable and state in ("running", "waiting"):
        st.caption(f":material/check_circle: A model that can be used was there {duration(history.usable.seconds)} after Start; it only gets better from here.")
    for note in notes_of(history):
        st.caption(f":material/{'warning' if note.level == 'warning' else 'info'}: {note.text}")


def _progress(now: Now, state: State) -> None:
    words = now.words
    if state == "interrupted":
        words = "Interrupted: its process ended without a word. Nothing that was saved is lost."
    st.progress(now.share, text=words)


def _figures(now: Now, state: State, task: str) -> None:
    ended = state not in ("running", "waiting")
    time_words = "Since it started." if ended else "Of the present part, going by its pace so far."
    rows = [
        (metric_title(task), percent(now.score), METRIC_HELP[task]),
        ("Epoch", f"{now.epoch} of {now.epochs}" if now.epoch is not None else "–", "One epoch is one pass over all the training pictures."),
        ("Time taken" if ended else "Time left", duration(now.seconds if ended else now.seconds_left), time_words),
        ("Pictures/s", f"{now.images_per_s:,.0f}" if now.images_per_s else "–", "How many pictures it goes through in a second."),
        ("Memory", megabytes(now.memory_mb), "Memory that training takes now."),
    ]
    with st.grid("auto", min_column_width=140, gap="small"):
        for title, value, words in rows:
            st.metric(title, value, help=words, border=True, height="stretch")


def steering(run: Run, state: State) -> bool:
    """Draw the buttons that fit the state; return True if one was pressed and acted on."""
    pausing, stopping = run.path("pause").exists(), run.path("stop").exists()
    with st.container(horizontal=True, key="steering"):
        if state in ("running", "waiting"):
            busy = pausing or stopping
            label = "Pausing…" if pausing else "Pause"
            if st.button(
                label, icon=":material/pause:", disabled=busy, help="Saves everything and frees the device. Resume goes on from the same step.", key="pause"
            ):
                runs.pause(run)
                return True
            label = "Stopping…" if stopping else "Stop and keep best"
            if st.button(label, icon=":material/stop_circle:", disabled=stopping, help="Ends the run now; its best model so far is kept.", key="stop"):
                runs.stop(run)
                return True
        elif state in RESUMABLE:
            kind: Any = "primary" if state != "stopped" else "secondary"
            if st.button("Resume", icon=":material/play_arrow:", type=kind, help="Goes on from the last save.", key="resume"):
                runs.resume(run)
                return True
    return False


def log_tail(run: Run, most_bytes: int = 8000) -> str:
    """Return the end of a run's log, whole lines only."""
    path = run.path("log.txt")
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - most_bytes))
        content = file.read()
    text = content.decode("utf-8", "replace")
    return text if size <= most_bytes else text.partition("\n")[2]
