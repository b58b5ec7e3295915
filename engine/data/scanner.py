"""Starts the helper process of an import (`scan`) and asks it for pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from engine.data import scan
from engine.data.archives import Archive
from engine.data.scan import Scanned
from engine.data.sources import Folder

__all__ = ["Scanner", "started"]

WORTH = 1000
"""Files from which a process is worth starting."""

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from engine.data.scan import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"


@contextmanager
def started(source: Folder | Archive, files: int) -> Iterator[Scanner | None]:
    """Give a helper process that reads so many files of a folder or zip; None where it is not worth it or cannot be started."""
    found = None
    if files >= WORTH and (os.cpu_count() or 1) > 1:
        try:
            found = Scanner(source)
        except OSError:
            found = None
    try:
        yield found
    finally:
        if found is not None:
            found.close()


class Scanner:
    """A helper process. What is asked is answered in order; once it ended, for whatever reason, nothing is known of any picture."""

    def __init__(self, source: Folder | Archive) -> None:
        """Start it.

        Raises:
            OSError: if the system does not let us.
        """
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._asked: SimpleQueue[Any] = SimpleQueue()
        self._alive = True
        # both pipes are short: if this thread waited for the process to read, and that for this thread, neither would ever go on
        self._writer = Thread(target=self._write, name="scanner", daemon=True)
        self._writer.start()
        self._place = source.place
        self._asked.put(str(source.path) if isinstance(source, Archive) else "")

    def ask(self, names: Iterable[str]) -> None:
        """Ask for some pictures."""
        self._asked.put([self._place(name) for name in names])

    def answer(self, count: int) -> tuple[float, list[Scanned | None]]:
        """Return how many seconds the next `count` pictures took that were asked for, and what was found of each."""
        if self._alive:
            assert self._process.stdout is not None, "it was started with a pipe"
            try:
                seconds, found = scan.receive(self._process.stdout)  # type: ignore[arg-type]
                return seconds, found
            except (EOFError, OSError, ValueError):
                self._alive = False
        return 0.0, [None] * count

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._asked.put(None)
        self._writer.join()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # of what was still to be written
                pipe.close()  # type: ignore[union-attr]

    def _write(self) -> None:
        while (value := self._asked.get()) is not None:
            try:
                scan.send(self._process.stdin, value)  # type: ignore[arg-type]
            except (OSError, ValueError):  # it ended: `answer` will notice
                return
