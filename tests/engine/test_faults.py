"""What must lose nothing: kill -9, SIGTERM, pause, a full disk, torn lines, damaged checkpoints. Real processes, a tiny model on the CPU.

Every interrupted run must end with the very weights and answers of one that nothing happened to, bit for bit.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from engine import events, locks, runs, warm, workspace
from engine.data import importing, projects, versions
from engine.events import Ended, Event, Message, Phase, Started, Step, Usable
from engine.recipe import recipe_from

SETTINGS = {
    "start": "linear/test_resnet",
    "image_size": 32,
    "epochs": 5,
    "batch_size": 4,
    "precision": "fp32",
    "layout": "contiguous",
    "threads": 1,
    "device": "cpu",
    "ema": 0.9,
}


def until(condition: Callable[[], Any], seconds: float = 150.0, pause: float = 0.004) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return found


def draw(folder: Path) -> Path:
    """Draw three classes of noisy patches of colour."""
    random = np.random.default_rng(0)
    for number, colour in enumerate(((180, 80, 80), (80, 180, 80), (80, 80, 180))):
        (folder / f"c{number}").mkdir(parents=True)
        for each in range(16):
            noisy = np.clip(np.array(colour) + random.normal(0, 70, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"c{number}" / f"{each}.png")
    return folder


class Studio:
    """A workspace with one tiny project, and what the tests do with its runs."""

    def __init__(self, pictures: Path) -> None:
        self.project = projects.create("tiny")
        importing.import_path(self.project.id, pictures)
        self.version = versions.freeze(self.project.id)

    def run(self, **settings: Any) -> runs.Run:
        return runs.create_run(self.project.id, recipe_from({**SETTINGS, **settings}), self.version)

    def begun(self, **settings: Any) -> runs.Run:
        run = self.run(**settings)
        runs.launch(run)
        return run


def said(run: runs.Run) -> list[Event]:
    return events.read_from(run.events_path)[0]


def reached(run: runs.Run, what: Callable[[Event], bool]) -> None:
    """Wait until the run's present worker has said something."""
    offset = int(runs.pressed_of(run)["offset"])
    assert until(lambda: any(what(event) for event in events.read_from(run.events_path, offset)[0]) or over_now(run)), runs.state(run)
    assert not over_now(run), said(run)[-1]


def phase(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Phase) and event.name == name


def step(number: int) -> Callable[[Event], bool]:
    """Tell the optimiser step of fine-tuning, counted from its first."""
    first: list[int] = []

    def told(event: Event) -> bool:
        if isinstance(event, Step) and event.phase == "finetune":
            first.append(event.step)
            return event.step >= min(first) + number
        return False

    return told


def over_now(run: runs.Run) -> bool:
    return runs.state(run) not in ("waiting", "running") and not locks.is_held(run.path("lock"))


def over(run: runs.Run) -> str:
    until(lambda: over_now(run))
    return runs.state(run)


def pid_of(run: runs.Run) -> int:
    return next(event.pid for event in reversed(said(run)) if isinstance(event, Started))


def kill(run: runs.Run, with_signal: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid_of(run), with_signal)
    assert until(lambda: not locks.is_held(run.path("lock")))


def result(run: runs.Run) -> str:
    """Return a digest of a finished run's weights, answers and figures."""
    assert over(run) == "finished", (said(run)[-1], run.path("log.txt").read_text()[-2000:])
    digest = hashlib.sha256()
    for table in (load_file(run.path("best.safetensors")), np.load(run.path("predictions.npz"), allow_pickle=False)):
        for name in sorted(table):
            digest.update(name.encode() + np.ascontiguousarray(table[name]).tobytes())
    report = runs.read_report(run)
    assert report is not None
    return f"{digest.hexdigest()} {report['metrics']}"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("pictures") / "set")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, pictures: Path):
    """One workspace for all: the warm worker makes a run take a second instead of six."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        for key, value in {"GRAFT_HOME": str(home), "GRAFT_WARM": "1", "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(key, value)
        patch.setattr(warm, "_last", warm._Last())
        yield Studio(pictures)
        warm.keep_alive_path().unlink(missing_ok=True)  # the warm worker leaves within a second or so


@pytest.fixture(scope="module")
def expected(studio: Studio) -> str:
    """What a run gives that nothing happens to, started cold; the warm worker is up from here on."""
    warm.ensure()
    run = studio.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_WARM", "0")
        runs.launch(run)
    found = result(run)
    until(warm.is_ready, 20)
    return found


def test_a_warm_start_gives_the_same_bits_as_a_cold_one(studio: Studio, expected: str) -> None:
    assert result(studio.begun()) == expected
    assert result(studio.begun(seed=1)) != expected


MOMENTS = {name: phase(name) for name in ("read", "features", "head", "finetune", "evaluate", "export")} | {
    f"step {number}": step(number) for number in (3, 17)
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_killed_at_any_moment_and_resumed_it_ends_alike(studio: Studio, expected: str, moment: Callable[[Event], bool]) -> None:
    shutil.rmtree(workspace.home() / "cache" / "features", ignore_errors=True)
    run = studio.begun()
    reached(run, moment)
    kill(run)
    assert runs.state(run) == "interrupted"
    with run.events_path.open("ab") as file:
        file.write(b'{"kind": "step", "t": 17')  # a line that the kill tore
    runs.resume(run)
    assert result(run) == expected


def test_paused_then_killed_then_told_to_go_it_ends_alike(studio: Studio, expected: str) -> None:
    run = studio.begun()
    reached(run, step(3))
    runs.pause(run)
    assert over(run) == "paused"
    runs.resume(run)
    reached(run, step(2))
    kill(run)
    runs.resume(run)
    started = until(lambda: next((event for event in reversed(said(run)) if isinstance(event, Started)), None))
    reached(run, step(6))
    assert started.step > 3  # from the checkpoint of the pause, not from the beginning
    kill(run, signal.SIGTERM)
    assert runs.state(run) == "interrupted"
    assert not run.path("pause").exists()
    runs.resume(run)
    assert result(run) == expected
    history = events.fold(events.History(), said(run))
    steps = [event.step for event in history.steps]
    assert steps == sorted(set(steps))  # no step is shown twice


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(studio: Studio, expected: str) -> None:
    run = studio.begun()
    for number in (2, 4):
        reached(run, step(number))
        runs.pause(run)
        assert over(run) == "paused"
        if number == 2:
            runs.resume(run)
    content = run.path("last.safetensors").read_bytes()
    run.path("last.safetensors").write_bytes(content[: len(content) // 2])
    runs.resume(run)
    assert result(run) == expected
    assert any(isinstance(event, Message) and "damaged" in event.text for event in said(run))


def test_stop_keeps_the_best_ready_for_use(studio: Studio, expected: str) -> None:
    run = studio.begun(epochs=500)
    reached(run, step(20))
    runs.stop(run)
    assert over(run) == "stopped"
    usable(run)


def test_stop_makes_a_killed_run_usable_without_training_on(studio: Studio, expected: str) -> None:
    run = studio.begun(epochs=500)
    reached(run, step(5))
    kill(run)
    steps = sum(isinstance(event, Step) for event in said(run))
    runs.stop(run)
    assert over(run) == "stopped"
    assert sum(isinstance(event, Step) for event in said(run)) == steps
    usable(run)


def test_stop_keeps_the_best_of_a_waiting_run_without_waiting_on(studio: Studio, expected: str) -> None:
    run = studio.begun(epochs=500)
    reached(run, step(5))
    runs.pause(run)
    assert over(run) == "paused"
    with locks.hold(workspace.locks_folder() / "cpu.lock"):
        runs.resume(run)
        assert until(lambda: runs.state(run) == "waiting" and isinstance(events.last(run.events_path), events.Queued))
        runs.stop(run)
        assert over(run) == "stopped"
    usable(run)
    assert [event.attempt for event in said(run) if isinstance(event, Started)] == [1, 2]


def usable(run: runs.Run) -> None:
    from engine.export.predictor import Predictor

    ended = said(run)[-1]
    assert isinstance(ended, Ended)
    assert 0 <= ended.metrics["accuracy"] <= 1
    assert runs.read_report(run) is not None
    ((label, share), *_) = Predictor(run.path("model.onnx")).predict([Image.new("RGB", (40, 40), (180, 80, 80))])[0]
    assert label in ("c0", "c1", "c2")
    assert share > 0.3


def test_stopped_before_there_is_a_model_it_just_ends(studio: Studio, expected: str) -> None:
    shutil.rmtree(workspace.home() / "cache" / "features", ignore_errors=True)
    run = studio.begun()
    runs.stop(run)
    assert over(run) == "stopped"
    assert not run.path("best.safetensors").exists() or run.path("report.json").exists()


def test_the_second_waits_its_turn_then_starts_by_itself(studio: Studio, expected: str) -> None:
    first = studio.begun(epochs=500)
    reached(first, lambda event: isinstance(event, Usable))
    second = studio.begun()
    assert until(lambda: isinstance(events.last(second.events_path), events.Queued))
    assert (runs.state(first), runs.state(second)) == ("running", "waiting")
    kill(first)
    assert result(second) == expected
    assert runs.state(first) == "interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_the_death_of_the_launchers_whole_group_leaves_training_alone(studio: Studio, expected: str) -> None:
    run = studio.run()
    code = f"import pathlib, time; from engine import runs; runs.launch(runs.Run(pathlib.Path({str(run.folder)!r}))); print('up', flush=True); time.sleep(60)"
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"up\n"
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    assert result(run) == expected


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 40 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = sys.platform == "linux" and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], capture_output=True, check=False)
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can only be mounted on Linux, by root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_stops_with_a_sentence_and_loses_nothing(small_disk: Path, studio: Studio, expected: str, pictures: Path, monkeypatch) -> None:
    run = studio.begun()
    reached(run, step(3))
    runs.pause(run)
    assert over(run) == "paused"
    # the run moves to the small disk with its folder; the rest of the workspace stays where it is
    folder = small_disk / run.id
    shutil.copytree(run.folder, folder)
    shutil.rmtree(run.folder)
    run.folder.symlink_to(folder)
    best = load_file(run.path("best.safetensors"))
    with (small_disk / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(small_disk).free - 300_000))

    runs.resume(run)
    assert over(run) == "failed"
    ended = said(run)[-1]
    assert isinstance(ended, Ended)
    assert "the disk is full" in ended.problem
    assert "Resume" in ended.remedy
    assert {name: value.tobytes() for name, value in load_file(run.path("best.safetensors")).items()} == {name: value.tobytes() for name, value in best.items()}
    assert not list(folder.glob(".*.part"))

    (small_disk / "filler").unlink()
    runs.resume(run)
    assert result(run) == expected


def test_with_no_byte_left_even_for_the_last_word_it_reads_interrupted(small_disk: Path, studio: Studio, expected: str) -> None:
    run = studio.run()
    folder = small_disk / run.id
    shutil.copytree(run.folder, folder)
    shutil.rmtree(run.folder)
    run.folder.symlink_to(folder)
    runs.launch(run)
    reached(run, step(2))
    with (small_disk / "filler").open("wb") as file, pytest.raises(OSError, match="No space left"):
        file.write(bytes(1 << 26))
    assert over(run) in ("failed", "interrupted")
    (small_disk / "filler").unlink()
    runs.resume(run)
    assert result(run) == expected
