"""Tagging: pictures that can have several classes, a batch at a time. Every answer is saved at once; the batch stays until the next is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from engine.data import items, tag_suggestions
from engine.data.items import Item
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts.sorter import Tagged, tagger
from pages.parts.sorting import BARE, Done, add_fault, keep_undo, summed, undo_last

__all__ = ["NOTHING", "act", "batch", "wall"]

NOTHING = "\0"
"""What to look at: the pictures that are known to show none of the classes."""


def batch(project: Project, wanted: tuple[str, str, str], new: list[int]) -> list[Item]:
    """Return the pictures on the wall: those that were there as long as the same are `wanted`, so that a picture stays while its classes come together."""
    slot = f"_batch-{project.id}"
    kept = st.session_state.get(slot)
    if kept is None or kept[0] != wanted or not kept[1]:
        kept = st.session_state[slot] = (wanted, new)
    return [item for item in items.get_items(kept[1]) if not item.excluded]


def next_batch(project: Project) -> None:
    """Let the wall show the next pictures."""
    st.session_state.pop(f"_batch-{project.id}", None)


def wall(project: Project, pictures: Sequence[Item], classes: Sequence[str]) -> None:
    """Show the pictures to tag."""
    answered, refused = st.session_state.get(f"_answered-{project.id}", (0, ()))
    tagger(
        pictures,
        classes,
        proposed=tag_suggestions.of_items([item.id for item in pictures if not (item.labels or item.reviewed)]),
        answered=answered,
        refused=refused,
        key=f"tagger-{project.id}",
        on_tagged=partial(act, project),
    )
    st.button("Next pictures", key="next-batch", icon=":material/skip_next:", on_click=next_batch, args=(project,), help="Key N")


def act(project: Project, said: Tagged) -> None:
    """Save what was said, each picture with the revision it was seen at; a picture changed elsewhere is left and said."""
    if said.undo:
        return undo_last(project)
    if said.more:
        return next_batch(project)
    before = {item.id: (item.labels, item.reviewed) for item in items.get_items(one for one, *_ in said.edits)}
    done: list[Done] = []
    refused: dict[int, StudioError] = {}
    for item_id, revision, labels, none in said.edits:
        try:
            saved = items.set_labels(item_id, labels, revision, reviewed=bool(labels) or none)
            done.append((item_id, before.get(item_id, BARE), saved.revision))
        except StudioError as error:
            refused[item_id] = error
    keep_undo(project, done)
    st.session_state[f"_answered-{project.id}"] = (said.token, tuple(refused))
    if refused:
        add_fault(project, summed(list(refused.values())))
    return None
