"""The drawing board: boxes, polygons, masks and points on a project's pictures, by mouse, finger and key.

It opens pictures and saves marks by itself, through `pages.label_routes`; the page only says which pictures, classes and tools there are.
Its script is several files beside this one, joined into the one module that a component takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

__all__ = ["TOOLS", "annotator"]

TOOLS = {
    "object-detection": ("select", "box", "polygon", "brush", "eraser", "point"),
    "instance-segmentation": ("select", "polygon", "brush", "eraser", "box", "point"),
    "semantic-segmentation": ("select", "polygon", "brush", "eraser", "box", "point"),
}
"""The tools of each task. The board begins with the one after 'select'."""

_HERE = Path(__file__).parent

_SCRIPTS = ("basics", "runs", "shapes", "outbox", "view", "painting", "brush", "editing", "pointer", "keys", "panels", "board")

_component = st.components.v2.component(
    "graft_annotator",
    html=(_HERE / "board.html").read_text(),
    css=(_HERE / "annotator.css").read_text(),
    js="\n".join((_HERE / f"{name}.js").read_text() for name in _SCRIPTS),
)


def annotator(
    project_id: str, task: str, queue: Sequence[int], classes: Sequence[str], *, key: str, queue_key: str, stamp: str, on_more: Callable[[], None]
) -> None:
    """Show the board.

    Args:
        project_id: unsaved edits are kept under it in the browser.
        task: decides the tools.
        queue: ids of the pictures to go through.
        classes: their names; the first nine have keys.
        key: the component's.
        queue_key: another one makes the board take another queue; the same one lets it go on where it is.
        stamp: another one makes the board read the picture that it shows again.
        on_more: called when the last picture of the queue was passed.
    """
    data = {"project": project_id, "tools": list(TOOLS[task]), "queue": list(queue), "queueKey": queue_key, "stamp": stamp, "classes": list(classes)}
    _component(key=key, data=data, on_more_change=on_more, on_done_change=lambda: None)
