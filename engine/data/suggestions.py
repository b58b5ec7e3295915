"""What a model proposes for pictures, until a person agrees: kept as marks by 'model', which counting, listing and freezing pass over.

Classes of whole pictures are replaced, ordered by doubt and agreed to here; drawn shapes one picture at a time by `marks.propose`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from engine.data import items, store
from engine.data.marks import one_each

__all__ = ["Suggestion", "agree", "agree_above", "count", "counts", "drawn_on", "forget", "of_items", "suggest", "unsure"]

_CHUNK = 500


@dataclass(frozen=True)
class Suggestion:
    """A class that a model proposes for a picture. `score` is how sure it says it is, a share of 0..1."""

    label: str
    score: float


def suggest(project_id: str, rows: Iterable[tuple[int, str, float]]) -> int:
    """Put proposals (picture, class, score) in the place of the project's earlier ones; return how many are kept.

    Pictures that have a class by now, are known to show none, are set aside or gone keep none: people are faster than a job.
    """
    table, pictures = store.marks, store.items
    now = time.time()
    with store.session() as connection:
        _forget(connection, project_id)
        ids: dict[str, int] = {}
        mine = select(pictures.c.id).where(pictures.c.project_id == project_id, pictures.c.excluded.is_(False))
        task = str(connection.scalar(select(store.projects.c.task).where(store.projects.c.id == project_id)))
        free = set(connection.scalars(mine if one_each(task) else mine.where(pictures.c.reviewed.is_(False))))
        free -= set(
            connection.scalars(
                select(table.c.item_id).join(pictures, pictures.c.id == table.c.item_id).where(pictures.c.project_id == project_id, table.c.kind == "class")
            )
        )
        kept: list[dict[str, Any]] = []
        for item_id, label, score in rows:
            if item_id in free:
                ids[label] = ids.get(label) or items.class_id_of(connection, project_id, label)
                kept.append({"item_id": item_id, "class_id": ids[label], "kind": "class", "by": "model", "score": float(score), "created": now})
        for start in range(0, len(kept), _CHUNK):
            connection.execute(insert(table), kept[start : start + _CHUNK])
    return len(kept)


def forget(project_id: str) -> None:
    """Drop all proposals of classes."""
    with store.session() as connection:
        _forget(connection, project_id)


def _forget(connection: Connection, project_id: str) -> None:
    table, pictures = store.marks, store.items
    own = select(pictures.c.id).where(pictures.c.project_id == project_id)
    connection.execute(delete(table).where(table.c.by == "model", table.c.kind == "class", table.c.item_id.in_(own)))


def _open(*columns: Any, project_id: str) -> Select[Any]:
    """Select from the proposals for pictures that are not set aside."""
    table, pictures, classes = store.marks, store.items, store.classes
    source = table.join(pictures, pictures.c.id == table.c.item_id).join(classes, classes.c.id == table.c.class_id)
    return (
        select(*columns)
        .select_from(source)
        .where(classes.c.project_id == project_id, table.c.kind == "class", table.c.by == "model", pictures.c.excluded.is_(False))
    )


def count(project_id: str, *, above: float = 0.0) -> int:
    """Count the proposals of at least that score."""
    with store.session() as connection:
        return int(connection.scalar(_open(func.count(), project_id=project_id).where(store.marks.c.score >= above)) or 0)


def counts(project_id: str, *, above: float = 0.0) -> dict[str, int]:
    """Count the proposals of at least that score by class."""
    query = _open(store.classes.c.name, func.count(), project_id=project_id).where(store.marks.c.score >= above).group_by(store.classes.c.name)
    with store.session() as connection:
        return {name: int(number) for name, number in connection.execute(query.order_by(store.classes.c.name))}


def of_items(item_ids: Sequence[int]) -> dict[int, Suggestion]:
    """Return the proposals of those pictures that have one."""
    table, classes = store.marks, store.classes
    found: dict[int, Suggestion] = {}
    with store.session() as connection:
        for start in range(0, len(item_ids), _CHUNK):
            rows = connection.execute(
                select(table.c.item_id, table.c.score, classes.c.name)
                .join(classes, classes.c.id == table.c.class_id)
                .where(table.c.item_id.in_(item_ids[start : start + _CHUNK]), table.c.kind == "class", table.c.by == "model")
            )
            found.update((row.item_id, Suggestion(row.name, row.score)) for row in rows)
    return found


def unsure(project_id: str, *, limit: int = 60, surest: bool = False) -> list[int]:
    """Return the pictures whose proposal the model doubts most (with `surest`, least): those teach it most."""
    score = store.marks.c.score
    query = _open(store.items.c.id, project_id=project_id).order_by(score.desc() if surest else score, store.items.c.id).limit(limit)
    with store.session() as connection:
        return list(connection.scalars(query))


def agree(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, str, int]]:
    """Make proposals the pictures' classes. Each pair is (picture, revision seen).

    Returns:
        (picture, class, new revision) of those agreed to. A picture edited since, or whose proposal is gone, is left.
    """
    done = []
    with store.session() as connection:
        for item_id, revision in pairs:
            done += _agreed(connection, item_id, revision)
    return done


def _agreed(connection: Connection, item_id: int, revision: int) -> list[tuple[int, str, int]]:
    table, pictures = store.marks, store.items
    proposal = (table.c.item_id == item_id, table.c.kind == "class", table.c.by == "model")
    where = (pictures.c.id == item_id, pictures.c.revision == revision, select(table.c.id).where(*proposal).exists())
    if not connection.execute(update(pictures).where(*where).values(revision=pictures.c.revision + 1)).rowcount:
        return []
    name = connection.scalar(select(store.classes.c.name).join(table, table.c.class_id == store.classes.c.id).where(*proposal))
    connection.execute(update(table).where(*proposal).values(by="person", created=time.time()))
    return [(item_id, str(name), revision + 1)]


def agree_above(project_id: str, score: float) -> list[tuple[int, str, int]]:
    """Agree to every proposal of at least that score, however many; return as `agree` does. They count as a person's, their scores stay."""
    table, pictures = store.marks, store.items
    meant = table.c.score >= score
    of_these = _open(table.c.item_id, project_id=project_id).where(meant)
    with store.session() as connection:
        connection.execute(update(pictures).where(pictures.c.id.in_(of_these)).values(revision=pictures.c.revision + 1))  # first: it takes the write lock
        rows = connection.execute(_open(pictures.c.id, store.classes.c.name, pictures.c.revision, project_id=project_id).where(meant).order_by(pictures.c.id))
        done = [(row.id, row.name, row.revision) for row in rows]
        ids = _open(table.c.id, project_id=project_id).where(meant)
        connection.execute(update(table).where(table.c.id.in_(ids)).values(by="person", created=time.time()))
    return done


def drawn_on(project_id: str, *, limit: int = 5000) -> list[int]:
    """Return the pictures in which a model proposes shapes, in their order."""
    table, pictures = store.marks, store.items
    proposed = select(table.c.item_id).join(store.classes, store.classes.c.id == table.c.class_id)
    proposed = proposed.where(store.classes.c.project_id == project_id, table.c.kind != "class", table.c.by == "model")
    query = select(pictures.c.id).where(pictures.c.id.in_(proposed), pictures.c.excluded.is_(False)).order_by(pictures.c.id).limit(limit)
    with store.session() as connection:
        return list(connection.scalars(query))
