"""The live area of a run: figures, progress, moving charts and messages, which move by themselves, and the buttons that steer it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from engine import runs
from engine.runs import Run, State
from pages.parts.live_state import live_state
from pages.parts.run_picker import RESUMABLE

__all__ = ["live_area", "log_tail", "steering", "watch"]

_HERE = Path(__file__).parent
_HTML = """
<div class="graft-live">
  <div>
    <div class="live-words"></div>
    <div class="live-bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100"><div></div></div>
  </div>
  <div class="live-figures"></div>
  <div class="live-charts"></div>
  <div class="live-notes"></div>
</div>
"""

_component = st.components.v2.component(
    "graft_live_run",
    html=_HTML,
    css=(_HERE / "live_run.css").read_text(),
    js=(_HERE / "live_chart.js").read_text() + (_HERE / "live_run.js").read_text(),
    isolate_styles=False,
)


def live_area(run: Run, state: State, marks: str, *, active: bool) -> None:
    """Draw everything about a run that moves while it trains. It goes on moving by itself; the page runs again when `marks` no longer hold.

    Args:
        run: the run.
        state: its state.
        marks: how all runs on the page stand (see `live_state.marks_of`).
        active: whether one of them is at work or waits, so that looking often is worth it.
    """
    data = {"address": f"/graft/live/{run.id}", "marks": marks, "active": active, "now": live_state(run, state)}
    _component(key=f"live-{run.id}", data=data, on_changed_change=lambda: None)


def watch(marks: str, *, active: bool) -> None:
    """Show nothing, and run the page again when `marks` no longer hold."""
    _component(key="watch", data={"address": "/graft/live", "marks": marks, "active": active, "now": None}, on_changed_change=lambda: None)


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
