"""Start: choose what training starts from. Three doors, and the user's own finished runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from engine.data import projects
from engine.data.marks import TASK_KINDS
from engine.data.projects import Project
from engine.errors import StudioError
from engine.models import catalogue
from engine.models.dense.table import ARCHITECTURES
from pages.parts import state as ui
from pages.parts.architectures import architecture_choice, fit_table
from pages.parts.backbone_gallery import FROM_SCRATCH, backbone_gallery, weights_badge
from pages.parts.form import changed_values, settings_fields
from pages.parts.published_gallery import published_gallery, try_or_retrain
from pages.parts.run_picker import finished_runs, summary
from pages.parts.scores import metric_title
from pages.parts.setup import chosen_goal, form_key, start_of
from pages.parts.text import plain, quoted
from pages.parts.wording import amount, moment, percent
from pages.parts.xray import onnx_door

DOORS = {
    "general": ("General architecture", "A network that has seen a million pictures, with a new head for your classes. The right choice for most."),
    "optimized": ("Optimized pretrained", "A finished model. Try it as it is, or retrain it for your own classes."),
    "onnx": ("My ONNX model", "Bring a model file of your own, from whatever tool, and teach it your classes."),
    "run": ("One of my runs", "Go on from a model you trained here: reuse all of it, or only its first layers."),
}
PICTURES = Path(__file__).resolve().parent.parent / "assets" / "doors"
RUNS_SHOWN = 12
DEPTHS = ("freeze_depth", "reuse_depth")


def main() -> None:
    ui.stepper("Start")
    project = ui.current_project()
    if project is None:
        return ui.no_project("Start")
    st.title("Choose a starting point")
    chosen = _resolved(project.start, project.task)
    _chosen_line(project, chosen)
    door = _doors(project, chosen)
    rooms: dict[str, Callable[[Project, catalogue.Start | None], None]] = {"general": _general, "optimized": _optimized, "onnx": _onnx, "run": _runs}
    rooms[door](project, chosen)
    start = start_of(project)
    ui.shell_command(
        f"python -m engine starts --task {project.task}\npython -m engine train --project {quoted(project.name)} --start {quoted(start)}{_set_words(project)}"
    )
    return None


def _resolved(start: str, task: str) -> catalogue.Start | None:
    """Return the project's starting point, None while none is chosen or if it is gone."""
    if not start:
        return None
    try:
        return catalogue.resolve(start, task)
    except StudioError as error:
        ui.show_error(error)
        return None


def _chosen_line(project: Project, chosen: catalogue.Start | None) -> None:
    if chosen is None:
        st.markdown("What should the model already know? Choose one; you can change it at any time.")
        return
    with st.container(border=True, horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="chosen"):
        st.markdown(f":material/check_circle: Starting from **{plain(chosen.title)}**", width="content")
        has_pictures = bool(projects.summary(project.id).items)
        words, page = ("Next: train", "train.py") if has_pictures else ("Next: bring your pictures", "data.py")
        if st.button(words, type="primary", icon=":material/arrow_forward:", key="next"):
            st.switch_page(page)
    if chosen.door == "general" and catalogue.backbone(chosen.backbone).weights not in ("packaged", "here"):
        st.warning(
            f"The pretrained weights of this backbone are not on this computer, so it starts from scratch. {FROM_SCRATCH}", icon=":material/hourglass_empty:"
        )


def _doors(project: Project, chosen: catalogue.Start | None) -> str:
    """Show the doors as picture cards; return the open one."""
    slot = f"_door-{project.id}"
    named = st.query_params.get("door", "")  # so that a reload shows the same one
    opened = st.session_state.get(slot, named if named in DOORS else chosen.door if chosen else "general")
    with st.grid(4, min_column_width=150, gap="small"):
        for key, (title, words) in DOORS.items():
            with st.container(border=True, height="stretch", gap="small", key=f"door-{key}"):
                st.image(str(PICTURES / f"{key}.svg"), width="stretch", alt=title)
                st.markdown(f"**{title}**")
                st.caption(words)
                st.space("stretch")
                st.button(
                    "Open" if key != opened else "Opened below",
                    key=f"open-{key}",
                    type="primary" if key == opened else "secondary",
                    icon=":material/arrow_downward:" if key == opened else None,
                    width="stretch",
                    on_click=_open,
                    args=(slot, key),
                )
    return str(opened)


def _open(slot: str, door: str) -> None:
    st.session_state[slot] = st.query_params["door"] = door


def _pick(project: Project, start: str) -> None:
    """Keep the choice: at once, on disk."""
    with ui.guard():
        key = catalogue.resolve(start, project.task).key
        projects.set_start(project.id, key)
        st.toast("Starting point chosen.", icon=":material/check_circle:")


# ---------------------------------------------------------------- general architecture


def _general(project: Project, chosen: catalogue.Start | None) -> None:
    st.header("General architecture")
    general = chosen is not None and chosen.door == "general"
    now = chosen if general else None
    if "class" in TASK_KINDS[project.task]:
        top = _head(project, now.head if now else "linear")
        refuses = None
    else:
        top = architecture_choice(project, now.head if now else "", lambda name: _change_top(project, name))
        refuses = ARCHITECTURES[top].takes
    st.markdown("**2. The backbone:** the part that has learned to see.")
    backbone_gallery(now.backbone if now else "", lambda name: _pick(project, f"{top}/{name}"), refuses)
    if refuses is not None:
        fit_table(project.task)


def _change_top(project: Project, top: str) -> None:
    """Put another head or architecture on the backbone already chosen, where they go together."""
    start = _resolved(projects.get(project.id).start, project.task)
    if start is not None and start.door == "general":
        _pick(project, f"{top}/{start.backbone}")


def _head(project: Project, current: str) -> str:
    """Let the user choose the head; a change keeps the backbone already chosen."""
    words = {head.key: head for head in catalogue.HEADS}
    key = f"head-{project.id}"
    st.session_state.setdefault(key, current)

    def changed() -> None:
        _change_top(project, st.session_state[key])

    st.markdown("**1. The head:** the new part that tells your classes apart.")
    head = st.segmented_control(
        "Head", list(words), format_func=lambda one: words[one].title, key=key, required=True, on_change=changed, label_visibility="collapsed"
    )
    head = str(head or current)
    st.caption(words[head].words)
    return head


# ---------------------------------------------------------------- optimized pretrained


def _optimized(project: Project, chosen: catalogue.Start | None) -> None:
    st.header("Optimized pretrained")
    offered = catalogue.optimized(project.task)
    if published_gallery(project, chosen, _pick):
        return
    if not offered:
        st.info(
            "No finished model for this task comes with Graft. A general architecture on a pretrained backbone learns it from your pictures.",
            icon=":material/info:",
        )
    with st.grid("auto", min_column_width=250, gap="small"):
        for row in offered:
            backbone = catalogue.backbone(row.backbone)
            with st.container(border=True, height="stretch", gap="xsmall", key=f"ready-{row.key}"):
                with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                    st.markdown(f"**{plain(row.title)}**", width="content")
                    weights_badge(backbone)
                st.markdown(plain(row.words))
                source = f" [source]({row.accuracy_source})" if row.accuracy_source.startswith("https://") else ""
                accuracy = f"{percent(row.accuracy / 100)} right on {plain(row.trained_on)}{source} · " if row.accuracy is not None else ""
                st.caption(f"{accuracy}{plain(backbone.title)} · {backbone.params_m:.1f} M parameters · {plain(row.licence)}")
                try_or_retrain(project, row.key, chosen, _pick)


# ---------------------------------------------------------------- my ONNX model


def _onnx(project: Project, chosen: catalogue.Start | None) -> None:
    st.header("My ONNX model")
    with ui.guard():
        onnx_door(project, chosen, _pick)


# ---------------------------------------------------------------- one of my runs


def _runs(project: Project, chosen: catalogue.Start | None) -> None:
    st.header("One of my runs")
    listed = [(other, run) for other in projects.list_projects() for run in finished_runs(other.id, most=RUNS_SHOWN)]
    listed.sort(key=lambda pair: pair[1].id, reverse=True)
    if not listed:
        return ui.empty("history", "No finished run yet", "Train a model first; then the next one can start from what it learned.", "train.py", "Go to Train")
    if chosen is not None and chosen.door == "run":
        _depths(project, chosen)
    else:
        st.caption("Choose one; then say how much of it is reused, and how much of that stays as it is.")
    with st.grid("auto", min_column_width=250, gap="small"):
        for other, run in listed[:RUNS_SHOWN]:
            row, key = summary(run), f"run:{run.id}"
            with st.container(border=True, height="stretch", gap="xsmall", key=f"run-{run.id}"):
                st.markdown(f"**{plain(row.name)}**")
                st.caption(f"{plain(other.name)} · {moment(row.made)} · {plain(row.start)}")
                st.markdown(f":material/target: {metric_title(row.task)} **{percent(row.score)}**")
                st.space("stretch")
                if chosen is not None and chosen.key == key:
                    st.button("Chosen", key=f"pick-{run.id}", icon=":material/check:", type="primary", width="stretch")
                else:
                    st.button("Start from this", key=f"pick-{run.id}", width="stretch", on_click=_pick, args=(project, key))
    if len(listed) > RUNS_SHOWN:
        st.caption(f"The newest {RUNS_SHOWN} of {amount(len(listed), 'run')} are shown.")
    return None


def _depths(project: Project, chosen: catalogue.Start) -> None:
    """Let the user say how much of a run is taken over and how deep it is frozen; the Train page shows the same two settings."""
    with st.container(border=True, key="depths"):
        st.markdown(f":material/check_circle: Going on from **{plain(chosen.title)}**")
        settings_fields(form_key(project), chosen_goal(project), DEPTHS, project.task)


def _set_words(project: Project) -> str:
    changed = changed_values(form_key(project))
    return "".join(f" --set {key}={changed[key]:g}" for key in DEPTHS if key in changed)


main()
