"""Entering pictures that were read: pictures, classes and labels in one transaction, so that a killed import adds nothing.

A split is entered where the data set gave it. The others are for `splits`, once the pictures were looked at; what that takes out again
(`looking`) is then left out of the count, too.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, insert, select, update

from engine.data import items, store
from engine.data.fitting import Fit
from engine.data.formats import DataSet, Found, Skipped
from engine.data.marks import TAGGING
from engine.data.names import clean_name
from engine.data.placing import Placed
from engine.data.reading import Taken

__all__ = ["Counts", "Entered", "Mapping_", "count", "drop_classes", "enter", "is_empty", "renamed"]

Mapping_ = Mapping[str, str | None]
"""Class in the data set -> class in the project; None leaves the class out."""

MOST_EMPTY_CLASSES = 200
_CHUNK = 1000


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


def enter(project_id: str, taken: Sequence[Taken], data: DataSet, fit: Fit, mapping: Mapping_) -> Entered:
    """Enter pictures with their labels. `taken` are already renamed; `mapping` only names the classes that no picture has."""
    result = Entered()
    given = {found.split for found in data.pictures}
    with store.session() as connection:
        if fit.task:
            connection.execute(update(store.projects).where(store.projects.c.id == project_id).values(task=fit.task))
        result.fresh, relabelled = _without_duplicates(connection, project_id, taken, result.skipped, several=fit.task == TAGGING)
        result.relabelled = [one for one, _ in relabelled]
        class_ids, result.made = _class_ids(connection, project_id, [*result.fresh, *result.relabelled], data, mapping)
        # without validation pictures of its own, a data set's training pictures are free, so that some of them can serve for it
        result.places = [None if one.found.split == "train" and "val" not in given else one.found.split for one in result.fresh]
        now = time.time()
        first = (connection.scalar(select(func.max(store.items.c.id))) or 0) + 1
        rows = [_row(project_id, one, place, now) for one, place in zip(result.fresh, result.places, strict=True)]
        ids = _add_items(connection, rows, first)
        _mark_relabelled(connection, relabelled)
        _add_marks(connection, [*zip(result.fresh, ids, strict=True), *relabelled], class_ids, now)
    return result


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


def _class_ids(connection: Connection, project_id: str, taken: Sequence[Taken], data: DataSet, mapping: Mapping_) -> tuple[dict[str, int], set[str]]:
    """Return the ids of all classes that are needed, and the names of those that are new and that only pictures brought."""
    known = set(connection.scalars(select(store.classes.c.name).where(store.classes.c.project_id == project_id)))
    wanted = {label for one in taken for label in _labels(one)}
    made = wanted - known
    if len(data.classes) <= MOST_EMPTY_CLASSES:  # a long list of names is somebody else's vocabulary
        listed = {name for label in data.classes if (name := renamed(label, mapping))}
        wanted |= listed
        made -= listed
    return {label: items.class_id_of(connection, project_id, label) for label in sorted(wanted)}, made


_ITEM = (
    *("project_id", "name", "path", "sha256", "width", "height", "split", "split_given"),
    *("excluded", "revision", "added", "reviewed", "group_name", "fingerprint"),
)
_MARK = ("item_id", "class_id", "kind", "geometry", "by", "created")


def _row(project_id: str, one: Taken, split: str | None, now: float) -> tuple[Any, ...]:
    """Return a picture's row, as `_ITEM` names its columns."""
    found = one.found
    return (
        *(project_id, found.name, one.path, one.sha256, one.width, one.height, split, split is not None),
        *(False, 0, now, found.reviewed, found.group, one.fingerprint),
    )


def _insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows. On SQLite without SQLAlchemy's work on each value, which would be half of an import's time: they must be plain ones."""
    if connection.dialect.name != "sqlite":
        connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])
        return
    named, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({named}) VALUES ({marks})", rows)


def _add_items(connection: Connection, rows: list[tuple[Any, ...]], first: int) -> list[int]:
    """Insert pictures and return their ids.

    SQLite has one writer, so ids are known beforehand and rows go in as they are; another database gives them out itself.
    """
    if not rows:
        return []
    if connection.dialect.name == "sqlite":
        ids = list(range(first, first + len(rows)))
        _insert(connection, store.items, ("id", *_ITEM), [(one, *row) for one, row in zip(ids, rows, strict=True)])
        return ids
    named = [dict(zip(_ITEM, row, strict=True)) for row in rows]
    return list(connection.scalars(insert(store.items).returning(store.items.c.id, sort_by_parameter_order=True), named))


def _mark_relabelled(connection: Connection, relabelled: Sequence[tuple[Taken, int]]) -> None:
    """Count an edit of the pictures that now have labels: whoever has them open must notice."""
    table = store.items
    for one, item_id in relabelled:
        values: dict[str, Any] = {"reviewed": True} if one.found.reviewed else {}
        connection.execute(update(table).where(table.c.id == item_id).values(revision=table.c.revision + 1, **values))


def _add_marks(connection: Connection, pairs: Sequence[tuple[Taken, int]], class_ids: Mapping[str, int], now: float) -> None:
    """Insert the labels of pictures, some thousand at a time."""
    written: Callable[[Any], Any] = json.dumps if connection.dialect.name == "sqlite" else lambda geometry: geometry
    rows: list[tuple[Any, ...]] = []
    for one, item_id in pairs:
        rows += [(item_id, class_ids[label], "class", None, "import", now) for label in one.found.labels]
        rows += [(item_id, class_ids[label], kind, written(geometry), "import", now) for label, kind, geometry in one.marks]
        if len(rows) >= _CHUNK:
            _insert(connection, store.marks, _MARK, rows)
            rows = []
    if rows:
        _insert(connection, store.marks, _MARK, rows)


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


def _without_duplicates(
    connection: Connection, project_id: str, taken: Sequence[Taken], skipped: list[Skipped], *, several: bool
) -> tuple[list[Taken], list[tuple[Taken, int]]]:
    """Part new pictures from those the project has; a known picture without labels takes those it now comes with.

    With `several` the same picture met twice in this import (in two class folders, say) has the classes of both.
    """
    known = _known(connection, project_id)
    fresh: list[Taken] = []
    place: dict[str, int] = {}  # in `fresh`, or ~place in `relabelled`
    relabelled: list[tuple[Taken, int]] = []
    for one in taken:
        found, marks = one.found, one.marks
        had = known.get(one.sha256)
        if had is None:
            known[one.sha256] = _Known(None, found.name, found.labels, found.reviewed or bool(marks))
            place[one.sha256] = len(fresh)
            fresh.append(one)
            continue
        reason = f"the same picture as {had.name}"
        bare = not had.labels and not (several and had.drawn)  # nobody has said what it shows, not even that it is none of these
        whole = bool(found.labels) and bare
        drawn = (bool(marks) or found.reviewed and (not several or bare)) and not had.drawn
        if whole or drawn:
            label, more = (found.label, found.more) if whole else (None, ())
            kept: Sequence[Placed] = marks if drawn else ()
            if had.id is None:  # it came a moment ago, from where nothing was said about it
                at = place[one.sha256]
                first = fresh[at].found
                said = replace(first, label=label or first.label, more=more or first.more, reviewed=first.reviewed or (found.reviewed and drawn))
                fresh[at] = replace(fresh[at], found=said, marks=kept or fresh[at].marks)
            else:
                place[one.sha256] = ~len(relabelled)
                said = Found(found.name, label, found.split, found.group, reviewed=found.reviewed and drawn, more=more)
                relabelled.append((replace(one, found=said, marks=kept), had.id))
            known[one.sha256] = _Known(had.id, had.name, said.labels or had.labels, had.drawn or drawn)
            reason += f", which now has {_named(said.labels)}" if whole else ", which now has its labels"
        elif several and one.sha256 in place and (more := tuple(name for name in found.labels if name not in had.labels)):
            at = place[one.sha256]
            if at >= 0:
                fresh[at] = _with_more(fresh[at], more)
            else:
                relabelled[~at] = (_with_more(relabelled[~at][0], more), relabelled[~at][1])
            known[one.sha256] = replace(had, labels=(*had.labels, *more))
            reason += f", which now also has {_named(more)}"
        elif found.labels and had.labels and set(found.labels) != set(had.labels):
            reason += f", but that one is {_quoted(had.labels)} and this one {_quoted(found.labels)}: {_quoted(had.labels)} was kept"
        skipped.append(Skipped(found.name, reason))
    return fresh, relabelled


def _with_more(one: Taken, more: Sequence[str]) -> Taken:
    label, *others = (*one.found.labels, *more)
    return replace(one, found=replace(one.found, label=label, more=tuple(others)))


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels[:4]) + (" ..." if len(labels) > 4 else "")


def _named(labels: Sequence[str]) -> str:
    return f"the class{'' if len(labels) == 1 else 'es'} {_quoted(labels)}"
