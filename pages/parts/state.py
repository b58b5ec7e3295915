"""What a browser session is looking at, and the frame that every page shares: guard, stepper, shell command, empty page.

The current project and run live in the session and are mirrored to the address (?project=, ?run=), so that a refresh,
a bookmark or a link finds the same thing. Everything worth keeping is on disk, never here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import streamlit as st

from engine import runs
from engine.data import projects
from engine.data.projects import Project
from engine.errors import StudioError
from engine.runs import Run
from pages.parts.places import PATH, place
from pages.parts.text import sentence

__all__ = ["current_project", "current_run", "empty", "guard", "link", "no_project", "select", "shell_command", "show_error", "stepper"]

_LOG = logging.getLogger("graft.pages")
_KEEP: Literal["keep"] = "keep"


def _wanted(kind: str) -> str:
    """Return the id that the address names, else the session's; the two are made equal."""
    named = st.query_params.get(kind, "")
    wanted = named or st.session_state.get(kind, "")
    st.session_state[kind] = wanted
    if wanted and not named:
        st.query_params[kind] = wanted
    return wanted


def select(*, project: str | None = _KEEP, run: str | None = _KEEP) -> None:
    """Look at another project or run; None looks at none. Another project drops the run, which was not of it."""
    if project != _KEEP and project != st.session_state.get("project"):
        _set("project", project)
        _set("run", None)
    if run != _KEEP:
        _set("run", run)


def _set(kind: str, value: str | None) -> None:
    st.session_state[kind] = value or ""
    if value:
        st.query_params[kind] = value
    else:
        st.query_params.pop(kind, None)


def current_project() -> Project | None:
    """Return the project being looked at: the one in the address, or that of the run there. A deleted one counts as none."""
    wanted = _wanted("project")
    if not wanted:
        run = current_run()
        wanted = run.project_id if run else ""
    if not wanted:
        return None
    try:
        project = projects.get(wanted)
    except StudioError:
        project = None
    if project is None or project.deleted is not None:
        select(project=None)
        return None
    if st.session_state.get("project") != project.id:
        _set("project", project.id)
    return project


def current_run() -> Run | None:
    """Return the run being looked at, if it is still there."""
    wanted = _wanted("run")
    if not wanted:
        return None
    try:
        return runs.find(wanted)
    except StudioError:
        _set("run", None)
        return None


@contextmanager
def guard() -> Iterator[None]:
    """Turn what goes wrong inside into a sentence on the page; a fault of ours also into a traceback in the server's log."""
    try:
        yield
    except StudioError as error:
        show_error(error)
    except Exception:  # noqa: BLE001 (the page guard: one of the two places where everything is caught)
        _LOG.exception("a page failed")
        message = "Something went wrong in Graft itself. Your data and runs are safe on disk. Load the page again; if it stays, the server's log says more."
        st.error(message, icon=":material/error:")


def show_error(error: StudioError) -> None:
    """Show what happened and what to do."""
    st.error(sentence(error.problem, error.remedy), icon=":material/error:")


@st.fragment
def shell_command(text: str) -> None:
    """Offer the same as a command, folded away. It is drawn once opened: the script that colours it holds a browser up for most of a second."""
    with st.expander("Do this from a shell", icon=":material/terminal:", key="shell-command", on_change="rerun") as folded:
        if folded.open:
            st.code(text, language="bash", wrap_lines=True)


def link(title: str, *, label: str = "", icon: str = "", **options: str) -> None:
    """Show a link to a page by its title. The current project goes with it."""
    there = place(title)
    parameters = {key: value for key in ("project", "run") if (value := st.session_state.get(key))}
    st.page_link(there.file, label=label or there.title, icon=icon or there.icon, query_params={**parameters, **options})


def _done(project: Project | None) -> dict[str, bool]:
    """Say which steps of the path are behind the user, from what is on disk."""
    if project is None:
        return {}
    summary = projects.summary(project.id)
    finished = [run for run in runs.list_runs(project.id)[:20] if run.path("report.json").exists()]
    return {
        "Start": bool(project.start),
        "Data": summary.labelled > 1 and len(summary.classes) > 1,
        "Train": bool(finished),
        "Results": bool(finished) and st.session_state.get("_seen_results") == project.id,
        "Ship": any(run.path("model.onnx").exists() for run in finished),
    }


def stepper(active: str) -> None:
    """Show the path Start, Data, Train, Results, Ship: where the user is, what is done; each step is a link."""
    project = current_project()
    if active == "Results" and project is not None:
        st.session_state["_seen_results"] = project.id
    done = _done(project)
    with st.container(horizontal=True, gap=None, vertical_alignment="center", key="stepper"):
        for number, title in enumerate(PATH, 1):
            there = place(title)
            mark = ":material/check_circle:" if done.get(title) and title != active else f":material/counter_{number}:"
            if title == active:
                st.badge(title, icon=there.icon, color="primary", help=f"You are here: {there.words.lower()}")
            else:
                parameters = {"project": project.id} if project else None
                st.page_link(there.file, label=title, icon=mark, help=there.words, query_params=parameters, disabled=project is None)


def empty(icon: str, title: str, words: str, page: str, label: str, page_icon: str = "arrow_forward") -> None:
    """Fill a page that has nothing to show yet with what to do about it. `page` is a file beside shell.py."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("small")
        st.markdown(f"## :primary[:material/{icon}:]", text_alignment="center")
        st.markdown(f"### {title}", text_alignment="center")
        st.caption(words, text_alignment="center")
        if st.button(label, type="primary", icon=f":material/{page_icon}:", key=f"empty-{page}"):
            st.switch_page(page)
        st.space("small")


def no_project(page: str) -> None:
    """Say that this page needs a project, and lead to them."""
    st.title(page)
    words = "Everything belongs to a project: one task, one set of pictures, many runs. Open one, or start with a sample."
    empty("grid_view", "Choose a project first", words, "projects.py", "Go to projects")
