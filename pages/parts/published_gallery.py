"""Finished models of the hub on the Start page: what each finds and how well, its licence accepted once, its download, then tried or retrained."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engine import runs
from engine.data.projects import Project
from engine.models import catalogue, published
from engine.models.published import Published
from engine.runs import Run
from pages.parts.jobs import newest_jobs, outcome, start_job
from pages.parts.text import plain, sentence
from pages.parts.wording import megabytes, percent

__all__ = ["published_gallery"]

_WATCHED = "_published-downloads"


def published_gallery(project: Project, chosen: catalogue.Start | None, pick: Callable[[Project, str], None]) -> bool:
    """Show the finished models of a project's task; tell whether there are any. `pick` keeps a starting point."""
    rows = published.list_published(project.task)
    if not rows:
        return False
    st.caption("None of these comes with Graft: each is fetched once from its makers' place on the hub (a network is needed), then it works without one.")
    jobs = _downloads()
    with st.grid("auto", min_column_width=300, gap="small"):
        for row in rows:
            with st.container(border=True, height="stretch", gap="xsmall", key=f"published-{row.key}"):
                _card(project, row, chosen, pick, jobs.get(f"ready/{row.key}"))
    _follow(jobs)
    return True


def _card(project: Project, row: Published, chosen: catalogue.Start | None, pick: Callable[[Project, str], None], job: Run | None) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{plain(row.title)}**", width="content")
        if row.here:
            st.badge("On this computer", icon=":material/check_circle:", color="green")
        else:
            st.badge("To download", icon=":material/cloud_download:", color="blue")
    st.markdown(plain(row.words))
    st.caption(
        f"{percent(row.figure / 100)} {plain(row.figure_title)} ([source]({row.figure_source})) · {row.params_m:g} M parameters · {row.image_size} px · "
        f"trained on {plain(row.trained_on)} · licence [{plain(row.licence)}]({row.licence_source})"
    )
    st.space("stretch")
    if not row.here:
        _fetch(row, job)
        return
    key = f"ready/{row.key}"
    with st.container(horizontal=True):
        if st.button("Try it now", key=f"try-{row.key}", icon=":material/photo_camera:"):
            st.session_state["tried-models"] = [key]  # what the Try page reads its choice from
            st.switch_page("try_it.py")
        if chosen is not None and chosen.key == key:
            st.button("Chosen", key=f"pick-{row.key}", icon=":material/check:", type="primary")
        else:
            st.button("Retrain it", key=f"pick-{row.key}", icon=":material/model_training:", on_click=pick, args=(project, key))


def _fetch(row: Published, job: Run | None) -> None:
    """Offer the download: the first time with its licence, which is asked once."""
    if job is not None and outcome(job).active:
        st.button("Downloading…", key=f"fetch-{row.key}", icon=":material/downloading:", width="stretch", disabled=True)
        return
    accepted = row.accepted or st.checkbox(f"I accept its licence ({row.licence})", key=f"accept-{row.key}")
    label = f"Download, about {megabytes(row.megabytes)}"
    if st.button(label, key=f"fetch-{row.key}", icon=":material/download:", width="stretch", disabled=not accepted):
        published.accept(row.key)
        st.session_state.setdefault(_WATCHED, set()).add(start_job("download", {"backbone": f"ready/{row.key}"}).id)
        st.rerun()


def _downloads() -> dict[str, Run]:
    """Return the newest download of each finished model, by its name."""
    found: dict[str, Run] = {}
    for job in newest_jobs("download"):
        found.setdefault(str(runs.request_of(job).get("backbone", "")), job)
    return found


def _follow(jobs: dict[str, Run]) -> None:
    """Show downloads under way, and why one that this session started failed; one full rerun when one is over."""
    mine = {name: job for name, job in jobs.items() if name.startswith("ready/")}
    active = {name: job for name, job in mine.items() if outcome(job).active}
    for job in mine.values():
        if job.id in st.session_state.get(_WATCHED, ()) and (problem := outcome(job)).problem:
            st.error(sentence(problem.problem, problem.remedy), icon=":material/cloud_off:")

    def tick() -> None:
        for name, job in active.items():
            now = outcome(job)
            if not now.active:
                st.rerun()
            with st.container(horizontal=True, vertical_alignment="center"):
                st.progress(now.share or 0.0, text=f"Downloading {plain(published.find(name).title)}", width="stretch")
                if st.button("Stop", key=f"stop-{name}", type="tertiary", icon=":material/close:"):
                    runs.stop(job)

    if active:
        st.fragment(tick, run_every=0.5)()
