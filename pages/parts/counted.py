"""A choice whose titles carry counts that change while it is shown."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

__all__ = ["counted_choice"]


def counted_choice(label: str, titles: Mapping[str, str], *, key: str, width: int = 240) -> str:
    """Ask which of `titles` (choice -> title, its count last, in brackets) to show; return the choice.

    The browser keeps the words of what is chosen as they were when it was chosen, and sends them back. Setting the choice anew sends it the
    new ones; what it says before they arrive is told by all but the count, and never taken for a choice of that name.
    """
    chosen = _meant(st.session_state.get(key), titles)
    if chosen is not None:
        st.session_state[key] = chosen
    return str(st.selectbox(label, list(titles), format_func=titles.__getitem__, key=key, width=width))


def _meant(said: object, titles: Mapping[str, str]) -> str | None:
    """Return the choice that is meant by a choice, or by its title with another count; None where it is neither."""
    if said in titles:
        return str(said)
    name, counted, _ = str(said).rpartition(" (")
    return next((choice for choice, title in titles.items() if counted and title.rpartition(" (")[0] == name), None)
