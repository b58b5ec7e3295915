"""The second stage of an import as pages show it: how many pictures have been looked through, going on with it, and what it took out.

The pictures are in the project by then, so nothing waits for this but what needs every one of them: a version, a split.
"""

from __future__ import annotations

import time
from typing import Literal

import streamlit as st

from engine import runs
from engine.data import looking
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.imports import newest_import, skipped_list
from pages.parts.jobs import newest_job_of, outcome, start_job
from pages.parts.wording import amount

__all__ = ["looking_part", "unseen", "wait_until_seen"]

Unseen = Literal["", "at work", "left", "gone"]

_TICK_SECONDS = 1.0
_LOOKED_AT_SECONDS = 0.2


def _at_work(project_id: str) -> Run | None:
    """Return the job that is looking through a project's pictures, if one is."""
    for job in (newest_import(project_id), newest_job_of("look", project_id)):
        if job is not None and (now := outcome(job)).active and (job.id.startswith("look") or now.phase == "look"):
            return job
    return None


def unseen(project_id: str) -> Unseen:
    """Say whether pictures are still to be looked through: by a job 'at work', by nobody ('left'), or in vain, since their files are 'gone'."""
    left = looking.left(project_id)
    if not left:
        return ""
    if _at_work(project_id):
        return "at work"
    last = newest_job_of("look", project_id)
    done = outcome(last).result if last is not None else None
    return "gone" if done is not None and done.get("left") == left else "left"


def looking_part(project_id: str, state: Unseen) -> bool:
    """Show how far the looking is in one line, or that it waits, and say whether it is going on. One full rerun when it is over.

    `state` is what `unseen` said: of 100,000 pictures that takes a while, so a page asks once.
    """
    job = _at_work(project_id)
    if job is not None:
        _follow(job)
        return True
    if state == "at work":  # it ended a moment ago
        st.rerun()
    if state:
        left = looking.left(project_id)
        with st.container(border=True, horizontal=True, vertical_alignment="center", key="unseen"):
            words = {
                "left": f"{amount(left, 'picture')} still to be looked through for damage and near copies.",
                "gone": f"{amount(left, 'picture')} could not be looked through: the files are gone or were changed. No run uses them until they are back.",
            }
            st.markdown(f":material/visibility: {words[state]}", width="stretch")
            if st.button("Look through them" if state == "left" else "Try again", key="look-through", help="It is done before training at the latest."):
                start_job("look", {"project_id": project_id})
                st.rerun()
    _taken_out(project_id)
    return False


def _follow(job: Run) -> None:
    def tick() -> None:
        with ui.guard():
            now = outcome(job)
            if not now.active:
                st.rerun()
            # folded as the import's report is that comes in its place: nothing below moves
            with st.expander(f"All pictures are here; {_how_far(now.done, now.total)}", icon=":material/visibility:", key="looking"):
                st.markdown("Each is looked through once, for damage and near copies, before it gets its place in training or test. Go on meanwhile.")
                st.progress(now.share or 0.0)
                if st.button(
                    "Stop", key="stop-looking", icon=":material/stop_circle:", help="The pictures stay; the rest is looked through when it is needed."
                ):
                    runs.stop(job)

    st.fragment(tick, run_every=_TICK_SECONDS)()


def _how_far(done: int, total: int) -> str:
    return f"{done:,} of {total:,} looked through" if total else "now they are looked through"


def _taken_out(project_id: str) -> None:
    """Name the damaged pictures that no import's report names, since it was stopped."""
    found = looking.taken_out(project_id)
    if found:
        with st.expander(f"{amount(len(found), 'damaged picture')} taken out of the project", icon=":material/broken_image:", key="taken-out"):
            skipped_list([{"name": one.name, "reason": one.problem} for one in found])


def wait_until_seen(project_id: str) -> None:
    """Have a worker look through what is left, and wait for it: decoding is no work for the process that serves the pages."""
    state = unseen(project_id)
    if state not in ("at work", "left"):
        return
    with st.spinner(f"Looking through {amount(looking.left(project_id), 'picture')} first"):
        job = _at_work(project_id) or start_job("look", {"project_id": project_id})
        while outcome(job).active:
            time.sleep(_LOOKED_AT_SECONDS)
