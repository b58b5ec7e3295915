"""A field for one more class, wherever pictures are labelled."""

from __future__ import annotations

import streamlit as st

from engine.data import items
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts.sorting import add_fault

__all__ = ["new_class_field"]


def new_class_field(project: Project) -> None:
    """Show the field; Enter makes the class."""
    st.text_input("New class", key="new-class", placeholder="Type a name, press Enter", on_change=_add, args=(project,), max_chars=100, width=240)


def _add(project: Project) -> None:
    name = st.session_state["new-class"]
    if not name.strip():
        return
    try:
        items.add_class(project.id, name)
        st.session_state["new-class"] = ""
    except StudioError as error:
        add_fault(project, error)
