"""Decoding every picture of an import once, in processes of its own.

Pillow decodes small pictures under the interpreter's one lock, so threads cannot share that work: on two cores four threads imported 3,800
small JPEGs a second, one thread 9,000. And a decoder that crashes on a hostile file takes a child with it, not the import.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.data import images
from engine.data.check import duplicates
from engine.errors import StudioError

__all__ = ["Examined", "Examiners", "pour"]

ENOUGH = 400
"""From as many pictures on it pays to start processes: one takes 0.2 s to come up."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Examined:
    """What is known of one picture file: hash, suffix by content, size in pixels and perceptual hash, or in `problem` why it is none."""

    sha256: str = ""
    suffix: str = ""
    width: int = 0
    height: int = 0
    fingerprint: str = ""
    problem: str = ""


def pour(stream: BinaryIO, into: BinaryIO | None) -> str:
    """Read a stream to its end, copying it where asked, and return its sha256."""
    content = hashlib.sha256()
    while block := stream.read(_BLOCK):
        content.update(block)
        if into is not None:
            into.write(block)
    return content.hexdigest()


def _examine(path: str, name: str, hashed: bool) -> Examined:
    try:
        sha256 = ""
        if hashed:
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (a Path costs as much as the reading of a small file)
                sha256 = pour(stream, None)  # type: ignore[arg-type]
        found, picture = images.check_and_open(Path(path), duplicates.OPEN_PX, name)
        fingerprint = duplicates.fingerprint_of(duplicates.grey(picture))
    except StudioError as error:
        return Examined(problem=error.problem)
    except OSError as error:
        return Examined(problem=f"cannot be read ({error.strerror})")
    return Examined(sha256, found.suffix, found.width, found.height, fingerprint)


class Examiners:
    """A few processes that examine pictures; for a handful of them the calling process does it itself."""

    def __init__(self, pictures: int) -> None:
        """Be ready for as many pictures as that, in `count` threads at once."""
        self.count: int = min(8, os.cpu_count() or 1)
        self._free: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        for _ in range(self.count):
            self._free.put(_Child() if pictures >= ENOUGH else None)

    def __enter__(self) -> Examiners:
        return self

    def __exit__(self, *_raised: object) -> None:
        for _ in range(self.count):
            child = self._free.get()
            if child is not None:
                child.end()

    @contextmanager
    def _one(self) -> Iterator[_Child | None]:
        child = self._free.get()
        try:
            yield child
        finally:
            self._free.put(child)

    def examine(self, files: Sequence[tuple[str, str]], *, hashed: bool) -> list[Examined]:
        """Examine (path, name) pairs; `hashed` asks for their sha256 too. May be called from several threads."""
        with self._one() as child:
            if child is None:
                return [_examine(path, name, hashed) for path, name in files]
            found = child.ask(files, hashed)
            if found is not None:
                return found
            return [(child.ask([file], hashed) or [Examined(problem="it crashed the program that reads pictures")])[0] for file in files]


class _Child:
    """One process that answers a line of questions with a line of answers. It ends with its parent: its input closes."""

    def __init__(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        return subprocess.Popen(
            [sys.executable, "-m", "engine.data.examining"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def ask(self, files: Sequence[tuple[str, str]], hashed: bool) -> list[Examined] | None:
        """Return the answers, or None where the process died over them; the next question then goes to a new one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([hashed, files]).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            self.end()
            self._process = self._started()
            return None
        return [Examined(*row) for row in json.loads(answer)]

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _answer() -> None:
    """Answer until the input closes."""
    for line in sys.stdin.buffer:
        hashed, files = json.loads(line)
        found = [_examine(path, name, hashed) for path, name in files]
        sys.stdout.buffer.write(json.dumps([[one.sha256, one.suffix, one.width, one.height, one.fingerprint, one.problem] for one in found]).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _answer()
