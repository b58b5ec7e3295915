"""Checks as pages use them: the newest of a project and its result, fixes with their undo, and the traffic light that leads to the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine import runs
from engine.data.check import fixes
from engine.data.check.findings import Case, Finding, Fix
from engine.data.check.fixes import Done
from engine.data.check.standing import Standing, standing
from engine.errors import StudioError
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.jobs import newest_jobs
from pages.parts.wording import amount

__all__ = ["DONE", "LIGHTS", "banner", "check_request", "keep_done", "mend", "newest_check", "newest_result", "say_what_happened", "undo_button"]

LIGHTS = {"red": ":red[:material/error:]", "amber": ":orange[:material/warning:]", "green": ":green[:material/check_circle:]"}

DONE: dict[str, tuple[str, str]] = {
    "exclude": ("picture set aside", "pictures set aside"),
    "keep-one": ("copy set aside", "copies set aside"),
    "together": ("picture moved to training", "pictures moved to training"),
    "relabel": ("label changed", "labels changed"),
    "delete-marks": ("drawn label removed", "drawn labels removed"),
    "dismiss": ("find waved through", "finds waved through"),
}
"""What a fix did, for one and for several."""

_REMEMBERED = 50


def check_request(project_id: str) -> dict[str, Any]:
    """Return what a check job is asked."""
    return {"project_id": project_id}


def _checks(project_id: str) -> list[Run]:
    return [job for job in newest_jobs("check") if runs.request_of(job).get("project_id") == project_id]


def newest_check(project_id: str) -> Run | None:
    """Return the project's newest check, whatever became of it."""
    return next(iter(_checks(project_id)), None)


def newest_result(project_id: str) -> dict[str, Any] | None:
    """Return what the project's newest finished check found."""
    for job in _checks(project_id):
        path = job.path("result.json")
        if path.exists():
            return _read(str(path), path.stat().st_mtime_ns)
    return None


@st.cache_data(max_entries=8, show_spinner=False)
def _read(path: str, _mtime_ns: int) -> dict[str, Any]:
    return dict(json.loads(Path(path).read_bytes()))


# ---------------------------------------------------------------- fixes and their undo


def _slot(project_id: str) -> str:
    return f"_check-undo-{project_id}"


def mend(project_id: str, now: Standing, finding: Finding, fix: Fix, cases: Sequence[Case], label: str | None = None) -> None:
    """Mend cases and remember how to take it back; what was refused is said."""
    try:
        done = fixes.apply(now, finding, fix, cases, project_id=project_id, label=label)
    except StudioError as error:
        return _say(project_id, "", [error])
    return keep_done(project_id, done, fix)


def keep_done(project_id: str, done: Done, fix: str) -> None:
    """Remember what a fix did, so that it is said and can be taken back."""
    words = amount(done.changed, *DONE[fix]) if done.changed else ""
    if done.changed:
        kept = st.session_state.setdefault(_slot(project_id), [])
        kept.append((words, done.undo))
        del kept[:-_REMEMBERED]
    return _say(project_id, words, list(done.refused))


def _say(project_id: str, words: str, refused: list[StudioError]) -> None:
    st.session_state[f"_check-said-{project_id}"] = (words, refused)


def say_what_happened(project_id: str) -> None:
    """Say what the last fix did, and what was refused."""
    words, refused = st.session_state.pop(f"_check-said-{project_id}", ("", []))
    if words:
        st.toast(words, icon=":material/check_circle:")
    for error in refused[:1]:
        more = f" (and {amount(len(refused) - 1, 'other')} likewise)" if len(refused) > 1 else ""
        ui.show_error(StudioError(error.problem + more, error.remedy))


def undo_button(project_id: str) -> None:
    """Offer to take back the last fix of this session."""
    kept = st.session_state.get(_slot(project_id), [])
    if not kept:
        return

    def take_back() -> None:
        words, what = kept.pop()
        _say(project_id, f"Taken back: {words}", list(fixes.undo(what)))

    st.button("Undo", key="check-undo", icon=":material/undo:", on_click=take_back, help=f"Takes back: {kept[-1][0]}")


# ---------------------------------------------------------------- the light on other pages


def banner(project_id: str) -> None:
    """Show in one line how the project's pictures stand, with the way to the Check page."""
    result = newest_result(project_id)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="check-banner"):
        if result is None:
            st.markdown(":material/health_and_safety: Not checked yet: damaged files, copies and wrong labels spoil a model.", width="stretch")
        else:
            now = standing(project_id, result)
            worst = [one for one in now.findings if one.severity == now.severity] if now.severity != "green" else []
            words = f"{worst[0].words}" + (f" And {amount(len(worst) - 1, 'thing')} more." if len(worst) > 1 else "") if worst else "Checked: nothing is wrong."
            st.markdown(f"{LIGHTS[now.severity]} {words}", width="stretch")
        ui.link("Check", label="Check the pictures" if result is None else "See the check")
