"""A run is a directory. This module makes, launches, reads, stops and lists them; `engine.worker` fills them.

    recipe.json     what the user set; never changed          (a job that is no training has request.json instead)
    version.json    the data it uses: a frozen copy of the data-set version
    events.jsonl    append-only, one writer: whoever holds `lock`
    log.txt         everything the worker and its libraries printed, tracebacks included
    lock            held for as long as a worker lives
    pressed.json    when it was last launched, and how long events.jsonl was then
    stop, pause     a request, looked at between steps
    last.*, best.*  checkpoints, replaced atomically
    report.json, predictions.npz, model.onnx, parity.json      results

State is derived, never stored: see `state`. A job (an import, an estimate, an export) has the same form.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from engine import events, locks, workspace
from engine.errors import StudioError
from engine.recipe import Recipe

__all__ = [
    "Run",
    "State",
    "by_version",
    "create_job",
    "create_run",
    "delete",
    "find",
    "find_job",
    "launch",
    "list_runs",
    "pause",
    "pressed_of",
    "read_report",
    "request_of",
    "result_of",
    "resume",
    "runs_folder",
    "state",
    "stop",
    "worker_command",
    "worker_environment",
]

State = Literal["new", "waiting", "running", "paused", "interrupted", "finished", "stopped", "failed"]

_LONGEST_ID = 200
"""Letters of an id that is asked for. Longer ones are none of ours, and file systems refuse to look for them."""

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


def by_version(project_id: str) -> dict[str, list[Run]]:
    """Return a project's runs by the id of the data-set version they use, newest first. Reads the beginnings of manifests: each may have 30 MB."""
    found: dict[str, list[Run]] = {}
    for run in list_runs(project_id):
        try:
            with run.path("version.json").open("rb") as file:
                named = re.search(rb'"id": "([0-9a-f]{64})"', file.read(200))
        except OSError:
            continue
        if named:
            found.setdefault(named[1].decode(), []).append(run)
    return found


def runs_folder(project_id: str) -> Path:
    """Return the folder that holds a project's runs."""
    return workspace.project_folder(project_id, "runs")


def _new_folder(parent: Path, prefix: str) -> Path:
    while True:
        now = time.time()
        folder = parent / f"{prefix}{time.strftime('%y%m%d-%H%M%S', time.localtime(now))}-{int(now * 1000) % 1000:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            time.sleep(0.001)
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
    lock = _take(run)
    if lock is None:
        raise StudioError(f"'{run.id}' is being worked on already", "Wait for it to end, or stop it first.")
    with lock:
        run.path("stop").unlink(missing_ok=True)
        _start(run, lock)


def _take(run: Run, patience_s: float = 5.0) -> IO[bytes] | None:
    """Take a run's lock, waiting for a worker that has said its last word to be gone; None if one is at work."""
    deadline = time.monotonic() + patience_s
    while (lock := locks.hold(run.path("lock"), blocking=False)) is None:
        if state(run) in ("waiting", "running") or time.monotonic() > deadline:
            return None
        time.sleep(0.02)
    return lock


def _start(run: Run, lock: IO[bytes]) -> None:
    from engine import warm

    run.path("pause").unlink(missing_ok=True)
    written = run.events_path.stat().st_size if run.events_path.exists() else 0
    attempt = int(pressed_of(run).get("attempt", 0)) + 1
    workspace.write_json(run.path("pressed.json"), {"t": time.time(), "offset": written, "attempt": attempt})
    if warm.hand_over(run, lock):
        return
    if not locks.HANDOVER:
        lock.close()
    with run.path("log.txt").open("ab") as log:
        subprocess.Popen(
            worker_command(str(run.folder), *(["--lock", str(lock.fileno())] if locks.HANDOVER else [])),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=_REPOSITORY,
            env=worker_environment(),
            start_new_session=True,
            pass_fds=(lock.fileno(),) if locks.HANDOVER else (),
        )


def worker_command(*arguments: str) -> list[str]:
    """Return the command line of a worker process."""
    return [sys.executable, "-m", "engine.worker", *arguments]


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker process, cold or warm; the user's own values win.

    A bounded spin keeps two threads fast on an idle machine and does not collapse beside a busy neighbour. numpy's
    thread pool is kept away: torch does the computing, and the warm worker must have no thread when it forks. Huge pages make
    fewer page faults, above all in the threads of a crew (a step of EfficientNet-Lite0 0.6 s for 0.79 s).
    """
    defaults = {
        "GOMP_SPINCOUNT": "10000",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return {**defaults, **os.environ, "GRAFT_HOME": str(workspace.home())}


def state(run: Run) -> State:
    """Derive a run's state from its lock and the last event of its latest launch.

    Which events belong to that launch is told by their place in the file, never by a clock.
    """
    return _derived(run, held=locks.is_held(run.path("lock")))


def _derived(run: Run, *, held: bool) -> State:
    pressed = pressed_of(run)
    newest = events.last(run.events_path, after=int(pressed.get("offset", 0)))
    match newest:
        case events.Ended():
            return newest.outcome
        case events.Paused():
            return "paused"
        case None | events.Queued() if held:
            return "waiting"
        case _ if held:
            return "running"
        case None if not pressed:
            return "new"
        case None if not locks.HANDOVER and time.time() - pressed["t"] < _WINDOWS_START_S:
            return "waiting"
    return "interrupted"


_WINDOWS_START_S = 20.0
"""Where a lock cannot be handed over, a fresh worker takes it itself, this long after the press at most."""


def pressed_of(run: Run) -> dict[str, Any]:
    """Return when the run was last launched; {} if never.

    `t` is in seconds since the epoch, `offset` how many bytes its event file then had, `attempt` how often it has been launched.
    """
    try:
        return json.loads(run.path("pressed.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def stop(run: Run) -> None:
    """Ask a run to stop and keep its best model.

    A run that no worker is at is ended here and now; if it has a model to keep, a worker is started that finishes it.
    """
    run.path("stop").touch()
    lock = _take(run)
    if lock is None:
        return
    with lock:
        now = _derived(run, held=False)
        unfinished = _has_unread_best(run)
        if now in ("finished", "stopped") or (now == "failed" and not unfinished):
            run.path("stop").unlink(missing_ok=True)
        elif unfinished:
            _start(run, lock)
        else:
            events.append(run.events_path, events.Ended(outcome="stopped"))


def _has_unread_best(run: Run) -> bool:
    """Tell whether there is a best checkpoint that no report and no exported model speak of yet."""
    best, results = run.path("best.safetensors"), [run.path("report.json"), run.path("model.onnx")]
    return best.exists() and any(not path.exists() or path.stat().st_mtime_ns < best.stat().st_mtime_ns for path in results)


def pause(run: Run) -> None:
    """Ask a run to save everything and leave the device.

    Raises:
        StudioError: if no worker is at it.
    """
    now = state(run)
    if now not in ("waiting", "running"):
        raise StudioError(f"'{run.id}' is {now}; there is nothing to pause", "Only a run that is at work can be paused.")
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
    folders = [root / project_id] if project_id else [folder for folder in root.glob("*") if folder.is_dir()]
    found = [Run(path) for folder in folders for path in _run_folders(folder / "runs")]
    return sorted(found, key=lambda run: run.id, reverse=True)


def _run_folders(parent: Path) -> list[Path]:
    """Return the folders of the runs in a folder. Pages ask at every click, also about a thousand runs: no object is made for what is no run."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.path for entry in entries if entry.name.startswith("run-") and os.path.exists(f"{entry.path}/recipe.json")]  # noqa: PTH110
    except FileNotFoundError:
        return []
    return [Path(name) for name in names]


def find(run_id: str) -> Run:
    """Return the run of that id, whatever its project.

    Raises:
        StudioError: if there is none.
    """
    if run_id and len(run_id) <= _LONGEST_ID and Path(run_id).name == run_id:
        for project in (workspace.home() / "projects").glob("*"):
            if (project / "runs" / run_id / "recipe.json").exists():
                return Run(project / "runs" / run_id)
    raise StudioError(f"there is no run '{run_id}'", "List them with: python -m engine runs")


def find_job(job_id: str) -> Run:
    """Return the job of that id.

    Raises:
        StudioError: if there is none.
    """
    folder = workspace.home() / "jobs" / job_id
    if job_id and len(job_id) <= _LONGEST_ID and Path(job_id).name == job_id and (folder / "request.json").exists():
        return Run(folder)
    raise StudioError(f"there is no job '{job_id}'", "Start it again.")


def delete(run: Run) -> None:
    """Remove a run and all its files.

    Raises:
        StudioError: if a worker is at it.
    """
    lock = _take(run)
    if lock is None:
        raise StudioError(f"'{run.id}' is being worked on", "Stop it first, then delete it.")
    with lock:
        if not locks.HANDOVER:
            lock.close()  # Windows renames no folder with an open file in it
        away = run.folder.with_name(f".deleted-{run.id}")
        run.folder.rename(away)  # gone in one step, however long the removal takes
    shutil.rmtree(away)


def result_of(job: Run) -> dict[str, Any] | None:
    """Return what a job left as its result, or None where there is none yet."""
    path = job.path("result.json")
    return json.loads(path.read_bytes()) if path.exists() else None


def read_report(run: Run) -> dict[str, Any] | None:
    """Return the run's report (see engine.evaluation.report), or None where there is none yet."""
    path = run.path("report.json")
    return json.loads(path.read_bytes()) if path.exists() else None
