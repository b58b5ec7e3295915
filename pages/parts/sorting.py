"""Decisions on pictures that are sorted into classes: saved at once, remembered for Undo, refused where somebody else was faster."""

from __future__ import annotations

import streamlit as st

from engine.data import items, suggestions
from engine.data.marks import TAGGING
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts.sorter import Decision
from pages.parts.state import show_error
from pages.parts.text import plain
from pages.parts.wording import amount

__all__ = ["BARE", "Done", "act", "add_fault", "keep_undo", "say_what_happened", "summed", "undo_last", "undo_list"]

REMEMBERED = 200

Done = tuple[int, tuple[tuple[str, ...], bool], int]
"""A picture that was decided on: its id, what was said of it before (its classes, whether that was all), and its revision after."""

BARE: tuple[tuple[str, ...], bool] = ((), False)
"""What is said of a picture that nobody has labelled."""


def undo_list(project: Project) -> list[list[Done]]:
    """The decisions of this session."""
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
    before = {item.id: (item.labels, item.reviewed) for item in items.get_items(one for one, _ in decision.items)}
    done: list[Done] = []
    refused: list[StudioError] = []
    for item_id, revision in decision.items:
        try:
            saved = items.set_label(item_id, decision.name, revision)
            done.append((item_id, before.get(item_id, BARE), saved.revision))
        except StudioError as error:
            refused.append(error)
    keep_undo(project, done)
    if refused:
        add_fault(project, summed(refused))
    elif done:
        st.session_state["_sorted"] = f"{amount(len(done), 'picture')} saved as {plain(decision.name)}"
    return None


def _agree(project: Project, decision: Decision) -> None:
    agreed = suggestions.agree(decision.items)
    keep_undo(project, [(item_id, BARE, revision) for item_id, _, revision in agreed])
    left = len(decision.items) - len(agreed)
    if left:
        add_fault(project, StudioError(f"{amount(left, 'picture')} had no suggestion any more, or changed elsewhere meanwhile", "Look again, then decide."))
    elif agreed:
        st.session_state["_sorted"] = f"Agreed to {amount(len(agreed), 'suggestion')}"


def summed(refused: list[StudioError]) -> StudioError:
    """Make one sentence of several refusals."""
    first = refused[0]
    return first if len(refused) == 1 else StudioError(f"{first.problem} (and {amount(len(refused) - 1, 'other picture')} likewise)", first.remedy)


def keep_undo(project: Project, done: list[Done]) -> None:
    """Remember one decision."""
    if done:
        kept = undo_list(project)
        kept.append(done)
        del kept[:-REMEMBERED]


def undo_last(project: Project) -> None:
    kept = undo_list(project)
    if not kept:
        return
    for item_id, (labels, reviewed), revision in kept.pop():
        try:
            if project.task == TAGGING:
                saved = items.set_labels(item_id, labels, revision, reviewed=reviewed)
            else:
                saved = items.set_label(item_id, labels[0] if labels else None, revision)
            _follow(kept, item_id, revision, saved.revision)
        except StudioError as error:
            add_fault(project, error)


def _follow(kept: list[list[Done]], item_id: int, undone: int, now: int) -> None:
    """Let the decision before the one that was `undone` be taken back next: it is what the picture says again, under the revision it has `now`."""
    for decision in reversed(kept):
        for place, (one, before, revision) in enumerate(decision):
            if one == item_id:
                if revision == undone - 1:
                    decision[place] = (one, before, now)
                return
