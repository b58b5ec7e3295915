"""Check: what is wrong with the pictures and their labels, each find with pictures and one-click fixes; and a map of the data set."""

from __future__ import annotations

from typing import Any, Literal

import streamlit as st

from engine import runs
from engine.data import projects
from engine.data.check.standing import Standing, standing
from engine.data.projects import Project
from engine.errors import StudioError
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.checkup import LIGHTS, check_request, newest_check, newest_result, say_what_happened, undo_button
from pages.parts.finds import show_finds
from pages.parts.jobs import outcome, start_job
from pages.parts.mapping import show_map
from pages.parts.text import plain, quoted
from pages.parts.wording import amount, duration, moment

VIEWS = {"finds": "What was found", "map": "Map of the pictures"}


def main() -> None:
    ui.stepper("Check")
    project = ui.current_project()
    if project is None:
        return ui.no_project("Check")
    st.title("Check")
    st.caption(f"What is wrong with the pictures of **{plain(project.name)}**, and how to mend it")
    summary = projects.summary(project.id)
    if not summary.items and not (summary.excluded and newest_result(project.id)):  # all set aside by the last check: Undo must stay in reach
        return ui.empty("photo_library", "No pictures yet", "Bring some first; then Graft looks for what is wrong with them.", "data.py", "Add pictures")
    job = newest_check(project.id)
    now = outcome(job) if job is not None else None
    if job is not None and now is not None and now.active:
        _watch(job)
    else:
        if now is not None and now.problem and runs.state(job) != "stopped":  # type: ignore[arg-type]
            ui.show_error(StudioError(now.problem, now.remedy))
        result = newest_result(project.id)
        if result is None:
            _offer(project, summary.items)
        else:
            _result(project, result, summary.items)
    ui.shell_command(f"python -m engine check --project {quoted(project.name)}")
    return None


def _offer(project: Project, count: int) -> None:
    """Say what a check looks for, and offer it."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("small")
        st.markdown("## :primary[:material/health_and_safety:]", text_alignment="center")
        st.markdown("### Are these pictures fit to learn from?", text_alignment="center")
        words = (
            "Graft looks for damaged files, copies (above all those across training and test), labels that are likely wrong, "
            "classes with too few pictures, blank, dark and blurred ones, and what does not belong. Nothing is changed until you say so."
        )
        st.caption(words, text_alignment="center")
        if st.button(f"Check {amount(count, 'picture')}", type="primary", key="check-start", icon=":material/play_arrow:"):
            start_job("check", check_request(project.id))
            st.rerun()
        st.space("small")


def _watch(job: Run) -> None:
    """Follow a check; one full rerun when it is over."""

    def tick() -> None:
        with ui.guard():
            now = outcome(job)
            if not now.active:
                st.rerun()
            with st.container(border=True):
                st.markdown(":material/health_and_safety: **Checking your pictures.** You may leave this page; it goes on.")
                st.progress(now.share or 0.0, text=now.words)
                if st.button("Stop", key="check-stop", icon=":material/stop_circle:", help="What was looked at is kept: the next check goes on from there."):
                    runs.stop(job)

    st.fragment(tick, run_every=0.5)()


def _result(project: Project, result: dict[str, Any], count: int) -> None:
    now = standing(project.id, result)
    say_what_happened(project.id)
    _headline(project, result, now, count)
    view = st.segmented_control(
        "Show", list(VIEWS), format_func=VIEWS.__getitem__, default="finds", key="check-view", label_visibility="collapsed", required=True
    )
    if view == "map":
        show_map(project, result["map"])
    else:
        show_finds(project, now)


def _headline(project: Project, result: dict[str, Any], now: Standing, count: int) -> None:
    """Say in one line how it stands, when that was seen, and offer to check again and to go on."""
    found = [one.severity for one in now.findings]
    with st.container(border=True, key="check-light"):
        st.markdown(f"### {LIGHTS[now.severity]} {headline(found.count('red'), found.count('amber'))}")
        fresh = count != result["pictures"]
        changed = f" The project now has {amount(count, 'picture')}: check again to include every change." if fresh else ""
        st.caption(f"{amount(result['pictures'], 'picture')} checked {moment(result['checked'])}, in {duration(result['seconds'])}.{changed}")
        with st.container(horizontal=True):
            ready: Literal["primary", "secondary"] = "secondary" if "red" in found else "primary"
            if st.button("Next: train", type=ready, icon=":material/arrow_forward:", key="next"):
                st.switch_page("train.py")
            if st.button("Check again", key="check-start", icon=":material/refresh:", help="Only what is new or changed is looked at again."):
                start_job("check", check_request(project.id))
                st.rerun()
            undo_button(project.id)


def headline(red: int, amber: int) -> str:
    """Say how a data set stands.

    >>> headline(1, 2), headline(0, 1), headline(0, 0)
    ('One problem to mend, 2 things to look at', 'One thing to look at', 'Nothing is wrong with these pictures')
    """
    problems = "" if not red else "One problem to mend" if red == 1 else f"{red} problems to mend"
    looks = "" if not amber else ("one thing" if amber == 1 else f"{amber} things") + " to look at"
    said = ", ".join(part for part in (problems, looks) if part)
    return said[:1].upper() + said[1:] if said else "Nothing is wrong with these pictures"


main()
