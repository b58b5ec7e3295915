"""The list of a project's runs: honest states, opened, stopped, deleted; paged, so that a thousand runs open at once."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engine import runs
from engine.data.projects import Project
from engine.runs import Run, State
from pages.parts import state as ui
from pages.parts.run_picker import ACTIVE, badge, summary, summary_line
from pages.parts.text import plain, sentence
from pages.parts.wording import amount, duration, moment, percent

__all__ = ["PER_PAGE", "page_of_runs", "run_list"]

PER_PAGE = 8


def _page_key(project_id: str) -> str:
    return f"runs-page-{project_id}"


def page_of_runs(project_id: str) -> list[Run]:
    """Return the runs on the list's present page, newest first."""
    everyone = runs.list_runs(project_id)
    page = min(int(st.session_state.get(_page_key(project_id), 1)), max(1, -(-len(everyone) // PER_PAGE)))
    return everyone[(page - 1) * PER_PAGE : page * PER_PAGE]


def run_list(project: Project, listed: list[Run], states: dict[str, State], *, opened: Callable[[Run], None]) -> None:
    """Show the runs of one page with what can be done to each."""
    total = len(runs.list_runs(project.id))
    if not total:
        return
    st.subheader("Runs of this project", divider="gray")
    active = sum(states[run.id] in ACTIVE for run in listed)
    st.caption(
        f"{amount(total, 'run')}{f', {active} at work or waiting' if active else ''}. Runs start one after another; closing this page stops none of them."
    )
    for run in listed:
        _row(run, states[run.id], opened)
    pages = -(-total // PER_PAGE)
    if pages > 1:
        st.pagination(pages, key=_page_key(project.id))


def _row(run: Run, state: State, opened: Callable[[Run], None]) -> None:
    row = summary(run)
    with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"row-{run.id}"):
        with st.container(width=320, gap=None):
            st.markdown(f"**{plain(row.name)}**")
            st.caption(plain(f"{summary_line(row)} · {moment(row.made)}"))
        with st.container(width=250, gap="small", horizontal=True, vertical_alignment="center"):
            badge(state)
            if row.score is not None:
                took = f" in {duration(row.seconds)}" if row.seconds else ""
                st.markdown(f"**{percent(row.score)}**{took}", width="content")
        with st.container(width="content", horizontal=True, gap="small"):
            label = "Watch" if state in ACTIVE else "Open"
            if st.button(label, key=f"open-{run.id}", icon=":material/visibility:"):
                opened(run)
                st.rerun()
            if state in ACTIVE:
                if st.button("Stop", key=f"stop-{run.id}", icon=":material/stop_circle:", help="Stop and keep its best model"):
                    runs.stop(run)
                    st.rerun()
            elif st.button("Delete", key=f"delete-{run.id}", icon=":material/delete:", type="tertiary", help="Delete this run and its files"):
                _confirm(run, row.name)
    if state == "failed" and row.problem:
        st.caption(f":material/error: {sentence(row.problem, row.remedy)}")


@st.dialog("Delete this run?", icon=":material/delete:")
def _confirm(run: Run, name: str) -> None:
    st.write(f"**{plain(name)}**, its model and its results will be removed from this machine. This cannot be undone.")
    with st.container(horizontal=True):
        if st.button("Delete it", type="primary", key="delete-really", on_click=_delete, args=(run,)):
            st.rerun()
        if st.button("Keep it", key="delete-not"):
            st.rerun()


def _delete(run: Run) -> None:
    with ui.guard():
        current = ui.current_run()
        runs.delete(run)
        if current is not None and current.id == run.id:
            ui.select(run=None)
