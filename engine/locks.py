"""Locks that a dead process cannot keep: the one place that knows fcntl and msvcrt.

A lock is an open file. The operating system frees it when the last process that holds the file ends, however
it ends, so "is it still running?" never depends on a stored number.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import IO

__all__ = ["HANDOVER", "adopt", "hold", "is_held"]

HANDOVER = sys.platform != "win32"
"""Whether a held lock can be handed to a child by file descriptor. Windows has no such thing: the child takes it."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes], *, blocking: bool, shared: bool) -> bool:  # noqa: ARG001 (msvcrt has no shared mode)
        file.seek(1 << 30)  # far past any content: msvcrt locks bytes, and locked bytes cannot be read
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if blocking else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: IO[bytes], *, blocking: bool, shared: bool) -> bool:
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if blocking else fcntl.LOCK_NB)
        try:
            fcntl.flock(file, mode)
        except BlockingIOError:
            return False
        return True


def hold(path: Path, *, blocking: bool = True) -> IO[bytes] | None:
    """Take the lock at path and keep it until the returned file is closed or the process ends.

    Returns:
        The open file, or None if another process holds the lock and `blocking` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    while not _lock(file, blocking=blocking, shared=False):
        if not blocking and not _only_probed(file):
            file.close()
            return None
    return file


def _only_probed(file: IO[bytes]) -> bool:
    """Tell a probe (`is_held`, shared, for microseconds) from a holder: only beside a probe is a shared lock to be had."""
    if sys.platform == "win32":
        return False
    probed = _lock(file, blocking=False, shared=True)
    fcntl.flock(file, fcntl.LOCK_UN)
    time.sleep(random.uniform(0, 0.002))  # two takers that probe each other must not go on doing so in step
    return probed


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock at path. Probing never blocks a holder or another probe."""
    if not path.exists():
        return False
    with path.open("a+b") as file:
        return not _lock(file, blocking=False, shared=True)


def adopt(descriptor: int) -> IO[bytes]:
    """Wrap a lock that was handed over by file descriptor; it stays held until closed."""
    os.set_inheritable(descriptor, False)
    return os.fdopen(descriptor, "a+b")
