"""Downloads of weights on the Start page: begun, found again, followed while they run, and why one failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from engine import runs
from engine.runs import Run
from pages.parts.jobs import newest_jobs, outcome, start_job
from pages.parts.text import plain, sentence

__all__ = ["begin_download", "downloads_of", "follow_downloads"]

_WATCHED = "_downloads"


def begin_download(name: str) -> None:
    """Fetch a backbone, or 'ready/KEY' a finished model, and remember that this session asked for it."""
    st.session_state.setdefault(_WATCHED, set()).add(start_job("download", {"backbone": name}).id)


def downloads_of(wanted: Callable[[str], bool]) -> dict[str, Run]:
    """Return the newest download of each name that is wanted."""
    found: dict[str, Run] = {}
    for job in newest_jobs("download"):
        if wanted(name := str(runs.request_of(job).get("backbone", ""))):
            found.setdefault(name, job)
    return found


def follow_downloads(downloads: Mapping[str, Run], title_of: Callable[[str], str]) -> None:
    """Show downloads under way, and why one that this session started failed; one full rerun when one is over."""
    active = {name: job for name, job in downloads.items() if outcome(job).active}
    for name, job in downloads.items():
        if job.id in st.session_state.get(_WATCHED, ()) and (problem := outcome(job)).problem:
            st.error(sentence(f"{title_of(name)}: {problem.problem}", problem.remedy), icon=":material/cloud_off:")

    def tick() -> None:
        for name, job in active.items():
            now = outcome(job)
            if not now.active:
                st.rerun()
            with st.container(horizontal=True, vertical_alignment="center"):
                st.progress(now.share or 0.0, text=f"Downloading {plain(title_of(name))}", width="stretch")
                if st.button("Stop", key=f"stop-{name}", type="tertiary", icon=":material/close:"):
                    runs.stop(job)

    if active:
        st.fragment(tick, run_every=0.5)()
