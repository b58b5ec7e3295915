"""engine.warm and engine.zygote, with real processes: one at most, forks what it is handed, and is never in the way."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine import events, locks, runs, warm, workspace, zygote
from engine.recipe import recipe_from

pytestmark = pytest.mark.skipif(not warm.AVAILABLE, reason="the warm worker is for Linux")


def until(condition, seconds: float = 30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def zygotes(home: Path) -> list[int]:
    """Return the pids of this workspace's warm worker and its children."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"engine.zygote" in words and f"GRAFT_HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch):
    """Let `ensure` act as in a fresh process."""

    def now() -> None:
        monkeypatch.setattr(warm, "_last", warm._Last())

    now()
    return now


@pytest.fixture
def warm_home(home: Path, monkeypatch: pytest.MonkeyPatch, forget):
    """Give a workspace in which the warm worker may live; it is ended with the test."""
    monkeypatch.setenv("GRAFT_WARM", "1")
    yield home
    for pid in zygotes(home):
        os.kill(pid, signal.SIGKILL)


def over(run: runs.Run) -> str:
    until(lambda: runs.state(run) not in ("waiting", "running") and not locks.is_held(run.path("lock")))
    return runs.state(run)


def test_without_one_nothing_is_handed_over_and_nothing_is_lost(warm_home: Path) -> None:
    job = runs.create_job("dance", {})
    with locks.hold(job.path("lock")) as lock:
        assert not warm.hand_over(job, lock)
        assert locks.is_held(job.path("lock"))


def test_switched_off_it_is_never_started(home: Path, forget) -> None:
    warm.ensure()
    assert list(workspace.locks_folder().iterdir()) == []


def give_up_in_the_middle() -> None:
    """Be a launcher that is gone before it can be told that its run was taken: no worker may be left behind."""
    job = runs.create_job("dance", {})
    with locks.hold(job.path("lock")) as lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        with warm.address(warm.fingerprint()) as path:
            connection.connect(path)
        assert connection.recv(1) == warm.GREETING
        connection.shutdown(socket.SHUT_RD)  # no answer can arrive any more
        socket.send_fds(connection, [f'{{"folder": "{job.folder}"}}'.encode()], [lock.fileno()])
    assert until(lambda: not locks.is_held(job.path("lock")), 10)
    assert events.read_from(job.events_path)[0] == []
    assert until(warm.is_ready, 10)  # and the warm worker goes on serving


def test_one_at_most_and_a_run_starts_warm_and_outlives_it(warm_home: Path, forget) -> None:
    threads = [threading.Thread(target=warm.ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
        forget()
    for thread in threads:
        thread.join()
    assert until(warm.is_ready), (workspace.locks_folder() / "warm.log").read_text()
    forget()
    warm.ensure()
    (pid,) = zygotes(warm_home)
    assert len(os.listdir(f"/proc/{pid}/task")) == 1  # noqa: PTH208 (threads, not files)
    assert stat.S_IMODE((workspace.locks_folder() / f"warm-{warm.fingerprint()}.sock").stat().st_mode) == 0o600

    give_up_in_the_middle()

    job = runs.create_job("dance", {})
    runs.launch(job)
    assert over(job) == "failed"
    assert job.path("log.txt").exists()
    assert "no worker knows" in events.last(job.events_path).problem

    run = runs.create_run("p1", recipe_from({"device": "cpu"}), {"id": "v", "classes": ["a", "b"], "items": []})
    with locks.hold(workspace.locks_folder() / "cpu.lock"):
        runs.launch(run)
        assert until(lambda: isinstance(events.last(run.events_path), events.Queued))
        assert len(zygotes(warm_home)) == 2  # it and its child, which bears its name
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not locks.is_held(warm.lock_path()))  # no child keeps the dead one's lock
        assert runs.state(run) == "waiting"
        runs.stop(run)
        assert over(run) == "stopped"
    next_one = runs.create_job("dance", {})
    runs.launch(next_one)  # cold, as there is none now
    assert over(next_one) == "failed"


def test_another_environment_is_another_worker(warm_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = warm.fingerprint()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert warm.fingerprint() != name
    assert warm.fingerprint().startswith(warm.code_print())


def test_it_leaves_when_nobody_wants_it_or_the_code_is_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warm.keep_alive_path().touch()
    assert zygote._is_wanted(warm.fingerprint())
    assert not zygote._is_wanted("0" * 24)
    os.utime(warm.keep_alive_path(), (time.time() - zygote.IDLE_S - 1,) * 2)
    assert not zygote._is_wanted(warm.fingerprint())
    warm.keep_alive_path().unlink()
    assert not zygote._is_wanted(warm.fingerprint())


def test_the_pages_side_has_no_torch() -> None:
    code = "import sys; import engine.warm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
