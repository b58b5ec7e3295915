"""Choosing a folder of this machine: by its path, or by walking through folders in a dialog."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from pages.parts.text import plain

__all__ = ["folder_field", "subfolders"]

_MOST = 300


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders inside a folder, sorted; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")), key=str.casefold)[:_MOST]
    except OSError:
        return []


def folder_field(key: str) -> str:
    """Show a path field with a Browse button; return the path that stands in it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Folder, zip or CSV file on this computer", key=f"{key}-path", placeholder="/home/me/pictures", icon=":material/folder:")
        if st.button("Browse", key=f"{key}-browse", icon=":material/folder_open:"):
            _browse(key)
    return (text or "").strip()


def _go(key: str, folder: Path) -> None:
    st.session_state[f"{key}-at"] = str(folder)


def _choose(key: str, folder: Path) -> None:
    st.session_state[f"{key}-path"] = str(folder)


@st.dialog("Choose a folder", icon=":material/folder_open:")
def _browse(key: str) -> None:
    typed = Path(st.session_state.get(f"{key}-path") or "").expanduser()
    at = Path(st.session_state.get(f"{key}-at") or (typed if typed.is_absolute() and typed.is_dir() else Path.home()))
    st.markdown(f":material/folder_open: **{plain(str(at))}**")
    with st.container(horizontal=True):
        st.button("Up", key=f"{key}-up", icon=":material/arrow_upward:", on_click=_go, args=(key, at.parent), disabled=at == at.parent)
        if st.button("Choose this folder", key=f"{key}-choose", type="primary", icon=":material/check:", on_click=_choose, args=(key, at)):
            st.rerun()
    inside = subfolders(at)
    with st.container(height=320, border=True, gap=None):
        for name in inside:
            st.button(plain(name), key=f"{key}-in-{at}-{name}", icon=":material/folder:", type="tertiary", on_click=_go, args=(key, at / name))
        if not inside:
            st.caption("No folders in here.")
