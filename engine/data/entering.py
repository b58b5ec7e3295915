"""Entering pictures that were read: pictures, classes and labels in one transaction, so that a killed import adds nothing.

A split is entered where the data set gave it. The others are for `splits`, once the pictures were looked at; what that takes out again
(`looking`) is then left out of the count, too. `alongside` does all this while further pictures are read.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, insert, select, update

from engine.data import items, store
from engine.data.fitting import Fit
from engine.data.formats import DataSet, Found, Skipped
from engine.data.marks import TAGGING
from engine.data.names import clean_name
from engine.data.placing import Placed
from engine.data.reading import Taken

__all__ = ["BATCH", "Counts", "Entered", "Entry", "Mapping_", "count", "drop_classes", "is_empty", "renamed"]

Mapping_ = Mapping[str, str | None]
"""Class in the data set -> class in the project; None leaves the class out."""

MOST_EMPTY_CLASSES = 200

BATCH = 500
"""Pictures that are entered together, and rows that go in by one statement."""


@dataclass
class Entered:
    """What came into the database.

    Attributes:
        fresh: new pictures.
        relabelled: pictures that the project has and that now have labels.
        places: the split of each fresh picture, where the data set gave it.
        made: classes that are new and that only pictures brought.
        skipped: each duplicate, with the reason.
    """

    fresh: list[Taken] = field(default_factory=list)
    relabelled: list[Taken] = field(default_factory=list)
    places: list[str | None] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass
class Counts:
    """What came into the database, in numbers. `classes` counts pictures by class, or labels where they are drawn."""

    added: int
    relabelled: int
    labels: int
    classes: dict[str, int]
    splits: dict[str, int]


@dataclass(slots=True, unsafe_hash=True)  # as `Taken` is
class _Known:
    """A picture that the project has, or that came a moment ago (then without an id)."""

    id: int | None
    name: str
    labels: tuple[str, ...]
    drawn: bool


def is_empty(connection: Connection, project_id: str) -> bool:
    """Tell whether a project has no pictures yet."""
    return not store.exists(connection, store.items, project_id=project_id)


def renamed(label: str, mapping: Mapping_) -> str | None:
    """Return what a class of the data set is called in the project; None if it is left out."""
    found = mapping.get(label, label)
    return None if found is None else clean_name(found, "class")


class Entry:
    """Pictures and their labels on their way into a project, in the transaction of one connection."""

    def __init__(self, connection: Connection, project_id: str, data: DataSet, fit: Fit, mapping: Mapping_) -> None:
        """Begin: from here on nobody else can write. `mapping` renames the labels that are drawn; whole pictures are renamed already."""
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # before the highest id is read, since another project's import may be under way
        self._connection, self._project_id, self._mapping = connection, project_id, mapping
        self._several = fit.task == TAGGING
        given = {found.split for found in data.pictures}
        # without validation pictures of its own, a data set's training pictures are free, so that some of them can serve for it
        self._splits = {split: None if split == "train" and "val" not in given else split for split in given}
        self._now = time.time()
        if fit.task:
            connection.execute(update(store.projects).where(store.projects.c.id == project_id).values(task=fit.task))
        self._known = _known(connection, project_id)
        self._place: dict[str, int] = {}  # by sha256: in `fresh`, or ~place in `relabelled`
        self._amended: set[int] = set()  # of `fresh`: those that got labels after they were entered
        self._ids: list[int] = []
        self._relabelled: list[tuple[Taken, int]] = []
        self._result = Entered()
        self._first = (connection.scalar(select(func.max(store.items.c.id))) or 0) + 1
        self._class_ids = _ClassIds(connection, project_id)
        if len(data.classes) <= MOST_EMPTY_CLASSES:  # a long list of names is somebody else's vocabulary
            self._class_ids.list({name for label in data.classes if (name := renamed(label, mapping))})
        self._names: dict[str, str | None] = {}

    def add(self, taken: Sequence[Taken]) -> None:
        """Enter some pictures. One that was there before enters no second time, but its labels may."""
        begun = len(self._ids)
        for one in taken:
            self._part(self._renamed(one) if one.marks else one)
        fresh = self._result.fresh[begun:]
        places = [self._splits[one.found.split] for one in fresh]
        rows = [_row(one, place) for one, place in zip(fresh, places, strict=True)]
        same = {"project_id": self._project_id, "excluded": False, "revision": 0, "added": self._now}
        self._ids += _add_items(self._connection, same, rows, self._first + begun)
        self._result.places += places
        self._add_marks(list(zip(fresh, self._ids[begun:], strict=True)))

    def end(self) -> Entered:
        """Enter what the last pictures said about earlier ones, and return what came in. It is kept once the transaction is."""
        table, marks = store.items, store.marks
        for place in sorted(self._amended):
            one, item_id = self._result.fresh[place], self._ids[place]
            self._connection.execute(delete(marks).where(marks.c.item_id == item_id))
            self._connection.execute(update(table).where(table.c.id == item_id).values(reviewed=one.found.reviewed))
            self._add_marks([(one, item_id)])
        for one, item_id in self._relabelled:  # an edit: whoever has them open must notice
            values: dict[str, Any] = {"reviewed": True} if one.found.reviewed else {}
            self._connection.execute(update(table).where(table.c.id == item_id).values(revision=table.c.revision + 1, **values))
        self._add_marks(self._relabelled)
        self._result.relabelled = [one for one, _ in self._relabelled]
        self._result.made = self._class_ids.made
        return self._result

    def _renamed(self, one: Taken) -> Taken:
        changed = False
        for label, _, _ in one.marks:
            if label not in self._names:
                self._names[label] = renamed(label, self._mapping)
            changed = changed or self._names[label] != label
        if not changed:
            return one
        return replace(one, marks=[(new, kind, geometry) for old, kind, geometry in one.marks if (new := self._names[old]) is not None])

    def _add_marks(self, pairs: Sequence[tuple[Taken, int]]) -> None:
        """Insert the labels of pictures."""
        ids = self._class_ids
        written: Callable[[str], Any] = str if self._connection.dialect.name == "sqlite" else json.loads  # of a string, `str` makes nothing new
        rows: list[tuple[Any, ...]] = []
        for one, item_id in pairs:
            rows += [(item_id, ids[label], "class", None) for label in one.found.labels]
            rows += [(item_id, ids[label], kind, written(geometry)) for label, kind, geometry in one.marks]
        _insert(self._connection, store.marks, {"by": "import", "created": self._now}, _MARK, rows)

    def _part(self, one: Taken) -> None:
        """Part a new picture from one the project has; a known picture without labels takes those it now comes with.

        With several classes a picture, the same one met twice in this import (in two class folders, say) has the classes of both.
        """
        found, marks, known, fresh = one.found, one.marks, self._known, self._result.fresh
        had = known.get(one.sha256)
        if had is None:
            before = self._place.setdefault(one.sha256, len(fresh))
            if before == len(fresh):
                fresh.append(one)
                return
            same = fresh[before]
            had = _Known(None, same.found.name, same.found.labels, same.found.reviewed or bool(same.marks))
        reason = f"the same picture as {had.name}"
        bare = not had.labels and not (self._several and had.drawn)  # nobody has said what it shows, not even that it is none of these
        whole = bool(found.labels) and bare
        drawn = (bool(marks) or found.reviewed and (not self._several or bare)) and not had.drawn
        if whole or drawn:
            label, more = (found.label, found.more) if whole else (None, ())
            kept: Sequence[Placed] = marks if drawn else ()
            if had.id is None:  # it came a moment ago, from where nothing was said about it
                at = self._place[one.sha256]
                first = fresh[at].found
                said = replace(first, label=label or first.label, more=more or first.more, reviewed=first.reviewed or (found.reviewed and drawn))
                self._amend(at, replace(fresh[at], found=said, marks=kept or fresh[at].marks))
            else:
                self._place[one.sha256] = ~len(self._relabelled)
                said = Found(found.name, label, found.split, found.group, reviewed=found.reviewed and drawn, more=more)
                self._relabelled.append((replace(one, found=said, marks=kept), had.id))
                known[one.sha256] = _Known(had.id, had.name, said.labels or had.labels, had.drawn or drawn)
            reason += f", which now has {_named(said.labels)}" if whole else ", which now has its labels"
        elif self._several and one.sha256 in self._place and (more := tuple(name for name in found.labels if name not in had.labels)):
            at = self._place[one.sha256]
            if at >= 0:
                self._amend(at, _with_more(fresh[at], more))
            else:
                self._relabelled[~at] = (_with_more(self._relabelled[~at][0], more), self._relabelled[~at][1])
                known[one.sha256] = replace(had, labels=(*had.labels, *more))
            reason += f", which now also has {_named(more)}"
        elif found.labels and had.labels and set(found.labels) != set(had.labels):
            reason += f", but that one is {_quoted(had.labels)} and this one {_quoted(found.labels)}: {_quoted(had.labels)} was kept"
        self._result.skipped.append(Skipped(found.name, reason))

    def _amend(self, place: int, one: Taken) -> None:
        self._result.fresh[place] = one
        if place < len(self._ids):
            self._amended.add(place)


def count(entered: Entered, gone: Collection[str], assigned: Mapping[str, int]) -> Counts:
    """Count what an import brought: without the pictures whose sha256 is in `gone`, with the splits that were `assigned`."""
    fresh = [(one, place) for one, place in zip(entered.fresh, entered.places, strict=True) if one.sha256 not in gone]
    relabelled = [one for one in entered.relabelled if one.sha256 not in gone]
    classes = Counter(label for one, _ in fresh for label in _labels(one))
    return Counts(
        added=len(fresh),
        relabelled=len(relabelled),
        labels=classes.total() + sum(1 for one in relabelled for _ in _labels(one)),
        classes=dict(sorted(classes.items())),
        splits=dict(Counter(place for _, place in fresh if place) + Counter(assigned)),
    )


def drop_classes(project_id: str, names: Collection[str]) -> None:
    """Remove these classes where nothing has them: those that only pictures brought which were taken out again."""
    classes, marks = store.classes, store.marks
    with store.session() as connection:
        for name in names:
            bare = ~exists().where(marks.c.class_id == classes.c.id)
            connection.execute(delete(classes).where(classes.c.project_id == project_id, classes.c.name == name, bare))


def _labels(one: Taken) -> Iterable[str]:
    yield from one.found.labels
    for label, _, _ in one.marks:
        yield label


_ITEM = (*("name", "path", "sha256", "width", "height"), *("split", "split_given", "reviewed", "group_name", "fingerprint"))
_MARK = ("item_id", "class_id", "kind", "geometry")


def _row(one: Taken, split: str | None) -> tuple[Any, ...]:
    """Return a picture's row, as `_ITEM` names its columns."""
    found = one.found
    return found.name, one.path, one.sha256, one.width, one.height, split, split is not None, found.reviewed, found.group, one.fingerprint


def _insert(connection: Connection, table: Table, same: Mapping[str, Any], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows that have some values in common: `same`, by their columns.

    On SQLite they go in without SQLAlchemy's work on each value, which would be half of an import's time: they must be plain ones. Hundreds
    go in by one statement: while SQLite works on it, other threads have the interpreter.
    """
    if connection.dialect.name != "sqlite":
        if rows:
            connection.execute(insert(table), [{**same, **dict(zip(columns, row, strict=True))} for row in rows])
        return
    most = connection.connection.dbapi_connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)  # type: ignore[union-attr]
    step = min(BATCH, (most - len(same)) // len(columns))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        values = (*same.values(), *itertools.chain.from_iterable(some))
        connection.exec_driver_sql(_statement(table.name, tuple(same), tuple(columns), len(some)), values)


@lru_cache(maxsize=8)
def _statement(table: str, same: tuple[str, ...], columns: tuple[str, ...], rows: int) -> str:
    named = ", ".join(f'"{name}"' for name in (*same, *columns))
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({named}) SELECT {', '.join('?' * len(same))}, * FROM (VALUES {', '.join([row] * rows)})"  # noqa: S608


def _add_items(connection: Connection, same: Mapping[str, Any], rows: Sequence[tuple[Any, ...]], first: int) -> list[int]:
    """Insert pictures and return their ids.

    SQLite has one writer, so ids are known beforehand and rows go in as they are; another database gives them out itself.
    """
    if not rows:
        return []
    if connection.dialect.name == "sqlite":
        ids = list(range(first, first + len(rows)))
        _insert(connection, store.items, same, ("id", *_ITEM), [(one, *row) for one, row in zip(ids, rows, strict=True)])
        return ids
    named = [{**same, **dict(zip(_ITEM, row, strict=True))} for row in rows]
    return list(connection.scalars(insert(store.items).returning(store.items.c.id, sort_by_parameter_order=True), named))


class _ClassIds(dict[str, int]):
    """The ids of a project's classes by name. One that is asked for and not there yet is made; `made` are those that only pictures brought."""

    def __init__(self, connection: Connection, project_id: str) -> None:
        self._connection, self._project_id = connection, project_id
        self._present = set(connection.scalars(select(store.classes.c.name).where(store.classes.c.project_id == project_id)))
        self.made: set[str] = set()

    def list(self, names: Collection[str]) -> None:
        """Have these classes whether or not a picture shows them."""
        self._present |= set(names)
        for name in sorted(names):
            self[name]

    def __missing__(self, name: str) -> int:
        self[name] = found = items.class_id_of(self._connection, self._project_id, name)
        if name not in self._present:
            self.made.add(name)
        return found


def _known(connection: Connection, project_id: str) -> dict[str, _Known]:
    table, marks, classes = store.items, store.marks, store.classes
    source = table.outerjoin(marks, (marks.c.item_id == table.c.id) & (marks.c.kind == "class") & (marks.c.by != "model")).outerjoin(
        classes, classes.c.id == marks.c.class_id
    )
    drawn = set(
        connection.scalars(
            select(marks.c.item_id)
            .join(table, table.c.id == marks.c.item_id)
            .where(table.c.project_id == project_id, marks.c.kind != "class", marks.c.by != "model")
        )
    )
    query = select(table.c.id, table.c.sha256, table.c.name, table.c.reviewed, classes.c.name.label("label")).select_from(source)
    rows = connection.execute(query.where(table.c.project_id == project_id))
    known: dict[str, _Known] = {}
    for row in rows:
        had = known.get(row.sha256)
        labels = (() if had is None else had.labels) + (() if row.label is None else (row.label,))
        known[row.sha256] = _Known(row.id, row.name, labels, row.reviewed or row.id in drawn)
    return known


def _with_more(one: Taken, more: Sequence[str]) -> Taken:
    label, *others = (*one.found.labels, *more)
    return replace(one, found=replace(one.found, label=label, more=tuple(others)))


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels[:4]) + (" ..." if len(labels) > 4 else "")


def _named(labels: Sequence[str]) -> str:
    return f"the class{'' if len(labels) == 1 else 'es'} {_quoted(labels)}"
