"""engine.worker, with real processes: the run's lock, the queue, the last word. Jobs that need no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from engine import events, locks, runs, worker, workspace
from engine.data import items, projects
from engine.recipe import recipe_from


def until(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def pictures(folder: Path, each: int = 4) -> Path:
    for shade, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            Image.new("RGB", (32, 32), (200 * shade + number, 10 * number, 20)).save(folder / name / f"{number}.png")
    return folder


def said(run: runs.Run) -> list[events.Event]:
    return events.read_from(run.events_path)[0]


def over(run: runs.Run) -> str:
    until(lambda: runs.state(run) not in ("waiting", "running") and not locks.is_held(run.path("lock")))
    return runs.state(run)


def test_an_import_runs_in_a_worker_without_torch(home: Path, tmp_path: Path) -> None:
    project = projects.create("shades")
    job = runs.create_job("import", {"project_id": project.id, "path": str(pictures(tmp_path / "p")), "in_place": None})
    runs.launch(job)
    assert over(job) == "finished"
    kinds = [event.kind for event in said(job)]
    assert (kinds[0], kinds[-1]) == ("started", "ended")
    assert "progress" in kinds
    assert runs.result_of(job)["added"] == 8
    assert sorted(items.classes(project.id)) == ["dark", "light"]


@pytest.mark.parametrize(
    ("request_", "problem", "remedy"),
    [
        ({"kind": "dance"}, "no worker knows the job 'dance'", "train, estimate"),
        ({"kind": "import", "project_id": "nobody", "path": "/nowhere"}, "nobody", ""),
        ({"kind": "import"}, "something in Graft went wrong: KeyError", "log"),
    ],
)
def test_what_cannot_be_done_ends_in_a_sentence(home: Path, request_, problem: str, remedy: str) -> None:
    job = runs.create_job(request_["kind"], request_)
    runs.launch(job)
    assert over(job) == "failed"
    ended = said(job)[-1]
    assert isinstance(ended, events.Ended)
    assert problem in ended.problem
    assert remedy in ended.remedy
    log = job.path("log.txt").read_text()
    assert ("Traceback" in log) == ("went wrong" in problem)  # our faults leave a traceback, the user's do not
    assert not job.path(".reserve").exists()


def waiting_run(project_id: str = "p1") -> runs.Run:
    return runs.create_run(project_id, recipe_from({"device": "cpu"}), {"id": "v", "classes": ["a", "b"], "items": []})


def is_light(pid: int) -> bool:
    return "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def worker_pid(run: runs.Run) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(run.folder).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                return int(process.name)
        except OSError:
            continue
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_waiting_run_costs_no_torch_and_leaves_when_asked(home: Path) -> None:
    with locks.hold(workspace.locks_folder() / "cpu.lock"):
        stopped, paused, gone = waiting_run(), waiting_run(), waiting_run()
        for run in (stopped, paused, gone):
            runs.launch(run)
        assert until(lambda: all(isinstance(events.last(run.events_path), events.Queued) for run in (stopped, paused, gone)))
        assert {runs.state(run) for run in (stopped, paused, gone)} == {"waiting"}
        assert is_light(worker_pid(gone))
        runs.stop(stopped)
        runs.pause(paused)
        os.kill(worker_pid(gone), signal.SIGTERM)
        assert (over(stopped), over(paused), over(gone)) == ("stopped", "paused", "interrupted")
    assert list(workspace.locks_folder().glob("cpu.queue/*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_nothing_that_happens_to_the_launcher_touches_the_worker(home: Path) -> None:
    run = waiting_run()
    code = f"import pathlib, time; from engine import runs; runs.launch(runs.Run(pathlib.Path({str(run.folder)!r}))); print('up', flush=True); time.sleep(60)"
    with locks.hold(workspace.locks_folder() / "cpu.lock"):
        launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "up\n"
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        assert until(lambda: isinstance(events.last(run.events_path), events.Queued))
        assert runs.state(run) == "waiting"
        runs.stop(run)
        assert over(run) == "stopped"


def test_a_worker_by_hand_takes_the_lock_or_says_that_it_cannot(home: Path) -> None:
    job = runs.create_job("dance", {})
    with locks.hold(job.path("lock")):
        refused = subprocess.run(runs.worker_command(str(job.folder)), capture_output=True, text=True, check=False)
    assert (refused.returncode, "is being worked on already" in refused.stderr) == (2, True)
    assert subprocess.run(runs.worker_command(str(job.folder)), check=False).returncode == 1
    assert runs.state(job) == "failed"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MemoryError(), "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "ran out of memory"),
        (OSError(28, "No space left on device"), "the disk is full"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (ZeroDivisionError("division\nby zero"), "something in Graft went wrong: ZeroDivisionError: division by zero"),
    ],
)
def test_known_faults_have_their_own_words(home: Path, error: Exception, problem: str) -> None:
    found, remedy = worker._sentence(error, waiting_run())
    assert problem in found
    assert "Resume" in remedy


def test_every_kind_of_job_has_one_row() -> None:
    assert set(worker.JOBS) == {"train", "estimate", "import", "look", "export", "data-export", "download", "xray", "check", "suggest", "propose"}
    assert {kind for kind, job in worker.JOBS.items() if job.on_device} == {"train", "estimate"}
