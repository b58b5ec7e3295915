"""Pictures with a run's answers drawn over them: by address, and large in a dialog."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from engine.data import items
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.pictures import picture
from pages.parts.text import plain

__all__ = ["answer_dialog", "answer_url"]

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
        picture(source, alt=f"{item.name}: {SHOWN[show or 'errors']}", height_px=480, fit="contain")
        st.caption(plain(f"{item.name} · {item.width} × {item.height} pixels"))
