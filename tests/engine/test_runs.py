"""engine.runs: a run is a directory, and its state is read off its lock and its last event. With real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import events, locks, runs, workspace
from engine.errors import StudioError
from engine.events import Ended, Paused, Queued, Started, Step
from engine.recipe import recipe_from

HOLDER = "import sys; from pathlib import Path; from engine import locks; held = locks.hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
QUEUED, STARTED, STEP = Queued(device="cpu"), Started(pid=1, device="cpu"), Step(phase="head", step=1, steps=2, loss=1.0)
PAUSED = Paused(step=1)
FINISHED, STOPPED, FAILED = (Ended(outcome=outcome) for outcome in ("finished", "stopped", "failed"))  # type: ignore[arg-type]


@pytest.fixture
def run(home: Path) -> runs.Run:
    return runs.create_run("p1", recipe_from({"name": "mine"}), {"id": "v", "classes": ["a", "b"], "items": []})


@pytest.fixture
def hold():
    """Have another process hold a run's lock, until the test ends or `let_go` is called."""
    processes: list[subprocess.Popen[str]] = []

    def begin(run: runs.Run) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run.path("lock"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def press(run: runs.Run, *, t: float | None = None) -> None:
    """Note a launch as `launch` does, without starting a worker."""
    size = run.events_path.stat().st_size if run.events_path.exists() else 0
    workspace.write_json(run.path("pressed.json"), {"t": time.time() if t is None else t, "offset": size})


@pytest.mark.parametrize(
    ("before", "after", "held", "state"),
    [
        ([], None, False, "new"),
        ([], [], False, "interrupted"),
        ([], [], True, "waiting"),
        ([], [QUEUED], True, "waiting"),
        ([], [QUEUED], False, "interrupted"),
        ([], [QUEUED, STARTED], True, "running"),
        ([], [QUEUED, STARTED, STEP], True, "running"),
        ([], [QUEUED, STARTED, STEP], False, "interrupted"),
        ([], [QUEUED, STARTED, PAUSED], False, "paused"),
        ([], [QUEUED, STARTED, PAUSED], True, "paused"),  # the worker has said its last word and is on its way out
        ([], [STARTED, FINISHED], False, "finished"),
        ([], [STARTED, FINISHED], True, "finished"),
        ([], [STARTED, STOPPED], False, "stopped"),
        ([], [STARTED, FAILED], False, "failed"),
        # resumed: what an earlier worker said no longer counts
        ([STARTED, STEP], [], True, "waiting"),
        ([STARTED, PAUSED], [], True, "waiting"),
        ([STARTED, PAUSED], [], False, "interrupted"),
        ([STARTED, FAILED], [], True, "waiting"),
        ([STARTED, FAILED], [], False, "interrupted"),
        ([STARTED, FAILED], [QUEUED, STARTED], True, "running"),
        ([STARTED, FAILED], [QUEUED, STARTED, FINISHED], False, "finished"),
    ],
)
def test_state(run: runs.Run, hold, before, after, held: bool, state: str) -> None:
    for event in before:
        events.append(run.events_path, event)
    if after is not None:
        press(run)
    for event in after or []:
        events.append(run.events_path, event)
    if held:
        hold(run)
    assert runs.state(run) == state


@pytest.mark.parametrize("t", [0.0, 4e9])
def test_no_clock_can_confuse_the_state(run: runs.Run, t: float) -> None:
    press(run, t=t)
    events.append(run.events_path, STARTED)
    events.append(run.events_path, Ended(outcome="finished", t=1e9 if t else 1e12))
    assert runs.state(run) == "finished"


def test_a_torn_last_line_hides_nothing(run: runs.Run, hold) -> None:
    press(run)
    for event in (STARTED, STEP):
        events.append(run.events_path, event)
    with run.events_path.open("ab") as file:
        file.write(b'{"kind": "ended", "outc')
    assert runs.state(run) == "interrupted"
    press(run)
    events.append(run.events_path, PAUSED)
    assert runs.state(run) == "paused"


def test_a_killed_worker_reads_interrupted_at_once_even_as_a_zombie(run: runs.Run, hold) -> None:
    press(run)
    events.append(run.events_path, STARTED)
    process = hold(run)
    assert runs.state(run) == "running"
    process.kill()
    deadline = time.monotonic() + 5
    while runs.state(run) == "running" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert runs.state(run) == "interrupted"


def test_a_run_is_worked_on_once(run: runs.Run, hold) -> None:
    press(run)
    events.append(run.events_path, STARTED)
    hold(run)
    with pytest.raises(StudioError, match="being worked on already"):
        runs.launch(run)
    with pytest.raises(StudioError, match="is running; there is nothing to resume"):
        runs.resume(run)
    with pytest.raises(StudioError, match="Stop it first"):
        runs.delete(run)


def test_stop_and_pause_are_files_for_a_worker(run: runs.Run, hold) -> None:
    with pytest.raises(StudioError, match="is new; there is nothing to pause"):
        runs.pause(run)
    press(run)
    events.append(run.events_path, STARTED)
    hold(run)
    runs.pause(run)
    runs.stop(run)
    assert run.path("pause").exists()
    assert run.path("stop").exists()
    assert runs.state(run) == "running"


@pytest.mark.parametrize("said", [[], [STARTED, STEP], [STARTED, PAUSED]])
def test_stopping_what_no_worker_is_at_ends_it_here_and_now(run: runs.Run, said) -> None:
    press(run)
    for event in said:
        events.append(run.events_path, event)
    runs.stop(run)
    assert runs.state(run) == "stopped"


@pytest.mark.parametrize("last", [FINISHED, STOPPED, FAILED])
def test_stopping_what_is_over_changes_nothing(run: runs.Run, last: Ended) -> None:
    press(run)
    events.append(run.events_path, last)
    runs.stop(run)
    assert runs.state(run) == last.outcome
    assert not run.path("stop").exists()


def test_stopping_waits_for_a_worker_that_has_said_its_last_word(run: runs.Run, hold) -> None:
    press(run)
    events.append(run.events_path, PAUSED)
    process = hold(run)
    assert process.stdin is not None
    process.stdin.close()  # it leaves now
    runs.stop(run)
    assert runs.state(run) == "stopped"


def test_runs_are_listed_newest_first_and_found_by_id(home: Path) -> None:
    recipe, version = recipe_from({}), {"items": []}
    made = [runs.create_run(project, recipe, version) for project in ("p1", "p2", "p1")]
    assert [run.id for run in runs.list_runs()] == [run.id for run in reversed(made)]
    assert [run.id for run in runs.list_runs("p1")] == [made[2].id, made[0].id]
    assert runs.find(made[1].id).project_id == "p2"
    runs.delete(made[1])
    assert len(runs.list_runs()) == 2


@pytest.mark.parametrize("name", ["", "run-*", "..", "../p1", "a/b", "/etc", "run-nobody"])
def test_what_is_no_run_is_refused(run: runs.Run, name: str) -> None:
    for find in (runs.find, runs.find_job):
        with pytest.raises(StudioError, match="there is no (run|job)"):
            find(name)


def test_a_job_has_the_same_form(home: Path) -> None:
    job = runs.create_job("download", {"backbone": "x"})
    assert runs.request_of(job) == {"kind": "download", "backbone": "x"}
    assert runs.find_job(job.id).folder == job.folder
    assert runs.state(job) == "new"
    assert runs.result_of(job) is None


def test_the_worker_gets_the_workspace_whatever_the_folder_it_starts_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("GRAFT_HOME", "relative")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    environment = runs.worker_environment()
    assert environment["GRAFT_HOME"] == str(home / "relative")
    assert environment["GOMP_SPINCOUNT"] == "7"


def test_locks_are_where_state_looks(run: runs.Run) -> None:
    with locks.hold(run.path("lock")):
        assert runs.state(run) == "waiting"
