"""Taking a data set out again: choose a form, make the zip as a job, download it."""

from __future__ import annotations

import re

import streamlit as st

from engine import runs
from engine.data import export
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts.jobs import newest_jobs, outcome, start_job
from pages.parts.state import show_error
from pages.parts.text import plain
from pages.parts.wording import amount

__all__ = ["export_button"]


def export_button(project: Project) -> None:
    """Offer to take pictures and labels out in a form that other tools read."""
    with st.popover("Take the data out", icon=":material/upload:", key="export-data"):
        forms = export.fitting(project.task)
        form = st.radio("As", forms, format_func=lambda one: one.title, captions=[one.words for one in forms], key=f"export-form-{project.id}")
        pictures = st.toggle("With the pictures", value=True, key=f"export-pictures-{project.id}", help="Off: only the labels.")
        if form is None:
            return
        name = re.sub(r"[^\w.-]+", "-", project.name).strip("-.")[:60] or "data"
        request = {"project_id": project.id, "format": form.key, "pictures": pictures, "name": f"{name}-{form.key}.zip"}
        if st.button("Make the file", key="make-export", icon=":material/folder_zip:"):
            start_job("data-export", request)
        _newest(project)


def _newest(project: Project) -> None:
    """Follow the project's newest export and hand out its file."""

    def tick() -> None:
        job = next((job for job in newest_jobs("data-export") if runs.request_of(job).get("project_id") == project.id), None)
        if job is None:
            return
        now = outcome(job)
        if now.active:
            st.progress(now.share or 0.0, text=f"{round(100 * (now.share or 0.0))} %")
        elif now.problem:
            show_error(StudioError(now.problem, now.remedy))
        elif now.result:
            size_mb = max(0.1, now.result["bytes"] / 1e6)
            st.markdown(f"{amount(now.result['pictures'], 'picture')} with {amount(now.result['labels'], 'label')}, {size_mb:,.1f} MB.")
            for words in now.result["lost"]:
                st.caption(f":material/info: {plain(words, 300)}")
            st.link_button("Download", f"/graft/download/job/{job.id}", icon=":material/download:")

    st.fragment(tick, run_every=1.0)()
