"""Tabs of which only the open one is made: a page with five charts under tabs shows its first one at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

__all__ = ["lazy_tabs"]


def lazy_tabs(bodies: Mapping[str, Callable[[], None]], *, key: str) -> None:
    """Show tabs, and in the open one what its function draws. The page runs again when another is opened, which then stands in the session as `key`."""
    for tab, body in zip(st.tabs(list(bodies), key=key, on_change="rerun"), bodies.values(), strict=True):
        if tab.open:
            with tab:
                body()
