"""Train: choose a goal, see what it will take, press Start, watch it learn. Runs live on disk; this page only looks at them."""

from __future__ import annotations

import streamlit as st

from engine import naming, runs, warm
from engine.data import projects, versions
from engine.data.projects import Project
from engine.errors import StudioError
from engine.export import card
from engine.models import catalogue
from engine.models.dense.options import idle_settings
from engine.recipe import Recipe
from engine.runs import Run, State
from pages.parts import form
from pages.parts import state as ui
from pages.parts.estimate import estimate_panel, estimate_state, stop_estimates
from pages.parts.live import live_area, log_tail, steering, watch
from pages.parts.live_state import marks_of
from pages.parts.looking_through import wait_until_seen
from pages.parts.run_list import page_of_runs, run_list
from pages.parts.run_picker import ACTIVE, STATES, badge, summary, summary_line
from pages.parts.setup import form_key, goal_cards, preview, start_of
from pages.parts.text import plain, quoted

TICK_SECONDS = 1.0


def main() -> None:
    ui.stepper("Train")
    project = ui.current_project()
    if project is None:
        ui.no_project("Train")
        return
    warm.ensure()
    listed = page_of_runs(project.id)
    states = {run.id: runs.state(run) for run in listed}
    run = _watched(project, listed, states)
    if run is None:
        _setup(project, listed, states)
    else:
        _watch(project, run, listed, states)


def _watched(project: Project, listed: list[Run], states: dict[str, State]) -> Run | None:
    """Return the run to show: the one in the link, else one at work, unless the user is preparing a new one."""
    if st.session_state.get("_new_run_in") == project.id:
        return None
    run = ui.current_run()
    if run is not None and run.project_id == project.id:
        return run
    at_work = next((run for run in listed if states[run.id] in ACTIVE), None)
    if at_work is not None:
        ui.select(run=at_work.id)  # so that the page stays with it when it ends
    return at_work


def _prepare_new(project: Project) -> None:
    st.session_state["_new_run_in"] = project.id
    ui.select(run=None)


def _open(run: Run) -> None:
    st.session_state.pop("_new_run_in", None)
    ui.select(run=run.id)


# ---------------------------------------------------------------- setting up


def _setup(project: Project, listed: list[Run], states: dict[str, State]) -> None:
    st.title("Train")
    counts = projects.summary(project.id)
    if counts.labelled == 0:
        ui.empty(
            "photo_library", "No labelled pictures yet", "A model learns from examples: add pictures and say what each one shows.", "data.py", "Add pictures"
        )
        return
    _start_line(project)
    goal = goal_cards(project)
    left, right = st.columns([3, 2], gap="large")
    with left:
        form.settings_form(form_key(project), goal, project.task, _idle(project))
    recipe = _recipe(project, goal)
    with right:
        place = st.container(border=True)
    with left:
        if st.button("Start training", type="primary", icon=":material/play_arrow:", key="start", width="stretch", disabled=recipe is None):
            _start(project, recipe)
    if recipe is not None:
        preview(project, recipe)
    busy = any(state in ACTIVE for state in states.values())
    with place:
        _estimate(project, recipe, busy)
    run_list(project, listed, states, opened=_open)
    watch(marks_of((run, states[run.id]) for run in listed), active=busy)
    ui.shell_command(_command(project, goal))


def _start_line(project: Project) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Starts from **{plain(_start_title(project))}**.")
        ui.link("Start", label="Change")


def _idle(project: Project) -> dict[str, str]:
    """Return the settings of the architecture that the chosen one does not have, each with the reason."""
    start = catalogue.resolve(start_of(project), project.task)
    return idle_settings(start.head if start.door in ("general", "onnx") else "")


def _start_title(project: Project) -> str:
    return catalogue.resolve(start_of(project), project.task).title


def _recipe(project: Project, goal: str) -> Recipe | None:
    """Return what the form stands for; None where a value cannot be (the form says which)."""
    try:
        return form.recipe_of(form_key(project), goal, task=project.task, start=catalogue.resolve(start_of(project), project.task).key)
    except StudioError:
        return None


def _command(project: Project, goal: str) -> str:
    changed = "".join(f" --set {name}={quoted(str(value))}" for name, value in form.changed_values(form_key(project)).items())
    start = f" --start {quoted(project.start)}" if project.start else ""
    return f"python -m engine train --project {quoted(project.name)}{start} --preset {goal}{changed} --wait"


def _start(project: Project, recipe: Recipe | None) -> None:
    assert recipe is not None
    with ui.guard():
        wait_until_seen(project.id)
        version = versions.freeze(project.id)
        stop_estimates()
        run = runs.create_run(project.id, naming.named(recipe, project.id), version)
        runs.launch(run)
        _open(run)
        st.rerun()


def _estimate(project: Project, recipe: Recipe | None, busy: bool) -> None:
    """Show the estimate; while it is being made, it is looked at every second."""
    first = None if recipe is None or busy else estimate_state(project, recipe)
    active = first is not None and first.active

    def tick() -> None:
        with ui.guard():
            now = None if recipe is None or busy else estimate_state(project, recipe)
            if active and now is not None and not now.active:
                st.rerun()
            estimate_panel(now)

    st.fragment(tick, run_every=TICK_SECONDS if active else None)()


# ---------------------------------------------------------------- watching


def _watch(project: Project, run: Run, listed: list[Run], states: dict[str, State]) -> None:
    states = {**states, run.id: runs.state(run)}
    row, state = summary(run), states[run.id]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            st.title(plain(row.name))
            badge(state)
        st.button(
            "New run", icon=":material/add:", on_click=_prepare_new, args=(project,), key="new-run", help="Choose settings for another run. This one goes on."
        )
    st.caption(plain(summary_line(row)))
    _why(run, state)
    everyone = [*listed, *([] if run in listed else [run])]
    active = any(state in ACTIVE for state in states.values())

    if steering(run, state):
        st.rerun()
    live_area(run, state, marks_of((one, states[one.id]) for one in everyone), active=active)
    _next_steps(run)
    with st.expander("Log", icon=":material/terminal:", on_change="rerun", key="log") as log:
        if log.open:
            st.code(log_tail(run) or "Nothing was written yet.", language=None, height=280)
    with st.expander("Settings of this run", icon=":material/tune:"):
        st.json(run.recipe.model_dump(), expanded=True)
    run_list(project, listed, states, opened=_open)
    ui.shell_command(f"{card.command(run.recipe, project.name)}\npython -m engine resume {run.id}\npython -m engine stop {run.id}")


def _why(run: Run, state: State) -> None:
    """Say why a run is not simply running or finished, and what to do."""
    row = summary(run)
    if state == "failed":
        st.error(
            f"{row.problem}. {row.remedy}" if row.problem else "It could not go on. The log below says more; Resume tries again from the last save.",
            icon=":material/error:",
        )
    elif state == "interrupted":
        st.warning(STATES[state][3], icon=":material/power_off:")
    elif state == "waiting":
        st.info("It waits for the device: another run is using it. It starts by itself.", icon=":material/hourglass_top:")


def _next_steps(run: Run) -> None:
    if not run.path("report.json").exists():
        return
    with st.container(horizontal=True):
        ui.link("Results", label="See what it got right and wrong", run=run.id)
        ui.link("Try", label="Try it on a picture", run=run.id)
        ui.link("Ship", label="Take it with you", run=run.id)


with ui.guard():
    main()
