"""Imports as the Data page shows them: the newest one of a project, wherever it was started, its progress and what it left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine import events, runs, workspace
from engine.errors import StudioError
from engine.runs import Run
from pages.parts.jobs import outcome
from pages.parts.state import show_error
from pages.parts.text import plain
from pages.parts.wording import amount, duration

__all__ = ["grouped", "import_progress", "import_report", "newest_import", "skipped_list", "start_import"]

_LOOKED_AT = 40
_LISTED = 2000


def start_import(project_id: str, path: str, in_place: bool, mapping: Mapping[str, str | None] | None = None) -> Run:
    """Launch an import; it goes on whatever happens to this page. `mapping` renames classes, or leaves them out (None)."""
    job = runs.create_job("import", {"project_id": project_id, "path": path, "in_place": in_place, "mapping": dict(mapping or {})})
    runs.launch(job)
    return job


def newest_import(project_id: str) -> Run | None:
    """Return the project's newest import job, if it is among the last few of the workspace."""
    folders = sorted((workspace.home() / "jobs").glob("import-*"), reverse=True)[:_LOOKED_AT]
    for folder in folders:
        job = Run(folder)
        try:
            if runs.request_of(job).get("project_id") == project_id:
                return job
        except StudioError:
            continue
    return None


def import_progress(job: Run) -> bool:
    """Show how far an import is; return whether its pictures are still on their way into the project."""
    now = outcome(job)
    if not now.active or now.phase == "look":
        return False
    with st.container(border=True):
        title = now.words if now.phase else "Reading your pictures"
        st.markdown(f":material/downloading: **{title}.** You may leave this page; it goes on.")
        st.progress(now.share or 0.0, text=_how_far(job, now.share))
        if st.button("Stop", key="stop-import", icon=":material/stop_circle:", help="Nothing is added then."):
            runs.stop(job)
    return True


def _how_far(job: Run, share: float | None) -> str:
    """Say how much is done and how long the rest will take, once that can be told."""
    if share is None:
        return "Looking at what is there"
    found, _ = events.read_from(job.events_path)
    begun = max((place for place, event in enumerate(found) if isinstance(event, events.Phase)), default=0)
    steps = [event for event in found[begun:] if isinstance(event, events.Progress)]
    words = f"{round(100 * share)} %"
    if len(steps) > 1 and steps[-1].done > steps[0].done:
        pace = (steps[-1].t - steps[0].t) / (steps[-1].done - steps[0].done)
        words += f" · {steps[-1].done:,} of {amount(steps[-1].total, 'picture')} · about {duration(pace * (steps[-1].total - steps[-1].done))} left"
    return words


def import_report(job: Run, *, expanded: bool) -> None:
    """Show what an import did and what it left out, or why it failed."""
    now = outcome(job)
    if now.problem and now.phase == "look" and runs.state(job) in ("stopped", "interrupted"):  # the pictures are in
        return None
    if now.problem:
        return show_error(StudioError(now.problem, now.remedy))
    report = now.result
    if not report:
        return None
    with st.expander(_headline(report), icon=":material/inventory:", expanded=expanded):
        words = [f"{amount(report['added'], 'picture')} added in {duration(report.get('seconds'))}."]
        if report.get("labels"):
            words.append(f"{amount(report['labels'], 'label')} came with them ({plain(report.get('format', ''))}).")
        if report.get("relabelled"):
            words.append(f"{amount(report['relabelled'], 'picture')} that had no class now have one.")
        st.markdown(" ".join(words))
        for problem in report.get("problems", []):
            st.markdown(f":material/info: {plain(problem[:1].upper() + problem[1:], 400)}.")
        skipped_list(report.get("skipped", []))
    return None


def _headline(report: Mapping[str, Any]) -> str:
    skipped = len(report.get("skipped", []))
    return f"Last import: {report['added']:,} added" + (f", {skipped:,} left out" if skipped else ", nothing left out")


def grouped(skipped: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Count reasons, those that differ only by a name taken together, the most frequent first."""
    return dict(Counter(_kind(row["name"], row["reason"]) for row in skipped).most_common())


def _kind(name: str, reason: str) -> str:
    reason = reason.removeprefix(f"{name} ").removeprefix("is ")
    if reason.startswith("the same picture as"):
        return "the same picture twice, with another class" if "but that one is" in reason else "the same picture twice"
    return reason.partition(": ")[0].partition(" (")[0]


def skipped_list(skipped: Sequence[Mapping[str, str]]) -> None:
    """Say what was left out and why: counts by reason, then every name."""
    if not skipped:
        return
    st.markdown(f"**Left out: {amount(len(skipped), 'file')}**")
    st.markdown("\n".join(f"- {count:,} × {plain(reason)}" for reason, count in grouped(skipped).items()))
    rows = [{"File": row["name"], "Why it was left out": row["reason"].removeprefix(f"{row['name']} ")} for row in skipped[:_LISTED]]
    # narrow enough that a phone shows something of both
    columns = {"File": st.column_config.TextColumn(width=160), "Why it was left out": st.column_config.TextColumn(width=180)}
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=min(300, 38 + 35 * len(rows)), column_config=columns)
    if len(skipped) > _LISTED:
        st.caption(f"The first {_LISTED:,} of {len(skipped):,} are listed.")
