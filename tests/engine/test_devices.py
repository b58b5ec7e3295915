"""engine.devices: the queue is the lock; oldest first, the dead are swept, and whoever is told to leave leaves. With real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import devices, locks, workspace
from engine.errors import StudioError

WAITER = """
import sys, time
from engine import devices
lock = devices.wait("cpu", name=sys.argv[1], since=float(sys.argv[2]), leave=lambda: False)
print(sys.argv[1], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def queue(home: Path):
    """Start waiting processes whose turn is read off one pipe each."""
    processes: list[subprocess.Popen[str]] = []

    def wait(name: str, since: float) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", WAITER, name, str(since)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        deadline = time.monotonic() + 10
        while not list(workspace.locks_folder().glob(f"cpu.queue/*-{name}")) and time.monotonic() < deadline:
            time.sleep(0.01)
        return process

    yield wait
    for process in processes:
        process.kill()
        process.wait()


def test_the_oldest_press_is_next_whoever_came_first(queue) -> None:
    held = devices.wait("cpu", name="first", since=1.0, leave=lambda: False)
    assert held is not None
    late, early, killed = queue("late", 30.0), queue("early", 20.0), queue("killed", 10.0)
    time.sleep(0.3)
    killed.kill()
    assert early.poll() is None
    assert late.poll() is None
    held.close()
    assert early.stdout.readline() == "early\n"
    early.kill()
    assert late.stdout.readline() == "late\n"
    assert [path.name.partition("-")[2] for path in workspace.locks_folder().glob("cpu.queue/*")] == []


def test_whoever_is_told_to_leave_leaves_and_holds_nothing(home: Path) -> None:
    with locks.hold(workspace.locks_folder() / "cpu.lock"):
        assert devices.wait("cpu", name="a", since=1.0, leave=lambda: True) is None
    lock = devices.wait("cpu", name="b", since=2.0, leave=lambda: True)
    assert lock is not None  # a free device is taken before anybody is asked
    lock.close()
    assert not locks.is_held(workspace.locks_folder() / "cpu.lock")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_a_named_device_is_taken_at_its_word(name: str) -> None:
    assert devices.choose(name) == name


def test_hidden_gpus_are_not_chosen(no_gpu: None) -> None:
    assert devices.choose("auto") in ("cpu", "mps")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("gpu", "no device 'gpu'"),
        ("cuda:99", "no NVIDIA GPU 'cuda:99'.*has none"),
        ("cuda", "no NVIDIA GPU 'cuda'"),
        ("cuda:x", "no device"),
        ("", "no device"),
    ],
)
def test_a_device_that_is_not_there_is_a_sentence(no_gpu: None, name: str, match: str) -> None:
    with pytest.raises(StudioError, match=match):
        devices.choose(name)
