"""What a model proposes where a picture can have several classes: each class with its own probability, kept as marks by 'model' as in `suggestions`.

A class counts as proposed from PROPOSED on. Less likely ones are kept too, down to LEAST: they say how sure the model is that a picture does not
show them, and what it is in doubt about.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, case, delete, func, select, update

from engine.data import store
from engine.data.suggestions import Suggestion

__all__ = ["LEAST", "PROPOSED", "agree_above", "count", "counts", "doubted", "of_items"]

PROPOSED = 0.5
LEAST = 0.05

_CHUNK = 500


def _open(*columns: Any, project_id: str) -> Select[Any]:
    """Select from the proposals for pictures that are not set aside and that nobody has answered."""
    table, pictures, classes = store.marks, store.items, store.classes
    source = table.join(pictures, pictures.c.id == table.c.item_id).join(classes, classes.c.id == table.c.class_id)
    wanted = (
        classes.c.project_id == project_id,
        table.c.kind == "class",
        table.c.by == "model",
        pictures.c.excluded.is_(False),
        pictures.c.reviewed.is_(False),
    )
    return select(*columns).select_from(source).where(*wanted)


def _sure(project_id: str, score: float) -> Select[Any]:
    """Select the pictures of which a class is at least so likely, and every other class either that, too, or as unlikely."""
    said = store.marks.c.score
    doubtful = func.sum(case((said >= score, 0), (said > 1 - score, 1), else_=0))
    return _open(store.marks.c.item_id, project_id=project_id).group_by(store.marks.c.item_id).having(func.max(said) >= score, doubtful == 0)


def of_items(item_ids: Sequence[int]) -> dict[int, list[Suggestion]]:
    """Return the classes that are proposed for each of those pictures that have any, the likeliest first."""
    table, classes = store.marks, store.classes
    found: dict[int, list[Suggestion]] = {}
    query = select(table.c.item_id, table.c.score, classes.c.name).join(classes, classes.c.id == table.c.class_id)
    query = query.where(table.c.kind == "class", table.c.by == "model", table.c.score >= PROPOSED).order_by(table.c.score.desc(), classes.c.name)
    with store.session() as connection:
        for start in range(0, len(item_ids), _CHUNK):
            for row in connection.execute(query.where(table.c.item_id.in_(item_ids[start : start + _CHUNK]))):
                found.setdefault(row.item_id, []).append(Suggestion(row.name, row.score))
    return found


def doubted(project_id: str, *, limit: int = 60, surest: bool = False) -> list[int]:
    """Return the pictures of which the model doubts a class most (with `surest`, least): those teach it most."""
    doubt = func.min(func.abs(store.marks.c.score - PROPOSED))
    query = _open(store.items.c.id, project_id=project_id).group_by(store.items.c.id).order_by(doubt.desc() if surest else doubt, store.items.c.id)
    with store.session() as connection:
        return list(connection.scalars(query.limit(limit)))


def count(project_id: str, *, above: float = PROPOSED) -> int:
    """Count the pictures that `agree_above` would settle."""
    with store.session() as connection:
        return int(connection.scalar(select(func.count()).select_from(_sure(project_id, above).subquery())) or 0)


def counts(project_id: str, *, above: float = PROPOSED) -> dict[str, int]:
    """Count, by class, the labels that `agree_above` would give."""
    name = store.classes.c.name
    query = _open(name, func.count(), project_id=project_id).where(store.marks.c.score >= above, store.marks.c.item_id.in_(_sure(project_id, above)))
    with store.session() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(query.group_by(name).order_by(name))}


def _settled(connection: Connection, item_id: int, score: float) -> tuple[str, ...]:
    """Make a picture's proposals of at least that score a person's, drop the others, and return the classes."""
    table, classes = store.marks, store.classes
    open_ = (table.c.item_id == item_id, table.c.kind == "class", table.c.by == "model")
    names = select(classes.c.name).join(table, table.c.class_id == classes.c.id).where(*open_, table.c.score >= score).order_by(classes.c.name)
    found = tuple(connection.scalars(names))
    connection.execute(update(table).where(*open_, table.c.score >= score).values(by="person", created=time.time()))
    connection.execute(delete(table).where(*open_))
    return found


def agree_above(project_id: str, score: float) -> list[tuple[int, tuple[str, ...], int]]:
    """Agree to what is proposed for every picture whose classes are all at least so sure, one way or the other.

    Pictures that seem to show no class at all are left to people.

    Returns:
        (picture, its classes now, new revision) of each.
    """
    pictures = store.items
    with store.session() as connection:
        mine = update(pictures).where(pictures.c.id.in_(_sure(project_id, score)))
        connection.execute(mine.values(revision=pictures.c.revision + 1))  # first: it takes the write lock
        ids = list(connection.scalars(_sure(project_id, score)))
        done = []
        for start in range(0, len(ids), _CHUNK):
            some = ids[start : start + _CHUNK]
            rows = dict(connection.execute(select(pictures.c.id, pictures.c.revision).where(pictures.c.id.in_(some))).all())  # type: ignore[arg-type]
            done += [(one, _settled(connection, one, score), int(rows[one])) for one in some]
            connection.execute(update(pictures).where(pictures.c.id.in_(some)).values(reviewed=True))
    return done
