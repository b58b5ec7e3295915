"""A wall of pictures that can be clicked, their labels drawn over them. Pictures come by URL from this server's image route, so the browser caches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import streamlit as st

__all__ = ["Tile", "large_picture", "picture_wall"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tile:
    """One picture: what it is, one or two lines under it, how it went, its labels (see `overlay`), and its address where it is not the plain picture."""

    item_id: int
    title: str
    words: str = ""
    tone: Literal["plain", "right", "wrong"] = "plain"
    shapes: Mapping[str, Any] | None = None
    source: str = ""


_component = st.components.v2.component(
    "graft_picture_wall",
    html='<div class="wall" role="list"></div>',
    css=(_HERE / "picture_wall.css").read_text(),
    js=(_HERE / "picture_wall.js").read_text(),
)


def picture_wall(tiles: Sequence[Tile], *, key: str, size_px: int = 192, chosen: int | None = None, wide: bool = False, whole: bool = False) -> int | None:
    """Show pictures in a grid; return the item id of the one clicked in this rerun, else None.

    `wide` leaves room for words under them, `whole` shows all of a picture, not the square in its middle.
    """
    data = {
        "tiles": [
            {
                "id": tile.item_id,
                "title": tile.title,
                "words": tile.words,
                "tone": tile.tone,
                "source": tile.source or f"/graft/image/{tile.item_id}/{size_px}",
                "shapes": tile.shapes,
            }
            for tile in tiles
        ],
        "chosen": chosen,
        "wide": wide,
        "whole": whole,
    }
    result = _component(key=key, data=data, on_picked_change=lambda: None)
    return None if result.picked is None else int(result.picked)


def large_picture(source: str, shapes: Mapping[str, Any] | None, *, key: str) -> None:
    """Show one picture as large as there is room, uncut, its labels drawn over it."""
    tile = {"id": 0, "title": "", "words": "", "tone": "plain", "source": source, "shapes": shapes}
    _component(key=key, data={"tiles": [tile], "chosen": None, "wide": False, "large": True}, on_picked_change=lambda: None)
