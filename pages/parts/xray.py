"""Door three: a user's own ONNX file is dropped, X-rayed, understood, and taken as the starting point.

What is dropped, found and chosen lies in the project (`engine.models.own_onnx.dropped`); the session only knows which file is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from engine.data.projects import Project
from engine.errors import StudioError
from engine.models import catalogue
from engine.models.dense.table import ARCHITECTURES, Pyramid, rank, refusal
from engine.models.own_onnx.dropped import Choices, Dropped, choices_of, keep, list_dropped
from pages.parts import state as ui
from pages.parts.drop_zone import drop_zone
from pages.parts.jobs import Outcome, drop_job, job_for, outcome, stop_job
from pages.parts.text import plain
from pages.parts.xray_facts import USE_OF, agreement, cut_words, facts, uses
from pages.parts.xray_graph import xray_graph
from pages.parts.xray_preparation import preparation_form, preparation_preview
from pages.routes import upload_path

__all__ = ["onnx_door"]

TICK_SECONDS = 0.5
_OLDER = "_onnx-opened"


def onnx_door(project: Project, chosen: catalogue.Start | None, pick: Callable[[Project, str], None]) -> None:
    """Show the door. `pick` keeps a starting point."""
    files = list_dropped(project.id)
    with st.expander("Drop another model", icon=":material/upload_file:", expanded=False) if files else st.container():
        _drop(project)
    if not files:
        return
    dropped = _opened(project, files, chosen)
    found = dropped.xray()
    if found is None:
        _taking(dropped)
        return
    _xray(project, dropped, found, chosen, pick)


# ---------------------------------------------------------------- dropping


def _drop(project: Project) -> None:
    arrived = drop_zone(
        key=f"onnx-{project.id}",
        purpose="onnx",
        title="Drop an .onnx file here",
        words="With its external data (.data, .bin …) where it has any: models above 2 GB always have some. It is only read, never run, before it is checked.",
        many=True,
        needs=".onnx",
        button="Choose files",
    )
    if arrived is None:
        return
    with ui.guard():
        kept = keep(project.id, upload_path(arrived.upload))
        st.session_state[f"{_OLDER}-{project.id}"] = kept[0].key
        st.rerun()


def _opened(project: Project, files: list[Dropped], chosen: catalogue.Start | None) -> Dropped:
    """Let the user choose among several dropped files; the chosen starting point, else the newest, comes first."""
    by_key = {one.key: one for one in files}
    own = next((one.key for one in files if chosen is not None and chosen.door == "onnx" and one.owns(str(chosen.file))), files[0].key)
    slot, widget = f"{_OLDER}-{project.id}", f"onnx-which-{project.id}"
    opened = st.session_state.get(slot, own)
    opened = opened if opened in by_key else own
    if len(files) > 1:
        st.session_state[widget] = opened
        st.selectbox(
            "Your models",
            list(by_key),
            format_func=lambda key: _listed(by_key[key], files),
            key=widget,
            on_change=lambda: st.session_state.__setitem__(slot, st.session_state[widget]),
        )
    return by_key[opened]


def _listed(one: Dropped, files: list[Dropped]) -> str:
    twins = [other for other in files if other.name == one.name]
    return one.name if len(twins) == 1 else f"{one.name} ({len(twins) - twins.index(one)})"


# ---------------------------------------------------------------- the X-ray is taken


def _taking(dropped: Dropped) -> None:
    """Take the X-ray as a job; the page asks how far it is."""
    purpose, request = f"xray-{dropped.key}", {"path": str(dropped.path)}
    first = outcome(job_for(purpose, "xray", request))

    def tick() -> None:
        with ui.guard():
            now = outcome(job_for(purpose, "xray", request)) if first.active else first
            if now.result:
                dropped.keep_xray(now.result)
            if now.result or now.active != first.active:
                st.rerun()
            _progress(dropped, purpose, now)

    st.fragment(tick, run_every=TICK_SECONDS if first.active else None)()


def _progress(dropped: Dropped, purpose: str, now: Outcome) -> None:
    with st.container(border=True):
        st.markdown(f":material/draft: **{plain(dropped.name)}** · {dropped.bytes / (1 << 20):.1f} MB")
        if now.active:
            st.progress(now.share or 0.0, text="Taking its X-ray: what is in it, whether it can learn, where its old head begins.")
            return
        ui.show_error(StudioError(now.problem or "the X-ray left nothing behind", now.remedy or "Try again."))
        with st.container(horizontal=True):
            st.button("Try again", icon=":material/refresh:", key=f"again-{dropped.key}", on_click=drop_job, args=(purpose,))
            st.button("Remove it", icon=":material/delete:", key=f"remove-{dropped.key}", on_click=_remove, args=(dropped,))


def _remove(dropped: Dropped) -> None:
    with ui.guard():
        stop_job(f"xray-{dropped.key}")
        dropped.remove()


# ---------------------------------------------------------------- the X-ray is shown


def _xray(project: Project, dropped: Dropped, found: dict[str, Any], chosen: catalogue.Start | None, pick: Callable[[Project, str], None]) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(f"X-ray of {plain(dropped.name)}", anchor=False, width="content")
        st.button(
            "Remove",
            icon=":material/delete:",
            type="tertiary",
            key=f"remove-{dropped.key}",
            on_click=_remove,
            args=(dropped,),
            help="Runs made from it stay as they are.",
        )
    facts(found)
    st.markdown("**What it can be retrained for**")
    uses(found)
    st.caption(f":material/balance: {agreement(found)}")
    draft = dropped.draft()
    pictures = found["port"] is not None and found["preparation"] is not None
    tried = _tried(dropped, draft) if pictures else None
    cut = _cut_of(found, draft, tried)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("**The network, and where its old head is cut off**")
        picked = xray_graph(found["graph"], draft.cut or found["cut"]["value"], key=f"graph-{dropped.key}")
        if picked and picked != (draft.cut or found["cut"]["value"]):
            dropped.keep_draft(replace(draft, cut="" if picked == found["cut"]["value"] else picked))
            st.rerun()
    with right:
        _cut(dropped, found, draft, cut, tried)
        if pictures:
            st.markdown("**How it takes its pictures**")
            preparation_form(dropped, found, dropped.keep_draft)
            with ui.guard():
                preparation_preview(project, found, draft)
    _use(project, dropped, found, draft, tried, chosen, pick)
    if tried is not None and tried.active:
        _wait_for(dropped, draft)


def _asked(draft: Choices) -> Choices | None:
    """Return the part of the choices that has to be tried; None if nothing has."""
    asked = Choices(cut=draft.cut, image_size=draft.image_size, layout=draft.layout)
    return None if asked == Choices() else asked


def _tried(dropped: Dropped, draft: Choices) -> Outcome | None:
    """Return how trying the choices goes; None where they are what the X-ray proposed."""
    asked = _asked(draft)
    return None if asked is None else outcome(job_for(f"cut-{dropped.key}", "xray", {"path": str(dropped.path), "choices": asked.to_json()}))


def _wait_for(dropped: Dropped, draft: Choices) -> None:
    def tick() -> None:
        with ui.guard():
            now = _tried(dropped, draft)
            if now is None or not now.active:
                st.rerun()

    st.fragment(tick, run_every=TICK_SECONDS)()


def _cut_of(found: Mapping[str, Any], draft: Choices, tried: Outcome | None) -> Mapping[str, Any] | None:
    """Return the cut that will be used: the proposed one, or the chosen one once it is known to work."""
    if not draft.cut:
        return dict(found["cut"])
    if tried is not None and tried.result:
        return dict(tried.result["cut"])
    return next((row for row in found["alternatives"] if row["value"] == draft.cut), None)


def _cut(dropped: Dropped, found: Mapping[str, Any], draft: Choices, cut: Mapping[str, Any] | None, tried: Outcome | None) -> None:
    """Say where it is cut and why, whether that works, and offer other places."""
    st.markdown("**The cut**")
    if cut is not None:
        st.markdown(cut_words(cut))
        st.caption(plain(cut["reason"][:1].upper() + cut["reason"][1:], 400) + ".")
    if tried is None:
        st.markdown(":green[:material/auto_awesome:] This is what Graft proposes." if not draft.cut else "")
    elif tried.active:
        st.markdown(":material/hourglass_top: Trying it …")
    elif tried.result:
        st.markdown(":green[:material/check_circle:] **It works**: two pictures went through up to there.")
    else:
        ui.show_error(StudioError(tried.problem or "it could not be tried", tried.remedy or "Try another place."))
    rows = {"": found["cut"], **{row["value"]: row for row in found["alternatives"]}}
    if draft.cut and draft.cut not in rows:
        rows[draft.cut] = {"node": draft.cut, "value": draft.cut, "features": 0, "kept_share": 0.0}
    widget = f"{dropped.key}-cut"
    st.session_state[widget] = draft.cut
    st.selectbox(
        "Cut after",
        list(rows),
        format_func=lambda value: _place(rows[value], value),
        key=widget,
        help="The further back, the less of what the network knows is kept. Or click a step in the drawing.",
        on_change=lambda: dropped.keep_draft(replace(dropped.draft(), cut=st.session_state[widget])),
    )
    if draft != Choices():
        st.button("Back to what Graft proposes", icon=":material/undo:", type="tertiary", key=f"back-{dropped.key}", on_click=_back, args=(dropped,))


def _back(dropped: Dropped) -> None:
    dropped.keep_draft(Choices())
    for part in ("custom", "fault"):
        st.session_state.pop(f"_{dropped.key}-{part}", None)
    for part in ("mean", "std"):
        st.session_state.pop(f"{dropped.key}-{part}", None)


def _place(row: Mapping[str, Any], value: str) -> str:
    name = (row["node"] or row["value"]).strip("/")
    size = f" ({row['features']} features)" if row["features"] else ""
    return ("Proposed: " if not value else "") + f"{name[-48:]}{size}"


def _use(
    project: Project,
    dropped: Dropped,
    found: Mapping[str, Any],
    draft: Choices,
    tried: Outcome | None,
    chosen: catalogue.Start | None,
    pick: Callable[[Project, str], None],
) -> None:
    use = next((row for row in found["uses"] if row["task"] == USE_OF.get(project.task, project.task)), None)
    if use is None or not use["possible"]:
        why = use["why"] if use else "this kind of project has no use for it"
        st.error(f"This model cannot be used in this project: {plain(why, 300)}.", icon=":material/block:")
        return
    with ui.guard():
        mine = chosen if chosen is not None and chosen.door == "onnx" and dropped.owns(str(chosen.file)) else None
        top = _architecture(project, dropped, found, mine)
        if top is None:
            return
        current = mine is not None and choices_of(mine.file) == draft and mine.head == top
        if current:
            st.button("Chosen", icon=":material/check:", type="primary", key=f"use-{dropped.key}", width="stretch")
            return
        ok = tried is None or bool(tried.result)
        st.button(
            "Use this model",
            icon=":material/model_training:",
            type="primary",
            key=f"use-{dropped.key}",
            width="stretch",
            disabled=not ok,
            help=None if ok else "The choices above have to work first.",
            on_click=_take,
            args=(project, dropped, draft, top, pick),
        )


def _architecture(project: Project, dropped: Dropped, found: Mapping[str, Any], mine: catalogue.Start | None) -> str | None:
    """Let the user choose what stands on the network where things are found or outlined; '' where it only gets a head, None where nothing fits."""
    offered = [row for row in rank(project.task) if refusal(row, _maps(found), "This network") is None]
    if not rank(project.task):
        return ""
    if not offered:
        st.error(f"{refusal(rank(project.task)[0], _maps(found), 'This network')}.", icon=":material/block:")
        return None
    names, key = [row.name for row in offered], f"{dropped.key}-architecture"
    st.session_state.setdefault(key, mine.head if mine is not None and mine.head in names else names[0])
    picked = st.selectbox(
        "Architecture on top",
        names,
        format_func=lambda name: f"{ARCHITECTURES[name].title}: {ARCHITECTURES[name].words}",
        key=key,
        help="The part that finds or outlines things. The best all-rounder for few pictures comes first; what this network's maps do not allow is left out.",
    )
    return str(picked or names[0])


def _maps(found: Mapping[str, Any]) -> Pyramid:
    return Pyramid(tuple(level["stride"] for level in found["levels"]))


def _take(project: Project, dropped: Dropped, draft: Choices, top: str, pick: Callable[[Project, str], None]) -> None:
    with ui.guard():
        file = str(dropped.use(draft))
        pick(project, f"{top}/{file}" if top else file)
