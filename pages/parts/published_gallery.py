"""Finished models that can be fetched, on the Start page: what each finds and how well, its licence accepted once, its download, then tried or retrained."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engine.data.projects import Project
from engine.models import catalogue, published
from engine.models.published import Published
from engine.runs import Run
from pages.parts.downloads import begin_download, downloads_of, follow_downloads
from pages.parts.jobs import outcome
from pages.parts.text import plain
from pages.parts.wording import megabytes, percent

__all__ = ["published_gallery", "try_or_retrain"]


def published_gallery(project: Project, chosen: catalogue.Start | None, pick: Callable[[Project, str], None]) -> bool:
    """Show the finished models of a project's task; tell whether there are any. `pick` keeps a starting point."""
    rows = published.list_published(project.task)
    if not rows:
        return False
    st.caption("None of these comes with Graft: each is fetched once from where it says (a network is needed), then it works without one.")
    jobs = downloads_of(lambda name: name.startswith("ready/"))
    with st.grid("auto", min_column_width=300, gap="small"):
        for row in rows:
            with st.container(border=True, height="stretch", gap="xsmall", key=f"published-{row.key}"):
                _card(project, row, chosen, pick, jobs.get(f"ready/{row.key}"))
    follow_downloads(jobs, lambda name: published.find(name).title)
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
        f"trained on {plain(row.trained_on)} · licence [{plain(row.licence)}]({row.licence_source}) · from {plain(row.place)}"
    )
    st.space("stretch")
    if not row.here:
        _fetch(row, job)
        return
    try_or_retrain(project, row.key, chosen, pick)


def try_or_retrain(project: Project, key: str, chosen: catalogue.Start | None, pick: Callable[[Project, str], None]) -> None:
    """Offer a ready model that is here to Try, and as a starting point."""
    name = f"ready/{key}"
    with st.container(horizontal=True):
        if st.button("Try it now", key=f"try-{key}", icon=":material/photo_camera:"):
            st.session_state["tried-models"] = [name]  # what the Try page reads its choice from
            st.switch_page("try_it.py")
        if chosen is not None and chosen.key == name:
            st.button("Chosen", key=f"pick-{key}", icon=":material/check:", type="primary")
        else:
            st.button("Retrain it", key=f"pick-{key}", icon=":material/model_training:", on_click=pick, args=(project, name))


def _fetch(row: Published, job: Run | None) -> None:
    """Offer the download: the first time with its licence, which is asked once."""
    if job is not None and outcome(job).active:
        st.button("Downloading…", key=f"fetch-{row.key}", icon=":material/downloading:", width="stretch", disabled=True)
        return
    accepted = row.accepted or st.checkbox(f"I accept its licence ({row.licence})", key=f"accept-{row.key}")
    label = f"Download, about {megabytes(row.megabytes)}"
    if st.button(label, key=f"fetch-{row.key}", icon=":material/download:", width="stretch", disabled=not accepted):
        published.accept(row.key)
        begin_download(f"ready/{row.key}")
        st.rerun()
