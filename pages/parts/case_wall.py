"""A wall of finds: each card shows the pictures of one case, what was seen, and its fixes as buttons. What was pressed comes back; mending is the page's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

__all__ = ["Card", "Choice", "Press", "View", "case_wall"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class View:
    """One picture of a card: its address, its size in pixels, words under it, and boxes to draw (x1, y1, x2, y2, name, whether it stands out)."""

    source: str
    width: int
    height: int
    title: str
    words: str = ""
    boxes: tuple[tuple[float, float, float, float, str, bool], ...] = ()


@dataclass(frozen=True)
class Choice:
    """One button: which fix, with which class where it takes one, and what stands on it."""

    fix: str
    words: str
    label: str | None = None
    main: bool = False


@dataclass(frozen=True)
class Card:
    """One case: its subject, its pictures, one line about it, and what can be done."""

    subject: str
    views: tuple[View, ...]
    words: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Press:
    """A button that was pressed."""

    subject: str
    fix: str
    label: str | None


_component = st.components.v2.component(
    "graft_case_wall",
    html='<div class="cases" role="list"></div>',
    css=(_HERE / "case_wall.css").read_text(),
    js=(_HERE / "case_wall.js").read_text(),
)


def case_wall(cards: Sequence[Card], *, key: str, on_press: Callable[[Press], None]) -> None:
    """Show the cards. `on_press` hears what was pressed before the page is drawn again."""

    def pressed() -> None:
        said = st.session_state[key].pressed
        if said:
            label = said.get("label")
            on_press(Press(str(said["subject"]), str(said["fix"]), None if label is None else str(label)))

    _component(key=key, data={"cards": [asdict(card) for card in cards]}, on_pressed_change=pressed)
