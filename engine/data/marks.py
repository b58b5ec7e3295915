"""The labels of a picture that have a shape: read, replaced as a whole, proposed by a model and agreed to.

A picture's marks are replaced together, on the revision they were seen at: where another browser was faster, the edit is refused and
nothing is lost in silence. Classes of whole pictures are for `items.set_label`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from engine.data import items, shapes, store
from engine.data.names import clean_name
from engine.errors import StudioError

__all__ = ["MOST_MARKS", "TAGGING", "TASK_KINDS", "Mark", "holds", "most_drawn", "of_items", "one_each", "propose", "replace", "set_reviewed"]

TASK_KINDS: Mapping[str, tuple[shapes.Kind, ...]] = {
    "image-classification": ("class",),
    "multi-label-classification": ("class",),
    "object-detection": ("box", "polygon", "mask"),
    "semantic-segmentation": ("polygon", "mask", "box"),
    "instance-segmentation": ("polygon", "mask"),
}
"""Which kinds of label a task learns from, the usual one first. Where a task takes boxes, other shapes count with the box round them."""

TAGGING = "multi-label-classification"
"""The task in which a whole picture can have several classes, or none."""

MOST_MARKS = 5000
"""Most marks of one picture."""


@dataclass(frozen=True)
class Mark:
    """One label in a picture. `label` is a class name, `geometry` as `engine.data.shapes` says, `by` 'person', 'import' or 'model'."""

    label: str
    kind: str
    geometry: Mapping[str, Any] | None = None
    by: str = "person"
    score: float | None = None
    id: int | None = None


def one_each(task: str) -> bool:
    """Tell whether each picture of a task has exactly one class. Elsewhere it can have several labels, or none: then `reviewed` says that this is known.

    >>> one_each("image-classification"), one_each("multi-label-classification"), one_each("object-detection")
    (True, False, False)
    """
    return "class" in TASK_KINDS[task] and task != TAGGING


def of_items(item_ids: Iterable[int], *, proposals: bool = True) -> dict[int, list[Mark]]:
    """Return the marks of pictures, in the order in which they were made; pictures without any have an empty list."""
    wanted = list(item_ids)
    found: dict[int, list[Mark]] = {one: [] for one in wanted}
    table, classes = store.marks, store.classes
    with store.session() as connection:
        for start in range(0, len(wanted), 500):
            query = (
                select(table, classes.c.name.label("label"))
                .join(classes, classes.c.id == table.c.class_id)
                .where(table.c.item_id.in_(wanted[start : start + 500]), table.c.kind != "class")
                .order_by(table.c.id)
            )
            for row in connection.execute(query if proposals else query.where(table.c.by != "model")):
                found[row.item_id].append(Mark(row.label, row.kind, row.geometry, row.by, row.score, row.id))
    return found


def most_drawn(item_ids: Iterable[int]) -> dict[int, str]:
    """Return the class that is drawn most often in each picture, the first by name where several are; pictures with nothing drawn are left out.

    A model's proposals do not count.
    """
    wanted = list(item_ids)
    found: dict[int, str] = {}
    table, classes, drawn = store.marks, store.classes, func.count().label("drawn")
    query = select(table.c.item_id, classes.c.name, drawn).join(classes, classes.c.id == table.c.class_id).where(table.c.kind != "class", table.c.by != "model")
    query = query.group_by(table.c.item_id, classes.c.name).order_by(drawn.desc(), classes.c.name)
    with store.session() as connection:
        for start in range(0, len(wanted), 500):
            for row in connection.execute(query.where(table.c.item_id.in_(wanted[start : start + 500]))):
                found.setdefault(row.item_id, row.name)
    return found


def replace(item_id: int, marks: Sequence[Mark], revision: int | None, *, reviewed: bool | None = True) -> int:
    """Put these marks in the place of all that a picture had, proposals included, and return its new revision.

    Args:
        item_id: the picture.
        marks: all of them, in the order in which they lie on each other.
        revision: the revision they were made on; None overwrites whatever is there.
        reviewed: whether the picture now counts as labelled, even where it holds nothing; None leaves that as it is.

    Raises:
        ConflictError: if the picture was edited meanwhile.
        StudioError: if it is gone, or a mark is no valid shape.
    """
    if len(marks) > MOST_MARKS:
        raise StudioError(f"a picture can hold {MOST_MARKS:,} labels, and this one has {len(marks):,}", "Remove some.")
    with store.session() as connection:
        items.touch(connection, item_id, revision, **({} if reviewed is None else {"reviewed": reviewed}))
        row = connection.execute(select(store.items).where(store.items.c.id == item_id)).one()
        connection.execute(delete(store.marks).where(store.marks.c.item_id == item_id, store.marks.c.kind != "class"))
        _enter(connection, row, marks)
        return int(row.revision)


def holds(item: items.Item, marks: Sequence[Mark]) -> bool:
    """Tell whether a picture's marks are exactly these: then an edit whose answer got lost has arrived, and sending it again is no conflict.

    Raises:
        StudioError: if a mark is no valid shape.
    """
    wanted = [(clean_name(mark.label, "class"), mark.kind, shapes.checked(mark.kind, mark.geometry, item.width, item.height), mark.by) for mark in marks]
    return wanted == [(mark.label, mark.kind, mark.geometry, mark.by) for mark in of_items([item.id])[item.id]]


def propose(item_id: int, marks: Sequence[Mark]) -> int:
    """Put a model's proposals in the place of its earlier ones, and return how many are kept. The picture's revision stays.

    Only where nobody has drawn, or said that there is nothing: people are faster than a model, and then none are kept. A shape with no inside is
    left out.
    """
    table, pictures = store.marks, store.items
    with store.session() as connection:
        connection.execute(update(pictures).where(pictures.c.id == item_id).values(revision=pictures.c.revision))  # changes nothing: it takes the write lock
        row = connection.execute(select(pictures).where(pictures.c.id == item_id)).one_or_none()
        said = select(table.c.id).where(table.c.item_id == item_id, table.c.by != "model").limit(1)
        if row is None or row.reviewed or connection.scalar(said) is not None:
            return 0
        connection.execute(delete(table).where(table.c.item_id == item_id, table.c.by == "model", table.c.kind != "class"))
        kept = [mark for mark in marks if _has_inside(mark, row)]
        _enter(connection, row, [Mark(mark.label, mark.kind, mark.geometry, "model", mark.score) for mark in kept])
        return len(kept)


def _has_inside(mark: Mark, item: Any) -> bool:
    try:
        return shapes.checked(mark.kind, mark.geometry, item.width, item.height) is not None
    except StudioError:
        return False


def _enter(connection: Connection, item: Any, marks: Sequence[Mark]) -> None:
    class_ids: dict[str, int] = defaultdict(int)
    now = time.time()
    rows = []
    for mark in marks:
        name = clean_name(mark.label, "class")
        class_ids[name] = class_ids[name] or items.class_id_of(connection, item.project_id, name)
        rows.append(
            {
                "item_id": item.id,
                "class_id": class_ids[name],
                "kind": mark.kind,
                "geometry": shapes.checked(mark.kind, mark.geometry, item.width, item.height),
                "by": mark.by,
                "score": mark.score,
                "created": now,
            }
        )
    if rows:
        connection.execute(insert(store.marks), rows)


def set_reviewed(item_id: int, reviewed: bool, revision: int | None) -> int:
    """Say that a picture's marks are complete (or not yet), and return its new revision."""
    with store.session() as connection:
        items.touch(connection, item_id, revision, reviewed=reviewed)
        return int(connection.scalar(select(store.items.c.revision).where(store.items.c.id == item_id)) or 0)
