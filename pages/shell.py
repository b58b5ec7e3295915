"""The frame round every page: page settings, navigation, the project switcher. This is the script that app.py serves.

It must be the script: an app.py beside a pages/ folder, as the script, falls into Streamlit's old auto-discovery.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from engine.data import projects
from pages import beginning
from pages.parts import state
from pages.parts.places import PLACES

ICONS = Path(__file__).resolve().parent.parent / "assets" / "icons"


def _navigation() -> st.navigation:  # type: ignore[valid-type]
    sections: dict[str, list[st.Page]] = {}  # type: ignore[valid-type]
    for one in PLACES:
        page = st.Page(one.file, title=one.title, icon=one.icon, url_path=one.url, default=one.title == "Projects", help=one.words)
        sections.setdefault(one.section, []).append(page)
    return st.navigation(sections)


def _switcher() -> None:
    """Let the user change the project from any page."""
    known = projects.list_projects()
    if not known:
        return
    current = state.current_project()
    names = {project.id: project.name for project in known}
    st.session_state["project-switch"] = current.id if current and current.id in names else None

    def switch() -> None:
        state.select(project=st.session_state["project-switch"])

    st.selectbox(
        "Project",
        list(names),
        format_func=names.__getitem__,
        key="project-switch",
        on_change=switch,
        placeholder="Choose a project",
        help="What every page shows. Each project keeps its own pictures and runs.",
    )


def main() -> None:
    st.set_page_config(page_title="Graft", page_icon=str(ICONS / "favicon.png"), layout="wide")
    st.logo(str(ICONS / "logo.svg"), size="large", icon_image=str(ICONS / "mark.svg"))
    page = _navigation()
    with state.guard():
        with st.sidebar:
            _switcher()
        page.run()  # type: ignore[attr-defined]
        beginning.after_first_page()


main()
