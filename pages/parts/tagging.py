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
    refused: dict[int, StudioError] = {}
    revisions = dict(said.revisions)
    for step in said.steps:
        keep_undo(project, _saved(step, revisions, refused))
    st.session_state[f"_answered-{project.id}"] = (said.token, tuple(refused))
    if refused:
        add_fault(project, summed(list(refused.values())))
    return None


def _saved(step: Sequence[tuple[int, tuple[str, ...], bool]], revisions: dict[int, int], refused: dict[int, StudioError]) -> list[Done]:
    """Save one decision and return what it did; `revisions` move on with it, and what is refused stays so for the decisions after it."""
    before = {item.id: (item.labels, item.reviewed) for item in items.get_items(one for one, *_ in step)}
    done: list[Done] = []
    for item_id, labels, none in step:
        if item_id in refused:
            continue
        try:
            revisions[item_id] = items.set_labels(item_id, labels, revisions[item_id], reviewed=bool(labels) or none).revision
            done.append((item_id, before.get(item_id, BARE), revisions[item_id]))
        except StudioError as error:
            refused[item_id] = error
    return done
