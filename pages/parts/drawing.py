"""Label where shapes are drawn: which pictures come up, the classes, and the drawing board, which saves by itself."""

from __future__ import annotations

import streamlit as st

from engine.data import items, projects, suggestions
from engine.data.projects import Project
from pages.parts import state as ui
from pages.parts.annotator import annotator
from pages.parts.counted import counted_choice
from pages.parts.new_class import new_class_field
from pages.parts.proposing import help_with_drawing, proposing_now, stamp
from pages.parts.sorting import say_what_happened
from pages.parts.wording import amount

__all__ = ["draw"]

TO_LABEL, ALL, SUGGESTED = "\0", "\1", "\2"


def draw(project: Project) -> None:
    """Show the board with what is to be labelled; changes of the choice rerun only this."""
    with ui.guard():
        say_what_happened(project)
        summary = projects.summary(project.id)
        if st.session_state.pop(_slot(project, "proposing"), False) and not proposing_now(project):
            st.session_state.pop(_slot(project, "queues"), None)
            st.rerun()  # the clock of this fragment stops
        st.session_state[_slot(project, "proposing")] = proposing_now(project)
        shown = _tools(project, summary)
        classes = items.classes(project.id)
        if not classes:
            st.info("Make your first class: type a name above and press Enter. Then draw.", icon=":material/category:")
            return None
        help_with_drawing(project, summary)
        queue = _queue(project, shown)
        if not queue:
            return _nothing_left(shown, summary)
        number = st.session_state.get(_slot(project, "number"), 0)

        def more() -> None:
            st.session_state[_slot(project, "queues")].clear()
            st.session_state[_slot(project, "number")] = number + 1

        annotator(project.id, project.task, queue, classes, key=f"board-{project.id}", queue_key=f"{shown}:{number}", stamp=stamp(project), on_more=more)
        return None


def _slot(project: Project, what: str) -> str:
    return f"_board-{what}-{project.id}"


def _queue(project: Project, shown: str) -> list[int]:
    """Return what was to be labelled when this choice was made: the queue must not shrink under the hand that works through it."""
    kept: dict[str, list[int]] = st.session_state.setdefault(_slot(project, "queues"), {})
    if shown not in kept:
        kept.clear()
        if shown == SUGGESTED:
            kept[shown] = suggestions.drawn_on(project.id)
        else:
            kept[shown] = items.list_ids(project.id, label=None if shown in (TO_LABEL, ALL) else shown, unlabelled=shown == TO_LABEL)
    return kept[shown]


def _tools(project: Project, summary: projects.Summary) -> str:
    titles = {TO_LABEL: f"To label ({summary.unlabelled:,})", ALL: f"All ({summary.items:,})"}
    if suggestions.drawn_on(project.id, limit=1):
        titles[SUGGESTED] = "With suggestions"
    titles |= {name: f"{name} ({amount(count, 'label')})" for name, count in summary.classes.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shown = counted_choice("Show", titles, key=f"draw-show-{project.id}")
        new_class_field(project)
        st.progress(summary.labelled / max(1, summary.items), text=f"{summary.labelled:,} of {amount(summary.items, 'picture')} labelled", width=260)
    return shown


def _nothing_left(shown: str, summary: projects.Summary) -> None:
    with st.container(border=True, horizontal_alignment="center"):
        if shown == TO_LABEL and not summary.unlabelled:
            st.markdown("### :primary[:material/task_alt:] Every picture is labelled", text_alignment="center")
            if st.button("Next: train", type="primary", icon=":material/arrow_forward:", key="next"):
                st.switch_page("train.py")
        else:
            st.markdown("No picture is like that yet.", text_alignment="center")
