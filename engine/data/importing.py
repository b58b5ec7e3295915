"""Bringing pictures into a project: looked at first, then read, then entered in one transaction.

A killed import leaves nothing in the database. Copies are named by their content, so what it left on disk is used by the next try.
Reading files is for `reading`, archives for `archives`, telling classes and splits for `layouts`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from engine import locks, workspace
from engine.data import items, layouts, projects, sources, splits, store, tables
from engine.data.layouts import Layout, Skipped
from engine.data.names import clean_name
from engine.data.reading import Reader, Taken, read_all
from engine.errors import StudioError

__all__ = ["Findings", "ImportReport", "Skipped", "import_path", "inspect"]

EXAMPLES = 6


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
        with Reader(project_id, source, copy=not (is_folder if in_place is None else in_place)) as reader:
            taken, skipped = read_all(reader, layout.pictures, report, should_stop)
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


def _enter(project_id: str, taken: list[Taken], layout: Layout) -> ImportReport:
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


def _row(project_id: str, one: Taken, split: str | None, now: float) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "name": one.found.name,
        "path": one.path,
        "sha256": one.sha256,
        "width": one.width,
        "height": one.height,
        "fingerprint": one.fingerprint,
        "group_name": one.found.group,
        "split": split,
        "split_given": split is not None,
        "added": now,
    }


def _mark(item_id: int, label: str | None, *, class_ids: dict[str, int], now: float) -> dict[str, Any]:
    assert label is not None, "callers leave unlabelled pictures out"
    return {"item_id": item_id, "class_id": class_ids[label], "kind": "class", "by": "import", "created": now}


def _without_duplicates(connection: Connection, project_id: str, taken: list[Taken], result: ImportReport) -> tuple[list[Taken], list[tuple[Taken, int]]]:
    """Part new pictures from those the project has; a known picture without a class takes the one it now comes with."""
    table, marks, classes = store.items, store.marks, store.classes
    query = (
        select(table.c.id, table.c.sha256, table.c.name, classes.c.name.label("label"))
        .select_from(table.outerjoin(marks, (marks.c.item_id == table.c.id) & (marks.c.kind == "class")).outerjoin(classes, classes.c.id == marks.c.class_id))
        .where(table.c.project_id == project_id)
    )
    known: dict[str, tuple[int | None, str, str | None]] = {row.sha256: (row.id, row.name, row.label) for row in connection.execute(query)}
    fresh: list[Taken] = []
    relabelled: list[tuple[Taken, int]] = []
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
