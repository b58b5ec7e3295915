"""Reading the pictures of a source: hashed, measured by their headers, copied where asked, their labels fitted to them.

A picture whose header does not settle its size, or whose end does not say that it is whole, is decoded here and now; all others later, once
they are in the project (`looking`).

Copies are named by their content. They are flushed to the disk together, before the database hears of them: a power cut takes away at most
what nobody knows yet. What a killed import left, torn perhaps, is used or mended by the next one, after its content was compared.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine import workspace
from engine.data import archives, headers, images, placing, sources
from engine.data.arrivals import Arrival
from engine.data.check import duplicates
from engine.data.formats import DataSet, Found, Skipped
from engine.data.formats.base import Tally
from engine.data.formats.masks import drawn_in
from engine.data.measured import Checked
from engine.data.scan import WHOLE_BYTES, Scanned
from engine.data.scanner import Scanner
from engine.errors import StudioError

__all__ = ["Reader", "Taken", "none_readable", "read_all", "stopped"]

_BLOCK = 1 << 20
_END_BYTES = 8192
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_CHUNK = 64
"""Pictures that a thread takes at a time."""

_TOGETHER = 64
"""Chunks that several threads take before one is tried again."""

_QUICK_S = 150e-6
"""A picture that takes less is not worth handing to another thread."""


@dataclass(slots=True, unsafe_hash=True)  # frozen, each would take five times as long to make; nobody changes one
class Taken:
    """A picture that was read: as it will stand in the database. `odd` counts what was wrong with its labels, None where nothing was."""

    found: Found
    sha256: str
    path: str
    width: int
    height: int
    marks: Sequence[placing.Placed] = ()
    fingerprint: str | None = None
    odd: Tally | None = None


_Results = list[Taken | Skipped]


class Reader:
    """Reads pictures, by several threads at once, and copies them unless they stay in place. Copies not kept are removed again."""

    def __init__(
        self, project_id: str, source: sources.Source, data: DataSet, *, copy: bool, scanner: Scanner | None = None, arrival: Arrival | None = None
    ) -> None:
        """Prepare. A helper process is for pictures that stay in place, or in a zip that is put aside."""
        self._source, self._data, self._copy, self._scanner = source, data, copy, scanner
        self._arrival = arrival
        self._folder = workspace.project_folder(project_id, "images")
        self._home = len(workspace.home().as_posix()) + 1
        self._later = self._folder.as_posix()[self._home :]
        self._new: list[str] = []
        self._made: set[str] = set()
        self._begun: dict[str, object] = {}
        self._number = itertools.count()

    def __enter__(self) -> Reader:
        self._incoming = tempfile.mkdtemp(prefix=".incoming-", dir=self._folder)
        for left in self._folder.glob(".incoming-*"):  # of a killed import: this one holds the project's lock
            if str(left) != self._incoming:
                shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        for path in self._new:
            Path(path).unlink(missing_ok=True)

    def flush(self) -> None:
        """Have the disk hold every copy, before the database speaks of them."""
        if self._new:
            workspace.flush(self._new, self._folder)
        if self._arrival is not None:
            self._arrival.flush()

    def keep(self) -> None:
        """The copies now belong to the project."""
        self._new.clear()
        if self._arrival is not None:
            self._arrival.keep()

    def expect(self, names: list[str]) -> None:
        """Prepare for these pictures: make sure that copies fit on the disk, and tell the helper process."""
        if self._scanner is not None:
            self._scanner.want(names)
        if self._copy:
            archives.room_for(sum(self._source.size(name) for name in names), self._folder)

    def answer(self, chunk: Sequence[Found]) -> tuple[float, list[Taken | Skipped]]:
        """Return how many seconds some pictures took, and what was read of them: by the helper process where there is one and it can tell."""
        if self._scanner is not None and self._scanner.slow:
            self._scanner.close()  # it would take the disk from those who read now
            self._scanner = None
        if self._scanner is None:
            began = time.perf_counter()
            results = self.take(chunk)
            return time.perf_counter() - began, results
        scanned = self._scanner.answer([found.name for found in chunk])
        worked = time.thread_time()  # by the clock, other threads' work would count
        results = [self._take(found) if known is None else self._known(found, known) for found, known in zip(chunk, scanned, strict=True)]
        return time.thread_time() - worked, results

    def _known(self, found: Found, scanned: Scanned) -> Taken:
        sha256, suffix, width, height, turn = scanned
        path = f"{self._later}/{sha256[:2]}/{sha256}{suffix}" if self._arrival is not None else self._source.files[found.name]
        return self._taken(found, sha256, path, Checked(suffix, width, height, turn), None)

    def take(self, chunk: Sequence[Found]) -> list[Taken | Skipped]:
        """Read some pictures."""
        return [self._take(found) for found in chunk]

    def _take(self, found: Found) -> Taken | Skipped:
        try:
            content = self._source.content(found.name, WHOLE_BYTES)  # an archive that is damaged here ends the import: it may be hostile
            return self._small_taken(found, content) if content is not None else self._large_taken(found)
        except OSError as error:
            full = workspace.disk_error(error, Path(found.name))
            if isinstance(full, StudioError):
                raise full from error
            return Skipped(found.name, f"cannot be read ({error.strerror})")

    def _small_taken(self, found: Found, content: bytes) -> Taken | Skipped:
        checked, fingerprint = headers.plain(content), None
        if checked is None:
            try:
                checked, fingerprint = _measured(io.BytesIO(content), found.name, content, content, len(content))
            except StudioError as error:
                return Skipped(found.name, error.problem)
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._put(content, sha256, checked.suffix) if self._copy else self._source.files[found.name]
        return self._taken(found, sha256, path, checked, fingerprint)

    def _taken(self, found: Found, sha256: str, path: str, checked: Checked, fingerprint: str | None) -> Taken:
        if not found.marks and found.masks is None:
            return Taken(found, sha256, path, checked.width, checked.height, (), fingerprint)
        tally, marks = Tally(), found.marks
        if found.masks is not None and self._data.palette is not None:
            try:
                marks = tuple(drawn_in(self._data.palette, self._source.open, found.masks))
            except StudioError as error:
                tally.add("a mask cannot be used: its picture comes without labels", f"{found.name}: {error.problem}")
                found = Found(found.name, found.label, found.split, found.group)
        placed = placing.place(marks, found.size, checked, found.name, tally)
        return Taken(found, sha256, path, checked.width, checked.height, placed, fingerprint, tally if tally.total else None)

    def _large_taken(self, found: Found) -> Taken | Skipped:
        """Read a picture block by block, through a file beside the others where it is copied."""
        beside = Path(self._incoming, f"large-{next(self._number)}") if self._copy else None
        with self._source.open(found.name) as stream:
            begun = stream.read(WHOLE_BYTES)
            sha256 = _pour(begun, stream, beside)
        file = beside or self._source.path / found.name
        end, size = _end_of(file)
        checked, fingerprint = headers.plain(begun, end), None
        if checked is None:
            try:
                checked, fingerprint = _measured(file, found.name, begun, end, size)
            except StudioError as error:
                return Skipped(found.name, error.problem)
        path = self._moved(str(beside), sha256, checked.suffix) if beside is not None else str(file)
        return self._taken(found, sha256, path, checked, fingerprint)

    def _place(self, sha256: str, suffix: str) -> str:
        folder = f"{self._folder.as_posix()}/{sha256[:2]}"
        if folder not in self._made:
            Path(folder).mkdir(exist_ok=True)
            self._made.add(folder)
        return f"{folder}/{sha256}{suffix}"

    def _put(self, content: bytes, sha256: str, suffix: str) -> str:
        """Write a copy, unless the very same bytes are there; return its path in the workspace."""
        path, mine = self._place(sha256, suffix), object()
        if self._begun.setdefault(sha256, mine) is not mine:  # the same picture twice: another thread has it in hand
            return path[self._home :]
        try:
            file = os.open(path, _CREATE, 0o666)
        except FileExistsError:
            if not workspace.holds(path, sha256, len(content)):
                beside = f"{self._incoming}/{next(self._number)}"
                _write(os.open(beside, _CREATE, 0o666), content)
                self._arrived(beside, path)
        else:
            self._new.append(path)
            _write(file, content)
        return path[self._home :]

    def _moved(self, beside: str, sha256: str, suffix: str) -> str:
        path = self._place(sha256, suffix)
        if not workspace.holds(path, sha256, Path(beside).stat().st_size):
            self._arrived(beside, path)
        return path[self._home :]

    def _arrived(self, beside: str, path: str) -> None:
        known = Path(path).exists()  # a torn copy of a killed import, or a damaged one that the project knows: mended, never removed
        os.replace(beside, path)  # noqa: PTH105 (twenty thousand times)
        if not known:
            self._new.append(path)


def _measured(source: Path | BinaryIO, name: str, head: bytes, end: bytes, size: int) -> tuple[Checked, str | None]:
    """Measure what is no ordinary JPEG or PNG: by its header, or else by decoding it, which gives its fingerprint, too.

    Raises:
        StudioError: if it is no whole picture.
    """
    known = images.from_header(source, name)
    if known is not None and headers.ends_whole(known[0], head, end, size):
        return known[1], None
    if not isinstance(source, Path):
        source.seek(0)
    checked, shade = images.check_and_shade(source, duplicates.OPEN_PX, name)
    return checked, duplicates.fingerprint_of(duplicates.grey(shade))


def _end_of(file: Path) -> tuple[bytes, int]:
    """Return the last bytes of a file, and its size."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(-min(size, _END_BYTES), os.SEEK_END)
        return stream.read(), size


def _write(file: int, content: bytes) -> None:
    """Write all of a file and close it."""
    try:
        done = os.write(file, content)
        while done < len(content):
            done += os.write(file, memoryview(content)[done:])
    finally:
        os.close(file)


def _pour(begun: bytes, stream: BinaryIO, into: Path | None) -> str:
    """Read a stream to its end, copying it where asked, and return its sha256."""
    content = hashlib.sha256(begun)
    file = into.open("wb") if into is not None else None
    try:
        if file is not None:
            file.write(begun)
        while block := stream.read(_BLOCK):
            content.update(block)
            if file is not None:
                file.write(block)
    finally:
        if file is not None:
            file.close()
    return content.hexdigest()


def read_all(
    reader: Reader,
    pictures: Sequence[Found],
    take: Callable[[list[Taken], int, int], None],
    report: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> list[Skipped]:
    """Read the pictures in parallel; `take` gets the results in order, whichever thread was faster. Return those that cannot be used.

    Raises:
        StudioError: if it was stopped, or not one could be read.
    """
    total = len(pictures)
    reader.expect([picture.name for picture in pictures])
    skipped: list[Skipped] = []
    done, told = 0, 0.0
    chunks = [pictures[start : start + _CHUNK] for start in range(0, total, _CHUNK)]
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)), thread_name_prefix="import") as pool:
        try:
            for results in _in_order(reader, chunks, pool):
                if should_stop():
                    raise stopped()
                done += len(results)
                if time.monotonic() - told > 0.1:
                    told = time.monotonic()
                    report(done, total)
                skipped += [one for one in results if isinstance(one, Skipped)]
                take([one for one in results if isinstance(one, Taken)], done, total)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    report(total, total)
    if len(skipped) == total:
        raise none_readable(total, skipped[0].reason)
    return skipped


def _in_order(reader: Reader, chunks: Sequence[Sequence[Found]], pool: ThreadPoolExecutor) -> Iterator[_Results]:
    """Give the results of chunks in order: of the helper process, or of one thread, while that is quick, else of several.

    Small files that the system holds in memory take some twenty microseconds each, nearly all of it Python's; several threads would then
    take three times as long as one, since they hand the interpreter to each other at each file. Large ones, and those of a slow disk, are
    waited for together.
    """
    waiting = iter(chunks)
    for chunk in waiting:
        seconds, results = reader.answer(chunk)
        yield results
        if seconds > _QUICK_S * len(chunk):
            yield from pool.map(reader.take, itertools.islice(waiting, _TOGETHER))


def stopped() -> StudioError:
    """Say that an import was stopped before anything was added."""
    return StudioError("the import was stopped; nothing was added", "Start it again when you like.")


def none_readable(total: int, reason: str) -> StudioError:
    """Say that no picture of a source can be used, and why not the first."""
    return StudioError(f"none of the {total} pictures could be read, the first because {reason}", "Save them as JPEG or PNG.")
