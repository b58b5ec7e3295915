"""Reading the pictures of a source into the workspace: hashed, decoded once, copied unless they stay in place.

In batches, several at once; what is not kept in the end is removed again. What the pictures mean is for `importing`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine import workspace
from engine.data import archives, sources
from engine.data.examining import Examined, Examiners, pour
from engine.data.layouts import Found, Skipped
from engine.errors import StudioError

__all__ = ["Reader", "Taken", "read_all"]

_BATCH = 64
_BATCH_BYTES = 24 << 20
"""How much is asked of an examiner at once: few questions for small pictures, a prompt Stop for large ones."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A picture that was read: as it will stand in the database."""

    found: Found
    sha256: str
    path: str
    width: int
    height: int
    fingerprint: str


class Reader:
    """Reads pictures and copies them unless they stay in place. Copies not kept are removed again."""

    def __init__(self, project_id: str, source: sources.Source, *, copy: bool) -> None:
        self._source, self._copy = source, copy
        self._folder = workspace.project_folder(project_id, "images")
        self._home = workspace.home()
        self._new: list[Path] = []
        self._numbers = itertools.count()

    def __enter__(self) -> Reader:
        self._incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._folder))
        for left in self._folder.glob(".incoming-*"):  # of a killed import: this one holds the project's lock
            if left != self._incoming:
                shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        for path in self._new:
            path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Bring the copies to the disk, all at once: the database must not know pictures that a power cut takes away."""
        if self._new:
            workspace.flush(self._folder, self._new)

    def keep(self) -> None:
        """The copies now belong to the project."""
        self._new.clear()

    def batches(self, pictures: Sequence[Found]) -> Iterator[list[Found]]:
        """Part the pictures into batches by number and size.

        Raises:
            StudioError: if copies of them all would not fit on the disk.
        """
        sizes = [self._size(picture.name) for picture in pictures]
        if self._copy:
            archives.room_for(sum(sizes), self._folder)
        batch: list[Found] = []
        held = 0
        for picture, size in zip(pictures, sizes, strict=True):
            if batch and (len(batch) == _BATCH or held + size > _BATCH_BYTES):
                yield batch
                batch, held = [], 0
            batch.append(picture)
            held += size
        if batch:
            yield batch

    def _size(self, name: str) -> int:
        try:
            return self._source.size(name)
        except OSError:  # gone meanwhile: reading it will say so
            return 0

    def take(self, batch: Sequence[Found], examiners: Examiners) -> list[Taken | Skipped]:
        """Read pictures to their end, and have each decoded once to be sure that it is whole."""
        if self._copy:
            return self._copied(batch, examiners)
        paths = [str(self._source.path / found.name) for found in batch]
        seen = examiners.examine([(path, found.name) for path, found in zip(paths, batch, strict=True)], hashed=True)
        return [_taken(found, one, one.sha256, path) for found, one, path in zip(batch, seen, paths, strict=True)]

    def _copied(self, batch: Sequence[Found], examiners: Examiners) -> list[Taken | Skipped]:
        copies = [self._copy_of(found) for found in batch]
        whole = [(copy[1], found.name) for found, copy in zip(batch, copies, strict=True) if not isinstance(copy, Skipped)]
        seen = iter(examiners.examine(whole, hashed=False))
        taken: list[Taken | Skipped] = []
        for found, copy in zip(batch, copies, strict=True):
            if isinstance(copy, Skipped):
                taken.append(copy)
                continue
            one = next(seen)
            taken.append(_taken(found, one, copy[0], self._settle(copy[1], copy[0], one)))
        return taken

    def _copy_of(self, found: Found) -> tuple[str, str] | Skipped:
        """Copy one file to the incoming folder and return its hash and path there."""
        beside = f"{self._incoming}/{next(self._numbers)}"
        try:
            with open(beside, "wb", buffering=0) as file, self._source.open(found.name) as stream:  # noqa: PTH123 (half the time of a small file)
                return pour(stream, file), beside  # type: ignore[arg-type]
        except OSError as error:
            full = workspace.disk_error(error, Path(found.name))
            if isinstance(full, StudioError):
                raise full from error
            return Skipped(found.name, f"cannot be read ({error.strerror})")

    def _settle(self, beside: str, sha256: str, one: Examined) -> str:
        """Move a whole picture to the place that its content names, and return that, relative to the workspace; remove any other."""
        if one.problem:
            os.unlink(beside)  # noqa: PTH108
            return ""
        path = self._folder / sha256[:2] / f"{sha256}{one.suffix}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            self._new.append(path)
            os.replace(beside, path)  # noqa: PTH105
        return path.relative_to(self._home).as_posix()


def _taken(found: Found, one: Examined, sha256: str, path: str) -> Taken | Skipped:
    return Skipped(found.name, one.problem) if one.problem else Taken(found, sha256, path, one.width, one.height, one.fingerprint)


def read_all(
    reader: Reader, pictures: Sequence[Found], report: Callable[[int, int], None], should_stop: Callable[[], bool]
) -> tuple[list[Taken], list[Skipped]]:
    """Read the pictures in parallel; the results come in the order asked for, whichever batch was faster.

    Raises:
        StudioError: if none can be read, or it was stopped.
    """
    total, done, told = len(pictures), 0, 0.0
    taken: list[Taken] = []
    skipped: list[Skipped] = []
    with Examiners(total) as examiners, ThreadPoolExecutor(examiners.count, thread_name_prefix="import") as pool:
        try:
            for batch in _in_order(pool, (partial(reader.take, batch, examiners) for batch in reader.batches(pictures)), 2 * examiners.count):
                if should_stop():
                    raise StudioError("the import was stopped; nothing was added", "Start it again when you like.")
                done += len(batch)
                taken += [one for one in batch if isinstance(one, Taken)]
                skipped += [one for one in batch if isinstance(one, Skipped)]
                if time.monotonic() - told > 0.1:
                    told = time.monotonic()
                    report(done, total)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    report(total, total)
    if not taken:
        raise StudioError(f"none of the {total} pictures could be read, the first because {skipped[0].reason}", "Save them as JPEG or PNG.")
    reader.flush()
    return taken, skipped


def _in_order(pool: ThreadPoolExecutor, works: Iterator[Callable[[], list[Taken | Skipped]]], ahead: int) -> Iterator[list[Taken | Skipped]]:
    """Give the results of works in their order, while at most `ahead` of them are under way: a million pictures must not wait in memory."""
    waiting: deque[Future[list[Taken | Skipped]]] = deque()
    for work in works:
        waiting.append(pool.submit(work))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
