"""Jobs as pages use them: found again on disk by what they are about, so that a reload or a second browser sees the same one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from engine import events, runs, workspace
from engine.errors import StudioError
from engine.runs import Run

__all__ = ["Outcome", "drop_job", "find_job", "job_for", "newest_job_of", "newest_jobs", "outcome", "start_job", "stop_job"]

_LOOKED_AT = 60
"""Newest jobs of a kind that are looked through for one that fits."""


@dataclass(frozen=True)
class Outcome:
    """Where a job stands. `result` is set once it finished; `problem` and `remedy` if it failed; `phase` is the newest, `done` of `total` how far it is."""

    active: bool
    result: dict[str, Any] | None = None
    problem: str = ""
    remedy: str = ""
    words: str = ""
    share: float | None = None
    phase: str = ""
    done: int = 0
    total: int = 0


def find_job(kind: str, request: Mapping[str, Any]) -> Run | None:
    """Return the newest job of that kind with exactly this request that is at work or finished, or None."""
    wanted = json.loads(json.dumps({"kind": kind, **request}))
    fitting = (job for job in newest_jobs(kind) if runs.request_of(job) == wanted)
    return next((job for job in fitting if runs.state(job) in ("waiting", "running", "finished")), None)


def newest_jobs(kind: str) -> list[Run]:
    """Return the newest jobs of a kind, newest first."""
    folders = sorted((workspace.home() / "jobs").glob(f"{kind}-*"), key=lambda folder: folder.name, reverse=True)
    return [Run(folder) for folder in folders[:_LOOKED_AT] if (folder / "request.json").exists()]


def newest_job_of(kind: str, project_id: str) -> Run | None:
    """Return the newest job of a kind for a project, or None."""
    for job in newest_jobs(kind):
        try:
            if runs.request_of(job).get("project_id") == project_id:
                return job
        except StudioError:
            continue
    return None


def start_job(kind: str, request: Mapping[str, Any]) -> Run:
    """Make a job and set a worker on it."""
    job = runs.create_job(kind, request)
    runs.launch(job)
    return job


def job_for(purpose: str, kind: str, request: Mapping[str, Any]) -> Run:
    """Return the job for exactly this request, starting it where there is none; this session's older one of that purpose is stopped."""
    about = json.dumps([kind, request], sort_keys=True)
    kept = st.session_state.get(_slot(purpose))
    if kept and kept["about"] == about and Path(kept["folder"]).exists():
        return Run(Path(kept["folder"]))
    stop_job(purpose)
    job = find_job(kind, request) or start_job(kind, request)
    st.session_state[_slot(purpose)] = {"about": about, "folder": str(job.folder)}
    return job


def _slot(purpose: str) -> str:
    return f"_job-{purpose}"


def stop_job(purpose: str) -> None:
    """Stop this session's job of that purpose if it is still at work, so that it holds nothing up."""
    kept = st.session_state.pop(_slot(purpose), None)
    if kept is None or not Path(kept["folder"]).exists():
        return
    job = Run(Path(kept["folder"]))
    if runs.state(job) in ("waiting", "running"):
        runs.stop(job)


def drop_job(purpose: str) -> None:
    """Forget this session's job of that purpose, so that the next `job_for` looks again."""
    st.session_state.pop(_slot(purpose), None)


def outcome(job: Run) -> Outcome:
    """Read where a job stands."""
    state = runs.state(job)
    found, _ = events.read_from(job.events_path)
    history = events.fold(events.History(), found)
    phase = history.phase.name if history.phase else ""
    if state == "finished":
        path = job.path("result.json")
        return Outcome(False, workspace.read_json(path) if path.exists() else {}, phase=phase)
    if state in ("waiting", "running", "new"):
        progress = history.progress
        words = history.phase.title if history.phase else "Waiting for the device" if history.queued and not history.started else "Getting ready"
        done, total = (progress.done, progress.total) if progress else (0, 0)
        return Outcome(True, words=words, share=done / max(1, total) if progress else None, phase=phase, done=done, total=total)
    if history.ended and history.ended.problem:
        return Outcome(False, problem=history.ended.problem, remedy=history.ended.remedy, phase=phase)
    problem = "it was stopped" if state == "stopped" else "its process ended without a word"
    return Outcome(False, problem=problem, remedy="Try again.", phase=phase)
