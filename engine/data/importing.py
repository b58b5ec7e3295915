"""Bringing pictures into a project: looked at first, then read by threads, then entered in one transaction.

A killed import leaves nothing in the database. Copies are named by their content, so what it left on disk is used by the next try.
Reading archives is for `archives`, telling classes and splits for `layouts`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, insert, select

from engine import locks, workspace
from engine.data import archives, images, items, layouts, projects, sources, splits, store, tables
from engine.data.layouts import Found, Layout, Skipped
from engine.data.names import clean_name
from engine.errors import StudioError

__all__ = ["Findings", "ImportReport", "Skipped", "import_path", "inspect"]

EXAMPLES = 6
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Findings:
    """What a folder, zip or table holds, told from names alone, before anything is saved.

    Attributes:
        kind: 'class folders', 'split folders', 'csv' or 'flat' (no classes).
        pictures: how many pictures.
        classes: class names, sorted.
        counts: pictures of each class.
        splits: pictures of each given split.
        unlabelled: pictures without a class.
        examples: a few picture names of each class ('' for none).
        skipped: files that will be left out, with the reason.
        problems: oddities in words.
        in_place: whether the pictures can stay where they are.
    """

    kind: str
    pictures: int
    classes: list[str]
    counts: dict[str, int]
    splits: dict[str, int]
    unlabelled: int
    examples: dict[str, list[str]]
    skipped: list[Skipped]
    problems: list[str]
    in_place: bool


@dataclass
class ImportReport:
    """What an import did. `classes` and `splits` count the pictures it added; `skipped` also names each duplicate."""

    added: int = 0
    duplicates: int = 0
    relabelled: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kind: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class _Taken:
    """A picture that was read: as it will stand in the database."""

    found: Found
    sha256: str
    path: str
    width: int
    height: int


def _read_layout(source: sources.Source, table: str | None) -> Layout:
    def content(name: str) -> bytes:
        with source.open(name) as stream:
            return stream.read(tables.MAX_BYTES + 1)

    layout = layouts.read(list(source.files), content, table)
    if isinstance(source, sources.Folder):
        layout.skipped = source.skipped + layout.skipped
    return layout


def inspect(path: Path | str) -> Findings:
    """Say what a folder, zip or CSV file holds. Reads names only, so it is quick; nothing is saved.

    Raises:
        StudioError: if it holds no picture, or is not safe to read.
    """
    with sources.opened(Path(path).expanduser()) as (source, table):
        layout = _read_layout(source, table)
        in_place = isinstance(source, sources.Folder)
    examples: dict[str, list[str]] = defaultdict(list)
    for picture in layout.pictures:
        if len(examples[picture.label or ""]) < EXAMPLES:
            examples[picture.label or ""].append(picture.name)
    counts = Counter(picture.label for picture in layout.pictures if picture.label)
    return Findings(
        kind=layout.kind,
        pictures=len(layout.pictures),
        classes=sorted(counts),
        counts=dict(sorted(counts.items())),
        splits=dict(Counter(picture.split for picture in layout.pictures if picture.split)),
        unlabelled=len(layout.pictures) - sum(counts.values()),
        examples=dict(examples),
        skipped=layout.skipped,
        problems=layout.problems,
        in_place=in_place,
    )


def import_path(
    project_id: str,
    path: Path | str,
    *,
    in_place: bool | None = None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ImportReport:
    """Add the pictures of a folder, zip or CSV file to a project.

    Args:
        project_id: the project.
        path: a folder, a .zip, or a .csv beside its pictures, on this machine.
        in_place: leave the pictures where they are; by default so for a folder, never for a zip.
        report: hears (done, total) pictures several times a second.
        should_stop: asked between pictures.

    Raises:
        StudioError: if it holds no picture, is not safe to read, the disk is full, or it was stopped. Nothing is added then.
    """
    begun = time.monotonic()
    projects.get(project_id)
    with sources.opened(Path(path).expanduser().absolute()) as (source, table), _alone(project_id), _full_disk_said(project_id):
        layout = _read_layout(source, table)
        is_folder = isinstance(source, sources.Folder)
        if in_place and not is_folder:
            raise StudioError("pictures in a zip cannot be used in place", "Import them by copy, or unpack the zip and choose its folder.")
        with _Reader(project_id, source, copy=not (is_folder if in_place is None else in_place)) as reader:
            taken, skipped = _read_all(reader, layout, report, should_stop)
            result = _enter(project_id, taken, layout)
            reader.keep()
    result.skipped = layout.skipped + skipped + result.skipped
    result.problems = layout.problems + result.problems
    result.kind = layout.kind
    result.seconds = time.monotonic() - begun
    return result


@contextmanager
def _alone(project_id: str) -> Iterator[None]:
    """One import a project at a time."""
    lock = locks.hold(workspace.project_folder(project_id) / "import.lock", blocking=False)
    if lock is None:
        raise StudioError("another import into this project is under way", "Wait for it to end.")
    with lock:
        yield


@contextmanager
def _full_disk_said(project_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise workspace.disk_error(error, workspace.home() / "projects" / project_id / "images") from error


class _Reader:
    """Reads pictures, by several threads at once, and copies them unless they stay in place. Copies not kept are removed again."""

    def __init__(self, project_id: str, source: sources.Source, *, copy: bool) -> None:
        self._source, self._copy = source, copy
        self._folder = workspace.project_folder(project_id, "images")
        self._new: list[Path] = []

    def __enter__(self) -> _Reader:
        self._incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._folder))
        for left in self._folder.glob(".incoming-*"):  # of a killed import: this one holds the project's lock
            if left != self._incoming:
                shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        for path in self._new:
            path.unlink(missing_ok=True)

    def keep(self) -> None:
        """The copies now belong to the project."""
        self._new.clear()

    def room(self, names: list[str]) -> None:
        """Make sure the copies fit on the disk."""
        if self._copy:
            archives.room_for(sum(self._source.size(name) for name in names), self._folder)

    def take(self, found: Found) -> _Taken | Skipped:
        """Read one picture to its end, and decode it once to be sure it is whole."""
        try:
            return self._copied(found) if self._copy else self._in_place(found)
        except OSError as error:
            full = workspace.disk_error(error, Path(found.name))
            if isinstance(full, StudioError):
                raise full from error
            return Skipped(found.name, f"cannot be read ({error.strerror})")

    def _in_place(self, found: Found) -> _Taken | Skipped:
        path = self._source.path / found.name
        with path.open("rb") as stream:
            sha256 = _pour(stream, None)
        try:
            checked = images.check(path, found.name)
        except StudioError as error:
            return Skipped(found.name, error.problem)
        return _Taken(found, sha256, str(path), checked.width, checked.height)

    def _copied(self, found: Found) -> _Taken | Skipped:
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        beside = Path(name)
        with os.fdopen(descriptor, "wb") as file, self._source.open(found.name) as stream:
            sha256 = _pour(stream, file)
        try:
            checked = images.check(beside, found.name)
        except StudioError as error:
            beside.unlink()
            return Skipped(found.name, error.problem)
        path = self._folder / sha256[:2] / f"{sha256}{checked.suffix}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            self._new.append(path)
            beside.replace(path)
        return _Taken(found, sha256, path.relative_to(workspace.home()).as_posix(), checked.width, checked.height)


def _pour(stream: BinaryIO, into: BinaryIO | None) -> str:
    """Read a stream to its end, copying it where asked, and return its sha256."""
    content = hashlib.sha256()
    while block := stream.read(_BLOCK):
        content.update(block)
        if into is not None:
            into.write(block)
    if into is not None:
        into.flush()
        os.fsync(into.fileno())  # the database must not know pictures that a power cut takes away
    return content.hexdigest()


def _read_all(reader: _Reader, layout: Layout, report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> tuple[list[_Taken], list[Skipped]]:
    """Read the pictures in parallel; the results come in the layout's order, whichever thread was faster."""
    total = len(layout.pictures)
    reader.room([picture.name for picture in layout.pictures])
    taken: list[_Taken] = []
    skipped: list[Skipped] = []
    told = 0.0
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)), thread_name_prefix="import") as pool:
        try:
            for done, result in enumerate(pool.map(reader.take, layout.pictures)):
                if should_stop():
                    raise StudioError("the import was stopped; nothing was added", "Start it again when you like.")
                if time.monotonic() - told > 0.1:
                    told = time.monotonic()
                    report(done, total)
                if isinstance(result, Skipped):
                    skipped.append(result)
                else:
                    taken.append(result)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    report(total, total)
    if not taken:
        raise StudioError(f"none of the {total} pictures could be read, the first because {skipped[0].reason}", "Save them as JPEG or PNG.")
    return taken, skipped


def _enter(project_id: str, taken: list[_Taken], layout: Layout) -> ImportReport:
    """Enter pictures, classes and splits in one transaction."""
    result = ImportReport()
    given = {found.split for found in layout.pictures}
    with store.session() as connection:
        fresh, relabelled = _without_duplicates(connection, project_id, taken, result)
        class_ids = {
            label: items.class_id_of(connection, project_id, clean_name(label, "class"))
            for label in sorted({one.found.label for one in fresh + [one for one, _ in relabelled] if one.found.label})
        }
        # without validation pictures of its own, a data set's training pictures are free, so that some of them can serve for it
        places = [None if one.found.split == "train" and "val" not in given else one.found.split for one in fresh]
        now = time.time()
        rows = [_row(project_id, one, place, now) for one, place in zip(fresh, places, strict=True)]
        ids: list[int] = []
        if rows:
            ids = list(connection.scalars(insert(store.items).returning(store.items.c.id, sort_by_parameter_order=True), rows))
        mark = partial(_mark, class_ids=class_ids, now=now)
        marks = [mark(item_id, one.found.label) for item_id, one in zip(ids, fresh, strict=True) if one.found.label]
        marks += [mark(item_id, one.found.label) for one, item_id in relabelled]
        if marks:
            connection.execute(insert(store.marks), marks)
        assigned = splits.assign_within(connection, project_id)
    result.added, result.relabelled = len(fresh), len(relabelled)
    result.classes = dict(sorted(Counter(one.found.label for one in fresh if one.found.label).items()))
    result.splits = dict(Counter(place for place in places if place) + Counter(assigned))
    return result


def _row(project_id: str, one: _Taken, split: str | None, now: float) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "name": one.found.name,
        "path": one.path,
        "sha256": one.sha256,
        "width": one.width,
        "height": one.height,
        "split": split,
        "split_given": split is not None,
        "added": now,
    }


def _mark(item_id: int, label: str | None, *, class_ids: dict[str, int], now: float) -> dict[str, Any]:
    assert label is not None, "callers leave unlabelled pictures out"
    return {"item_id": item_id, "class_id": class_ids[label], "kind": "class", "by": "import", "created": now}


def _without_duplicates(connection: Connection, project_id: str, taken: list[_Taken], result: ImportReport) -> tuple[list[_Taken], list[tuple[_Taken, int]]]:
    """Part new pictures from those the project has; a known picture without a class takes the one it now comes with."""
    table, marks, classes = store.items, store.marks, store.classes
    query = (
        select(table.c.id, table.c.sha256, table.c.name, classes.c.name.label("label"))
        .select_from(table.outerjoin(marks, (marks.c.item_id == table.c.id) & (marks.c.kind == "class")).outerjoin(classes, classes.c.id == marks.c.class_id))
        .where(table.c.project_id == project_id)
    )
    known: dict[str, tuple[int | None, str, str | None]] = {row.sha256: (row.id, row.name, row.label) for row in connection.execute(query)}
    fresh: list[_Taken] = []
    relabelled: list[tuple[_Taken, int]] = []
    for one in taken:
        label = one.found.label
        if one.sha256 not in known:
            known[one.sha256] = (None, one.found.name, label)
            fresh.append(one)
            continue
        item_id, name, had = known[one.sha256]
        result.duplicates += 1
        reason = f"the same picture as {name}"
        if label and had is None and item_id is not None:
            relabelled.append((one, item_id))
            known[one.sha256] = (item_id, name, label)
            reason += f", which now has the class '{label}'"
        elif label and had and label != had:
            reason += f", but that one is '{had}' and this one '{label}': '{had}' was kept"
        result.skipped.append(Skipped(one.found.name, reason))
    return fresh, relabelled
