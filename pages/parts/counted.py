"""A choice whose titles carry counts that change while it is shown."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

__all__ = ["counted_choice"]


def counted_choice(label: str, titles: Mapping[str, str], *, key: str, width: int = 240) -> str:
    """Ask which of `titles` (choice -> title) to show; return the choice.

    The browser keeps the words of what is chosen as they were when it was chosen. Setting the choice anew sends them again.
    """
    chosen = st.session_state.get(key)
    if chosen in titles:
        st.session_state[key] = chosen
    return str(st.selectbox(label, list(titles), format_func=lambda one: titles.get(one, one), key=key, width=width))
