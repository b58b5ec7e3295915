"""engine.locks, with real processes: a lock that a dead process cannot keep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine import locks

HOLDER = "import sys, time; from pathlib import Path; from engine import locks; held = locks.hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_lock_excludes_and_falls_free_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    assert not locks.is_held(path)
    assert not path.exists()  # probing leaves nothing behind
    with locks.hold(path):
        assert locks.is_held(path)
        assert locks.hold(path, blocking=False) is None
    assert not locks.is_held(path)


def test_a_killed_process_keeps_no_lock_even_as_a_zombie(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert locks.is_held(tmp_path / "lock")
    holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while locks.is_held(tmp_path / "lock") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not locks.is_held(tmp_path / "lock")  # nobody has waited for it yet


def test_waiting_ends_when_the_holder_dies(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    threading.Timer(0.3, holder.kill).start()
    began = time.monotonic()
    lock = locks.hold(tmp_path / "lock")
    assert lock is not None
    assert 0.2 < time.monotonic() - began < 5
    lock.close()


@pytest.mark.skipif(not locks.HANDOVER, reason="Windows hands no lock over")
def test_a_handed_over_lock_stays_held_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = locks.hold(path)
    assert lock is not None
    code = "import sys; from engine import locks; held = locks.adopt(int(sys.argv[1])); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code, str(lock.fileno())], pass_fds=(lock.fileno(),), stdin=subprocess.PIPE)
    lock.close()
    assert locks.is_held(path)  # before the child has run a line
    child.communicate(b"")
    assert child.returncode == 0
    assert not locks.is_held(path)


@pytest.mark.skipif(not locks.HANDOVER, reason="Windows hands no lock over")
def test_an_adopted_lock_is_not_leaked_to_children(tmp_path: Path) -> None:
    lock = locks.hold(tmp_path / "lock")
    assert lock is not None
    descriptor = os.dup(lock.fileno())
    os.set_inheritable(descriptor, True)  # as a launcher's pass_fds leaves it
    adopted = locks.adopt(descriptor)
    lock.close()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(30)"], close_fds=False, stdout=subprocess.PIPE)
    assert sleeper.stdout is not None
    assert sleeper.stdout.readline() == b"up\n"
    adopted.close()
    try:
        assert not locks.is_held(tmp_path / "lock")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_probes_never_make_a_taker_believe_in_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    over = threading.Event()

    def probe() -> None:
        while not over.is_set():
            locks.is_held(path)

    probes = [threading.Thread(target=probe) for _ in range(3)]
    for thread in probes:
        thread.start()
    try:
        for _ in range(200):
            lock = locks.hold(path, blocking=False)
            assert lock is not None
            lock.close()
    finally:
        over.set()
        for thread in probes:
            thread.join()
