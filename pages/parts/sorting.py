"""Decisions on pictures that are sorted into classes: saved at once, remembered for Undo, refused where somebody else was faster."""

from __future__ import annotations

import streamlit as st

from engine.data import items, suggestions
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts.sorter import Decision
from pages.parts.state import show_error
from pages.parts.text import plain
from pages.parts.wording import amount

__all__ = ["act", "add_fault", "keep_undo", "say_what_happened", "undo_last", "undo_list"]

REMEMBERED = 200


def undo_list(project: Project) -> list[list[tuple[int, str | None, int]]]:
    """The decisions of this session, each as (picture, class before, revision after)."""
    return st.session_state.setdefault(f"_undo-{project.id}", [])


def add_fault(project: Project, error: StudioError) -> None:
    st.session_state.setdefault(f"_faults-{project.id}", []).append(error)


def say_what_happened(project: Project) -> None:
    for error in st.session_state.pop(f"_faults-{project.id}", []):
        show_error(error)
    if words := st.session_state.pop("_sorted", ""):
        st.toast(words, icon=":material/check_circle:")


def act(project: Project, decision: Decision) -> None:
    """Save a decision, each picture with the revision it was seen at; a picture changed elsewhere is left and said."""
    if decision.undo:
        return undo_last(project)
    if decision.agree:
        return _agree(project, decision)
    before = {item.id: item.label for item in items.get_items(one for one, _ in decision.items)}
    done: list[tuple[int, str | None, int]] = []
    refused: list[StudioError] = []
    for item_id, revision in decision.items:
        try:
            saved = items.set_label(item_id, decision.name, revision)
            done.append((item_id, before.get(item_id), saved.revision))
        except StudioError as error:
            refused.append(error)
    keep_undo(project, done)
    if refused:
        add_fault(project, _summed(refused))
    elif done:
        st.session_state["_sorted"] = f"{amount(len(done), 'picture')} saved as {plain(decision.name)}"
    return None


def _agree(project: Project, decision: Decision) -> None:
    agreed = suggestions.agree(decision.items)
    keep_undo(project, [(item_id, None, revision) for item_id, _, revision in agreed])
    left = len(decision.items) - len(agreed)
    if left:
        add_fault(project, StudioError(f"{amount(left, 'picture')} had no suggestion any more, or changed elsewhere meanwhile", "Look again, then decide."))
    elif agreed:
        st.session_state["_sorted"] = f"Agreed to {amount(len(agreed), 'suggestion')}"


def _summed(refused: list[StudioError]) -> StudioError:
    first = refused[0]
    return first if len(refused) == 1 else StudioError(f"{first.problem} (and {amount(len(refused) - 1, 'other picture')} likewise)", first.remedy)


def keep_undo(project: Project, done: list[tuple[int, str | None, int]]) -> None:
    """Remember one decision: (picture, class before, revision after) of each picture."""
    if done:
        kept = undo_list(project)
        kept.append(done)
        del kept[:-REMEMBERED]


def undo_last(project: Project) -> None:
    kept = undo_list(project)
    if not kept:
        return
    for item_id, label, revision in kept.pop():
        try:
            items.set_label(item_id, label, revision)
        except StudioError as error:
            add_fault(project, error)
