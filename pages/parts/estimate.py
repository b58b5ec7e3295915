"""The dry run's answer before Start: how long, how much memory, and which way of computing was fastest here."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engine import runs
from engine.data import projects
from engine.data.projects import Project
from engine.models.dense.options import SETTINGS as ARCHITECTURE
from engine.recipe import Recipe
from pages.parts.jobs import Outcome, drop_job, job_for, newest_jobs, outcome
from pages.parts.wording import amount, duration, megabytes

__all__ = ["PURPOSE", "estimate_panel", "estimate_state", "stop_estimates"]

PURPOSE = "estimate"

_COUNTS = (
    "start",
    "phases",
    "preset",
    "epochs",
    "image_size",
    "batch_size",
    "freeze_depth",
    "reuse_depth",
    "precision",
    "layout",
    "threads",
    "device",
    "mixup",
    "cutmix",
    "ema",
    "optimizer",
    *ARCHITECTURE,
)
"""Settings that change how long training takes or what fits; the others don't make a new dry run."""


def _request(project: Project, recipe: Recipe) -> dict[str, Any]:
    counted = {key: getattr(recipe, key) for key in _COUNTS}
    labelled = projects.summary(project.id).labelled  # more pictures take longer: then it is another question
    return {"recipe": {"task": recipe.task, **counted}, "project_id": project.id, "pictures": labelled}


def estimate_state(project: Project, recipe: Recipe) -> Outcome:
    """Start the dry run for these settings where there is none yet, and say where it stands. One that was stopped for a run is done again."""
    job = job_for(PURPOSE, "estimate", _request(project, recipe))
    if runs.state(job) == "stopped":
        drop_job(PURPOSE)
        job = job_for(PURPOSE, "estimate", _request(project, recipe))
    return outcome(job)


def stop_estimates() -> None:
    """Stop every dry run that is at work, whichever page asked for it, so that none holds up a run."""
    drop_job(PURPOSE)
    for job in newest_jobs("estimate"):
        if runs.state(job) in ("waiting", "running"):
            runs.stop(job)


def estimate_panel(now: Outcome | None) -> None:
    """Show the estimate; its place is kept while it is being made. None means that the device is busy with a run."""
    result = now.result or {} if now else {}
    st.markdown("**Before you start**")
    with st.grid("auto", min_column_width=110, gap="small"):
        st.metric("Time", duration(result.get("seconds")), help="Measured by training a few steps on this machine.", border=True)
        st.metric("Memory", megabytes(result.get("memory_mb") or None), help="The most that training will need.", border=True)
        st.metric("Batch", str(result.get("batch_size") or "–"), help="Batch size: pictures per training step that fit this machine.", border=True)
        speed = result.get("images_per_s")
        st.metric("Pictures/s", f"{speed:,.0f}" if speed else "–", help="Speed of fine-tuning the whole network.", border=True)
    if now is None:
        st.caption(":material/hourglass_top: The estimate waits while a run uses the device. You can start all the same: the new run queues up.")
    elif now.active:
        st.caption(f":material/speed: Trying a few steps on this machine… {now.words}. You need not wait for it.")
    elif now.problem:
        st.caption(f":material/warning: No estimate: {now.problem}. {now.remedy}")
        if st.button("Try again", key="estimate-again", type="tertiary"):
            drop_job(PURPOSE)
            st.rerun()
    else:
        st.caption(":material/check: Measured on this machine with your settings.")
        if result.get("epochs"):
            words = f"{amount(result['epochs'], 'pass', 'passes')} over your {amount(result['pictures'], 'training picture')}"
            st.caption(f":material/auto_awesome: {words}: the fewer pictures, the more often each is seen.")
    _table(result.get("table") or [])


def _table(rows: list[dict[str, Any]]) -> None:
    """Show what was tried: precision x memory layout. The place is kept while there is nothing."""
    with st.expander("What is fastest here", icon=":material/table_chart:"):
        if not rows:
            st.caption("Shown once the few steps have been tried.")
            return
        table = pd.DataFrame(
            {
                "": ["✓ chosen" if row.get("chosen") else "" for row in rows],
                "Precision": [row.get("precision") for row in rows],
                "Memory layout": [str(row.get("layout", "")).replace("_", " ") for row in rows],
                "Pictures / s": [row.get("images_per_s") for row in rows],
                "Largest difference": [row.get("max_difference") for row in rows],
            }
        )
        st.dataframe(
            table,
            hide_index=True,
            column_config={
                "Pictures / s": st.column_config.NumberColumn(format="%.0f"),
                "Largest difference": st.column_config.NumberColumn(
                    format="%.2g", help="From the answer in full precision. A faster way that computes something else is not taken."
                ),
            },
        )
