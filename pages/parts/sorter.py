"""A wall of pictures that are sorted into classes by click and key. What was decided comes back; saving is the page's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from engine.data.items import Item
from pages.parts.pictures import image_url

__all__ = ["Decision", "sorter"]

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
    """What the user did in this rerun: put pictures (id, revision seen) into a class, or asked to undo."""

    name: str
    items: tuple[tuple[int, int], ...]
    undo: bool = False


def sorter(pictures: Sequence[Item], classes: Sequence[str], *, key: str, on_decision: Callable[[Decision], None]) -> None:
    """Show the pictures and the classes. `on_decision` hears what was decided before the page is drawn again."""

    def assigned() -> None:
        said = st.session_state[key].assigned
        if said:
            on_decision(Decision(str(said["name"]), tuple((int(item["id"]), int(item["revision"])) for item in said["items"])))

    def undo() -> None:
        if st.session_state[key].undo:
            on_decision(Decision("", (), undo=True))

    rows = [{"id": item.id, "revision": item.revision, "name": item.name, "source": image_url(item.id, 192, item.sha256)} for item in pictures]
    _component(key=key, data={"items": rows, "classes": list(classes)}, on_assigned_change=assigned, on_undo_change=undo)
