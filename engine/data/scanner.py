"""Starts the helper process of an import (`scan`), and keeps what it found until it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Condition, Thread

from engine.data import scan
from engine.data.archives import Archive
from engine.data.images import SUFFIXES
from engine.data.scan import Scanned
from engine.data.sources import Folder

__all__ = ["Scanner", "expected", "started"]

WORTH = 1000
"""Pictures from which a process is worth starting."""

_LARGE_BYTES = 4 << 20
"""Of a zip that may hold so many."""

_FRAME = 128
"""Pictures that are sent together."""

_SLOW_S = 150e-6
"""A helper that takes longer for a picture is slower than several threads: files are large, or the disk is waited for."""

_SLOW_FRAMES = 3

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from engine.data.scan import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"


@contextmanager
def expected(path: Path) -> Iterator[subprocess.Popen[bytes] | None]:
    """Give a process that will probably be wanted, while it is not known yet what is in a zip: it starts meanwhile."""
    found = None
    with suppress(OSError):
        if path.suffix.lower() == ".zip" and path.stat().st_size >= _LARGE_BYTES:
            found = _process()
    try:
        yield found
    finally:
        if found is not None:
            _end(found)


def _process() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # of what was still to be written
            pipe.close()  # type: ignore[union-attr]


@contextmanager
def started(source: Folder | Archive, process: subprocess.Popen[bytes] | None = None) -> Iterator[Scanner | None]:
    """Give a helper process that has begun to read a source's pictures; None where it is not worth it or cannot be started.

    Args:
        source: the folder or zip.
        process: one that was `expected`.
    """
    names = sorted(name for name in source.files if name[name.rfind(".") :].lower() in SUFFIXES)
    found = None
    if len(names) >= WORTH and (os.cpu_count() or 1) > 1:
        with suppress(OSError):
            found = Scanner(source, names, process)
    try:
        yield found
    finally:
        if found is not None:
            found.close()


class Scanner:
    """A helper process. Once it ended, for whatever reason, nothing more is known of any picture."""

    def __init__(self, source: Folder | Archive, names: Iterable[str], process: subprocess.Popen[bytes] | None = None) -> None:
        """Start it, or one that was started, on these pictures, as long as `want` does not say which are.

        Raises:
            OSError: if the system does not let us.
        """
        self._process = process or _process()
        self._source = source
        self._changed = Condition()  # guards what follows
        self._unsent = deque(names)
        self._sent: deque[list[str]] = deque()
        self._missing = set(self._unsent)
        self._found: dict[str, Scanned | None] = {}
        self._slow, self._over = 0, False
        # both pipes are short: if one thread waited for the process to read, and that for the thread, neither would ever go on
        self._threads = [Thread(target=work, name="scanner", daemon=True) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    @property
    def slow(self) -> bool:
        """Whether the helper is no help."""
        return self._slow >= _SLOW_FRAMES

    def want(self, names: Iterable[str]) -> None:
        """Say which pictures will be asked for, and in which order."""
        with self._changed:
            unsent = set(self._unsent)
            known = self._missing - unsent | self._found.keys()
            self._missing -= unsent
            self._unsent = deque(name for name in names if name not in known)
            self._missing.update(self._unsent)
            self._changed.notify_all()

    def answer(self, names: Sequence[str]) -> list[Scanned | None]:
        """Wait until it is known what was found of some pictures, and return that."""
        with self._changed:
            for name in names:
                while name in self._missing and not self._over:
                    self._changed.wait()
            return [self._found.pop(name, None) for name in names]

    def close(self) -> None:
        """End the process, if it still runs."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._process.kill()
        for thread in self._threads:
            thread.join()
        _end(self._process)

    def _write(self) -> None:
        with suppress(OSError, ValueError):  # it ended: `_read` notices
            scan.send(self._process.stdin, str(self._source.path) if isinstance(self._source, Archive) else "")  # type: ignore[arg-type]
            while names := self._next():
                scan.send(self._process.stdin, [self._source.place(name) for name in names])  # type: ignore[arg-type]

    def _next(self) -> list[str]:
        """Wait for pictures to be sent, and return some; none at the end."""
        with self._changed:
            while not self._unsent and not self._over:
                self._changed.wait()
            names = [] if self._over else list(islice(self._unsent, _FRAME))
            for _ in names:
                self._unsent.popleft()
            self._sent.append(names)
            return names

    def _read(self) -> None:
        with suppress(OSError, ValueError, EOFError):
            while True:
                seconds, found = scan.receive(self._process.stdout)  # type: ignore[arg-type]
                with self._changed:
                    names = self._sent.popleft()
                    self._found.update((name, one and tuple(one)) for name, one in zip(names, found, strict=True))
                    self._missing.difference_update(names)
                    self._slow = self._slow + 1 if seconds > _SLOW_S * len(names) else 0
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()
