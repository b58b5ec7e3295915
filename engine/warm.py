"""The warm worker, seen from the pages: start it, keep it, hand it a run. No torch here.

Importing torch takes seconds. While somebody looks at the Train page one process (`engine.zygote`) has it imported
and forks a child for each run. Everything works without it: `hand_over` then says no and the run starts cold.

Only Linux: elsewhere a process that has torch imported cannot be forked safely. GRAFT_WARM=0 switches it off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from engine import locks, runs, workspace

__all__ = ["ACKNOWLEDGED", "AVAILABLE", "GREETING", "address", "code_print", "ensure", "fingerprint", "hand_over", "is_ready", "keep_alive_path", "lock_path"]

AVAILABLE = sys.platform == "linux"
ACKNOWLEDGED = b"k"
GREETING = b"g"

_TOUCH_S = 3.0
_RETRY_S = 60.0
_NEEDED_BYTES = 2 << 30
"""A warm worker weighs 0.5 GB; on a machine with less free than this the memory is better left to training."""

_ENVIRONMENT = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH_", "CUDA_", "NVIDIA_"),
    *("ATEN_", "DNNL_", "ONEDNN_", "MALLOC_", "LD_", "HF_", "PYTHON", "GRAFT_"),
)


@dataclass
class _Last:
    """When this process last did something about the warm worker, so that doing it at every page run costs nothing."""

    touched: float = float("-inf")
    started: float = float("-inf")
    name: str = ""


_last = _Last()


def lock_path() -> Path:
    """Return the lock a warm worker holds: never two live in one workspace."""
    return workspace.locks_folder() / "warm.lock"


def keep_alive_path() -> Path:
    """Return the file whose age says how long nobody has wanted a warm worker."""
    return workspace.locks_folder() / "warm.keep"


def fingerprint() -> str:
    """Return a short name for this code and this environment.

    A warm worker made from other code or with other thread settings would compute something else than a cold one.
    """
    environment = [f"{key}={value}" for key, value in sorted(runs.worker_environment().items()) if key.startswith(_ENVIRONMENT)]
    return code_print() + _short([sys.executable, *environment])


def code_print() -> str:
    """Return a short name for the engine's code as it now stands on disk; it begins `fingerprint`."""
    return _short(f"{path} {path.stat().st_mtime_ns}" for path in sorted(Path(__file__).parent.rglob("*.py")))


def _short(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@contextlib.contextmanager
def address(name: str) -> Iterator[str]:
    """Give the warm worker's socket address, short however long the workspace's path is (the limit is 107 bytes)."""
    folder = os.open(workspace.locks_folder(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/warm-{name}.sock"
    finally:
        os.close(folder)


def _wanted() -> bool:
    return AVAILABLE and os.environ.get("GRAFT_WARM", "1") != "0"


def ensure() -> None:
    """Have a warm worker, soon. Cheap enough to be called at every page run; never waits for it."""
    now = time.monotonic()
    if not _wanted() or now - _last.touched < _TOUCH_S:
        return
    _last.touched = now
    keep_alive_path().touch()
    name = fingerprint()
    if now - _last.started < _RETRY_S and _last.name == name:
        return
    lock = locks.hold(lock_path(), blocking=False)
    if lock is None:
        return
    with lock:
        if psutil.virtual_memory().available >= _NEEDED_BYTES:
            _last.started, _last.name = now, name
            _start(lock, name)


def _start(lock: IO[bytes], name: str) -> None:
    with (workspace.locks_folder() / "warm.log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "engine.zygote", "--lock", str(lock.fileno()), "--name", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parent.parent,
            env=runs.worker_environment(),
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )


def _connected(patience_s: float) -> socket.socket | None:
    """Connect to the warm worker of this very code and environment and wait for its greeting."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(patience_s)
    try:
        with address(fingerprint()) as path:
            connection.connect(path)
        if connection.recv(1) == GREETING:
            return connection
    except OSError:
        pass
    connection.close()
    return None


def is_ready(patience_s: float = 1.0) -> bool:
    """Tell whether a run would start warm now."""
    connection = _connected(patience_s) if _wanted() else None
    if connection is None:
        return False
    connection.close()
    return True


def hand_over(run: runs.Run, lock: IO[bytes], patience_s: float = 1.0) -> bool:
    """Give a run and its held lock to the warm worker.

    Returns:
        True if a child of the warm worker has the run and the lock. False, within `patience_s` or so, if there is
        no warm worker of this code and environment: the caller still has both, and no other process has.
    """
    connection = _connected(patience_s) if _wanted() else None
    if connection is None:
        return False
    with connection:
        try:
            socket.send_fds(connection, [json.dumps({"folder": str(run.folder)}).encode()], [lock.fileno()])
            return connection.recv(1) == ACKNOWLEDGED
        except OSError:
            return _acknowledged_after_all(connection)


def _acknowledged_after_all(connection: socket.socket) -> bool:
    """Give up waiting, for good: after the shutdown the other side can say no more, what it said before still counts."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
        return connection.recv(1) == ACKNOWLEDGED
    except OSError:
        return False
