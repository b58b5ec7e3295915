"""A wall of pictures that are sorted into classes by click and key. What was decided comes back; saving is the page's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from engine.data.items import Item
from engine.data.suggestions import Suggestion
from pages.parts.pictures import image_url
from pages.parts.wording import percent

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
    """What the user did in this rerun: put pictures (id, revision seen) into a class, agreed to what is suggested for them, or asked to undo."""

    name: str
    items: tuple[tuple[int, int], ...]
    undo: bool = False
    agree: bool = False


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
