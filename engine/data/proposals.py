"""Shapes that a model proposes in pictures, all of a project's at once: counted, agreed to above a score, taken back, dropped.

One picture's are written by `marks.propose` and answered on the drawing board; classes of whole pictures are for `suggestions`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select, update

from engine.data import store

__all__ = ["Agreed", "Open", "agree_above", "count", "counts", "forget", "take_back"]

_CHUNK = 500


@dataclass(frozen=True)
class Open:
    """How many shapes are proposed, and in how many pictures."""

    shapes: int
    pictures: int


@dataclass(frozen=True)
class Agreed:
    """What one agreement did: picture -> (revision after, the marks that became a person's)."""

    items: Mapping[int, tuple[int, tuple[int, ...]]]

    @property
    def shapes(self) -> int:
        """How many shapes were agreed to."""
        return sum(len(marks) for _, marks in self.items.values())


def _proposed(*columns: Any, project_id: str, above: float = 0.0) -> Select[Any]:
    """Select from the shapes proposed in pictures that are not set aside."""
    table, pictures, classes = store.marks, store.items, store.classes
    source = table.join(pictures, pictures.c.id == table.c.item_id).join(classes, classes.c.id == table.c.class_id)
    wanted = (classes.c.project_id == project_id, table.c.kind != "class", table.c.by == "model", pictures.c.excluded.is_(False))
    query = select(*columns).select_from(source).where(*wanted)
    return query.where(table.c.score >= above) if above > 0 else query


def count(project_id: str, *, above: float = 0.0) -> Open:
    """Count the shapes proposed with at least that score, and the pictures they are in."""
    query = _proposed(func.count(), func.count(store.marks.c.item_id.distinct()), project_id=project_id, above=above)
    with store.session() as connection:
        shapes, pictures = connection.execute(query).one()
    return Open(int(shapes), int(pictures))


def counts(project_id: str, *, above: float = 0.0) -> dict[str, int]:
    """Count the shapes proposed with at least that score by class."""
    name = store.classes.c.name
    query = _proposed(name, func.count(), project_id=project_id, above=above).group_by(name).order_by(name)
    with store.session() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(query)}


def agree_above(project_id: str, score: float) -> Agreed:
    """Make every shape proposed with at least that score a person's; the less sure ones stay proposals. Each picture counts one edit."""
    table, pictures = store.marks, store.items
    meant = _proposed(table.c.item_id, project_id=project_id, above=score)
    with store.session() as connection:
        connection.execute(update(pictures).where(pictures.c.id.in_(meant)).values(revision=pictures.c.revision + 1))  # first: it takes the write lock
        rows = connection.execute(
            _proposed(table.c.id, table.c.item_id, pictures.c.revision, project_id=project_id, above=score).order_by(table.c.item_id, table.c.id)
        )
        found: dict[int, tuple[int, tuple[int, ...]]] = {}
        for row in rows:
            found[row.item_id] = (row.revision, (*found.get(row.item_id, (0, ()))[1], row.id))
        ids = _proposed(table.c.id, project_id=project_id, above=score)
        connection.execute(update(table).where(table.c.id.in_(ids)).values(by="person", created=time.time()))
    return Agreed(found)


def take_back(agreed: Agreed) -> Agreed:
    """Make shapes proposals again, in pictures that nobody has edited since; return those that were. The others keep what they have."""
    table, pictures = store.marks, store.items
    done: dict[int, tuple[int, tuple[int, ...]]] = {}
    with store.session() as connection:
        for item_id, (revision, marks) in agreed.items.items():
            same = (pictures.c.id == item_id, pictures.c.revision == revision)
            if connection.execute(update(pictures).where(*same).values(revision=revision + 1)).rowcount:
                for start in range(0, len(marks), _CHUNK):
                    connection.execute(update(table).where(table.c.id.in_(marks[start : start + _CHUNK])).values(by="model"))
                done[item_id] = (revision + 1, marks)
    return Agreed(done)


def forget(project_id: str) -> int:
    """Turn down every proposed shape; return how many there were. What people drew or agreed to stays."""
    table, classes = store.marks, store.classes
    own = select(classes.c.id).where(classes.c.project_id == project_id)
    with store.session() as connection:
        return connection.execute(delete(table).where(table.c.class_id.in_(own), table.c.kind != "class", table.c.by == "model")).rowcount
