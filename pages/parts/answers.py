"""Pictures with a run's answers drawn over them: by address, and large in a dialog."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from engine.data import items
from engine.runs import Run, read_report
from pages.parts import state as ui
from pages.parts.pictures import picture
from pages.parts.text import plain

__all__ = ["answer_dialog", "answer_url", "answers_dialog", "balanced"]

SHOWN = {"errors": "Right and wrong", "answer": "What it said", "truth": "What is there"}


def answer_url(run: Run, item_id: int, size_px: int, *, confidence: float = 0.0, overlap: float = 0.5, show: str = "errors") -> str:
    """Return the address of a held-out picture with the run's answer over it; the browser may keep it until the run answers anew."""
    stamp = run.path("predictions.npz").stat().st_mtime_ns
    asked = urlencode({"confidence": round(confidence, 3), "overlap": round(overlap, 2), "show": show, "v": stamp})
    return f"/graft/answer/{run.id}/{item_id}/{size_px}?{asked}"


def answer_dialog(run: Run, item_id: int, confidence: float, overlap: float) -> None:
    """Show one picture large, with what was found and what is there."""
    st.dialog("What did it find?", width="large", icon=":material/visibility:")(_shown)(run, item_id, confidence, overlap)


def _shown(run: Run, item_id: int, confidence: float, overlap: float) -> None:
    with ui.guard():
        item = items.get_item(item_id)
        show = st.segmented_control("Show", list(SHOWN), default="errors", required=True, format_func=SHOWN.__getitem__, key="answer-show")
        source = answer_url(run, item_id, 768, confidence=confidence, overlap=overlap, show=show or "errors")
        picture(source, (item.width, item.height), alt=f"{item.name}: {SHOWN[show or 'errors']}", height_px=480)
        st.caption(plain(f"{item.name} · {item.width} × {item.height} pixels"))


def balanced(run: Run) -> float:
    """Return the confidence from which a run's finds count where misses and false alarms weigh alike; 0 where it names pixels."""
    points = (read_report(run) or {}).get("points")
    return float(points["balanced"]["confidence"]) if points else 0.0


def answers_dialog(chosen: list[Run], item_id: int) -> None:
    """Show one picture with the answers of several runs side by side."""
    st.dialog("What did each find?", width="large", icon=":material/compare:")(_side_by_side)(chosen, item_id)


def _side_by_side(chosen: list[Run], item_id: int) -> None:
    with ui.guard():
        item = items.get_item(item_id)
        show = st.segmented_control("Show", list(SHOWN), default="errors", required=True, format_func=SHOWN.__getitem__, key="answers-show") or "errors"
        with st.grid("auto", min_column_width=300, gap="medium"):
            for run in chosen:
                with st.container():
                    st.markdown(f"**{plain(run.name)}**")
                    source = answer_url(run, item_id, 768, confidence=balanced(run), show=show)
                    picture(source, (item.width, item.height), alt=f"{item.name}: {SHOWN[show]} by {run.name}", height_px=320)
        st.caption(plain(f"{item.name} · {item.width} × {item.height} pixels"))
