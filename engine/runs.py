"""A run is a directory. This module makes, launches, reads, stops and lists them; `engine.worker` fills them.

    recipe.json     what the user set; never changed          (a job that is no training has request.json instead)
    version.json    the data it uses: a frozen copy of the data-set version
    events.jsonl    append-only, one writer: whoever holds `lock`
    log.txt         everything the worker and its libraries printed, tracebacks included
    lock            held for as long as a worker lives
    stop, pause     a request, looked at between steps
    last.*, best.*  checkpoints, replaced atomically
    report.json, predictions.npz, model.onnx, parity.json      results

State is derived, never stored: see `state`. A job (an import, an estimate, an export) has the same form.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import events, locks, workspace
from engine.errors import StudioError
from engine.recipe import Recipe

__all__ = ["Run", "State", "create_job", "create_run", "delete", "find", "launch", "list_runs", "pause", "request_of", "resume", "runs_folder", "state", "stop"]

State = Literal["new", "waiting", "running", "paused", "interrupted", "finished", "stopped", "failed"]

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """One run or job, by its directory."""

    folder: Path

    @property
    def id(self) -> str:
        """The name users and links know it by."""
        return self.folder.name

    @property
    def project_id(self) -> str:
        """The project it belongs to (jobs carry it in their request)."""
        return self.folder.parent.parent.name

    @property
    def recipe(self) -> Recipe:
        """What the user set. Read from disk at each call; a recipe never changes."""
        return Recipe.model_validate(workspace.read_json(self.folder / "recipe.json"))

    @property
    def name(self) -> str:
        """The user's name for it, or a readable form of its id."""
        return self.recipe.name or self.id

    def path(self, name: str) -> Path:
        """Return the path of one of the run's files."""
        return self.folder / name

    @property
    def events_path(self) -> Path:
        """The run's event file."""
        return self.folder / "events.jsonl"


def runs_folder(project_id: str) -> Path:
    """Return the folder that holds a project's runs."""
    return workspace.project_folder(project_id, "runs")


def _new_folder(parent: Path, prefix: str) -> Path:
    stamp = time.strftime("%m%d-%H%M%S")
    while True:
        folder = parent / f"{prefix}{stamp}-{secrets.token_hex(2)}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder


def create_run(project_id: str, recipe: Recipe, version: Mapping[str, Any]) -> Run:
    """Make a training run's directory: its recipe and a frozen copy of the data-set version. Nothing starts yet."""
    run = Run(_new_folder(runs_folder(project_id), "run-"))
    workspace.write_json(run.path("version.json"), version)
    workspace.write_json(run.path("recipe.json"), recipe.model_dump())
    return run


def create_job(kind: str, request: Mapping[str, Any]) -> Run:
    """Make the directory of a job that is no training: `kind` names it in `engine.worker`'s table."""
    job = Run(_new_folder(workspace.home() / "jobs", f"{kind}-"))
    workspace.write_json(job.path("request.json"), {"kind": kind, **request})
    return job


def request_of(run: Run) -> dict[str, Any]:
    """Return what a worker is to do: a job's request, or {'kind': 'train'} for a training run."""
    path = run.path("request.json")
    return workspace.read_json(path) if path.exists() else {"kind": "train"}


def launch(run: Run) -> None:
    """Start a worker on a run, in a session of its own, so that nothing that happens to this process touches it.

    A warm worker takes it where one waits (`engine.warm`); else a fresh process is started.

    Raises:
        StudioError: if a worker is at it already.
    """
    from engine import warm

    lock = locks.hold(run.path("lock"), blocking=False)
    if lock is None:
        raise StudioError(f"'{run.id}' is being worked on already", "Wait for it to end, or stop it first.")
    for request in ("stop", "pause"):
        run.path(request).unlink(missing_ok=True)
    workspace.write_json(run.path("pressed.json"), {"t": time.time()})
    with lock:
        if warm.hand_over(run, lock):
            return
        handover = locks.HANDOVER
        if not handover:
            lock.close()
        with run.path("log.txt").open("ab") as log:
            subprocess.Popen(
                worker_command(str(run.folder), *(["--lock", str(lock.fileno())] if handover else [])),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_REPOSITORY,
                env=worker_environment(),
                start_new_session=True,
                pass_fds=(lock.fileno(),) if handover else (),
            )


def worker_command(*arguments: str) -> list[str]:
    """Return the command line of a worker process."""
    return [sys.executable, "-m", "engine.worker", *arguments]


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker process; user's own values win.

    A bounded spin keeps two threads fast on an idle machine and does not collapse beside a busy neighbour.
    """
    return {"GOMP_SPINCOUNT": "10000", "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", **os.environ}


def state(run: Run) -> State:
    """Derive a run's state from its last event and its lock."""
    held = locks.is_held(run.path("lock"))
    newest = events.last(run.events_path)
    match newest:
        case events.Ended() if not held or not run.path("pressed.json").exists() or newest.t >= _pressed(run):
            return newest.outcome
        case events.Queued() if held:
            return "waiting"
        case events.Paused() if not held:
            return "paused"
        case None:
            return "waiting" if held else ("interrupted" if run.path("pressed.json").exists() else "new")
        case _ if held:
            return "waiting" if isinstance(newest, events.Paused | events.Ended) else "running"
    return "interrupted"


def _pressed(run: Run) -> float:
    return float(workspace.read_json(run.path("pressed.json"))["t"])


def stop(run: Run) -> None:
    """Ask a run to stop and keep its best model; a run that is not being worked on is ended here and now."""
    run.path("stop").touch()
    lock = locks.hold(run.path("lock"), blocking=False)
    if lock is None:
        return
    with lock:
        if state(run) not in ("finished", "stopped", "failed"):
            events.append(run.events_path, events.Ended(outcome="stopped"))


def pause(run: Run) -> None:
    """Ask a run to save everything and leave the device."""
    run.path("pause").touch()


def resume(run: Run) -> None:
    """Go on from the last checkpoint.

    Raises:
        StudioError: if there is nothing to resume.
    """
    now = state(run)
    if now not in ("paused", "interrupted", "failed", "stopped"):
        raise StudioError(f"'{run.id}' is {now}; there is nothing to resume", "Start a new run, or wait for this one.")
    launch(run)


def list_runs(project_id: str | None = None) -> list[Run]:
    """Return the runs of one project, or of all, newest first."""
    root = workspace.home() / "projects"
    pattern = f"{project_id or '*'}/runs/run-*"
    found = [Run(folder) for folder in root.glob(pattern) if (folder / "recipe.json").exists()]
    return sorted(found, key=lambda run: run.id, reverse=True)


def find(run_id: str) -> Run:
    """Return the run of that id, whatever its project.

    Raises:
        StudioError: if there is none.
    """
    if run_id and Path(run_id).name == run_id:
        for folder in (workspace.home() / "projects").glob(f"*/runs/{run_id}"):
            return Run(folder)
    raise StudioError(f"there is no run '{run_id}'", "List them with: python -m engine runs --project NAME")


def delete(run: Run) -> None:
    """Remove a run and all its files.

    Raises:
        StudioError: if a worker is at it.
    """
    if locks.is_held(run.path("lock")):
        raise StudioError(f"'{run.id}' is being worked on", "Stop it first, then delete it.")
    shutil.rmtree(run.folder)


def read_report(run: Run) -> dict[str, Any] | None:
    """Return the run's report (see engine.evaluation.report), or None where there is none yet."""
    path = run.path("report.json")
    return json.loads(path.read_bytes()) if path.exists() else None
