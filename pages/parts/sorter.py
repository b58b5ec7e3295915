"""A wall of pictures that are sorted into classes by click and key. What was decided comes back; saving is the page's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from engine.data.items import Item
from engine.data.suggestions import Suggestion
from pages.parts.pictures import image_url
from pages.parts.wording import percent

__all__ = ["Decision", "Tagged", "sorter", "tagger"]

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "graft_sorter",
    html='<div class="sorter" tabindex="-1"><div class="bar" role="toolbar" aria-label="Classes"></div>'
    '<div class="said" role="status"></div><div class="wall" role="group" aria-label="Pictures to sort"></div></div>',
    css=(_HERE / "sorter.css").read_text(),
    js=(_HERE / "sorter.js").read_text(),
)


@dataclass(frozen=True)
class Decision:
    """What the user did in this rerun: put pictures (id, revision seen) into a class, agreed to what is suggested for them, or asked to undo."""

    name: str
    items: tuple[tuple[int, int], ...]
    undo: bool = False
    agree: bool = False


@dataclass(frozen=True)
class Tagged:
    """What the user did in this rerun where pictures can have several classes.

    Attributes:
        steps: what was said, one decision after the other: for each picture (id, all its classes now, whether it is known to show none).
        revisions: picture -> the revision that its first step was made on.
        token: of the message, to be answered.
        undo: asked for the last decision to be taken back.
        more: asked for the next pictures.
    """

    steps: tuple[tuple[tuple[int, tuple[str, ...], bool], ...], ...] = ()
    revisions: Mapping[int, int] = field(default_factory=dict)
    token: int = 0
    undo: bool = False
    more: bool = False


def tagger(
    pictures: Sequence[Item],
    classes: Sequence[str],
    *,
    proposed: Mapping[int, Sequence[Suggestion]],
    answered: int,
    refused: Sequence[int],
    key: str,
    on_tagged: Callable[[Tagged], None],
) -> None:
    """Show pictures that can have several classes, and what a model proposes for them.

    `answered` is the token of the last message that was dealt with, `refused` the pictures in it that were not saved. `on_tagged` hears what was said
    before the page is drawn again.
    """

    def tagged() -> None:
        said = st.session_state[key].tagged
        if said:
            steps = tuple(tuple((int(one["id"]), tuple(str(name) for name in one["labels"]), bool(one["none"])) for one in step) for step in said["steps"])
            on_tagged(Tagged(steps, {int(one): int(revision) for one, revision in said["revisions"]}, int(said["token"])))

    def undo() -> None:
        if st.session_state[key].undo:
            on_tagged(Tagged(undo=True))

    def more() -> None:
        if st.session_state[key].next:
            on_tagged(Tagged(more=True))

    rows = [
        {
            "id": item.id,
            "revision": item.revision,
            "name": item.name,
            "source": image_url(item.id, 192, item.sha256),
            "labels": list(item.labels),
            "none": item.reviewed and not item.labels,
            "proposed": [{"label": one.label, "sure": percent(one.score, 0)} for one in proposed.get(item.id, ())],
        }
        for item in pictures
    ]
    data = {"items": rows, "classes": list(classes), "several": True, "answered": answered, "refused": list(refused)}
    _component(key=key, data=data, on_tagged_change=tagged, on_undo_change=undo, on_next_change=more)


def sorter(
    pictures: Sequence[Item],
    classes: Sequence[str],
    *,
    suggested: Mapping[int, Suggestion],
    key: str,
    on_decision: Callable[[Decision], None],
) -> None:
    """Show the pictures, what a model suggests for them, and the classes. `on_decision` hears what was decided before the page is drawn again."""

    def assigned() -> None:
        said = st.session_state[key].assigned
        if said:
            on_decision(
                Decision(str(said.get("name", "")), tuple((int(item["id"]), int(item["revision"])) for item in said["items"]), agree=bool(said.get("agree")))
            )

    def undo() -> None:
        if st.session_state[key].undo:
            on_decision(Decision("", (), undo=True))

    rows = [
        {
            "id": item.id,
            "revision": item.revision,
            "name": item.name,
            "source": image_url(item.id, 192, item.sha256),
            "suggested": f"{one.label} {percent(one.score, 0)}" if (one := suggested.get(item.id)) else "",
        }
        for item in pictures
    ]
    _component(key=key, data={"items": rows, "classes": list(classes)}, on_assigned_change=assigned, on_undo_change=undo)
