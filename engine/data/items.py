"""Pictures and their classes: listing, counting and sorting them.

An edit names the revision it was made on; where another browser was faster, it is refused, not lost in silence.
Rows come into being only in `engine.data.importing`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, and_, bindparam, delete, exists, func, insert, select, update

from engine import workspace
from engine.data import store
from engine.data.names import clean_name
from engine.errors import ConflictError, StudioError

__all__ = [
    "Item",
    "add_class",
    "class_id_of",
    "classes",
    "count_items",
    "delete_class",
    "exclude",
    "find_item",
    "get_item",
    "get_items",
    "list_ids",
    "list_items",
    "put_label",
    "put_labels",
    "rename_class",
    "set_label",
    "set_labels",
    "touch",
]

Order = Literal["id", "newest", "name"]
_CHUNK = 500  # below the 999 variables that old SQLite builds take in one query


@dataclass(frozen=True)
class Item:
    """One picture. `name` is how the user knows it, `path` where it lies; sizes in pixels.

    `labels` are the names of its classes, sorted; `label` is the first of them, None where there is none.
    """

    id: int
    project_id: str
    name: str
    path: Path
    sha256: str
    width: int
    height: int
    label: str | None
    split: str | None
    revision: int
    excluded: bool
    reviewed: bool = False
    labels: tuple[str, ...] = ()


@cache
def _selected() -> Select[Any]:
    """Build the query once: putting it together took a quarter of an edit's time."""
    items, labels, classes_ = store.items, store.marks, store.classes
    source = items.outerjoin(labels, and_(labels.c.item_id == items.c.id, labels.c.kind == "class", labels.c.by != "model")).outerjoin(
        classes_, classes_.c.id == labels.c.class_id
    )
    return select(items, classes_.c.name.label("label")).select_from(source)


@cache
def _one_selected() -> Select[Any]:
    return _selected().where(store.items.c.id == bindparam("one"))


@cache
def _class_selected() -> Select[Any]:
    return select(store.classes.c.id).where(store.classes.c.project_id == bindparam("project"), store.classes.c.name == bindparam("class_name"))


def _item(row: Row[Any]) -> Item:
    return Item(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        path=workspace.home() / row.path,  # an absolute path stays what it is
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        label=row.label,
        split=row.split,
        revision=row.revision,
        excluded=row.excluded,
        reviewed=row.reviewed,
        labels=() if row.label is None else (row.label,),
    )


def _merged(rows: Iterable[Row[Any]], found: dict[int, Item]) -> dict[int, Item]:
    """Make one item of the rows of each picture: there is one row a class, so only pictures with several have more than one."""
    for row in rows:
        had = found.get(row.id)
        labels = () if had is None else tuple(sorted({*had.labels, row.label}))
        found[row.id] = _item(row) if had is None else replace(had, labels=labels, label=labels[0])
    return found


def _filtered(
    query: Select[Any], project_id: str, label: str | None, split: str | None, unlabelled: bool, excluded: bool, nothing: bool = False
) -> Select[Any]:
    items, labels = store.items, store.marks
    query = query.where(items.c.project_id == project_id, items.c.excluded.is_(excluded))
    if split is not None:
        query = query.where(items.c.split == split)
    if label is not None:
        one = select(store.classes.c.id).where(store.classes.c.project_id == project_id, store.classes.c.name == label).scalar_subquery()
        query = query.where(items.c.id.in_(select(labels.c.item_id).where(labels.c.class_id == one, labels.c.by != "model")))
    elif unlabelled or nothing:
        query = query.where(~exists().where(labels.c.item_id == items.c.id, labels.c.by != "model"), items.c.reviewed.is_(nothing))
    return query


def list_items(
    project_id: str,
    *,
    label: str | None = None,
    split: str | None = None,
    unlabelled: bool = False,
    nothing: bool = False,
    excluded: bool = False,
    offset: int = 0,
    limit: int = 60,
    order: Order = "id",
) -> list[Item]:
    """Return one page of a project's pictures: those of one class, of one split, without a class, known to show nothing, or set aside."""
    by = {"id": (store.items.c.id,), "newest": (store.items.c.id.desc(),), "name": (store.items.c.name, store.items.c.id)}[order]
    chosen = _filtered(select(store.items.c.id), project_id, label, split, unlabelled, excluded, nothing).order_by(*by).offset(offset).limit(limit)
    with store.session() as connection:
        ids = list(connection.scalars(chosen))
        return _by_id(connection, ids)


def list_ids(project_id: str, *, label: str | None = None, unlabelled: bool = False, nothing: bool = False, limit: int = 5000) -> list[int]:
    """Return the ids of the pictures that `list_items` would give first: enough to go through them one by one."""
    with store.session() as connection:
        query = _filtered(select(store.items.c.id), project_id, label, None, unlabelled, False, nothing)
        return list(connection.scalars(query.order_by(store.items.c.id).limit(limit)))


def count_items(
    project_id: str, *, label: str | None = None, split: str | None = None, unlabelled: bool = False, nothing: bool = False, excluded: bool = False
) -> int:
    """Count the pictures that `list_items` would give in all."""
    with store.session() as connection:
        query = _filtered(select(func.count()).select_from(store.items), project_id, label, split, unlabelled, excluded, nothing)
        return int(connection.scalar(query) or 0)


def _by_id(connection: Connection, ids: list[int]) -> list[Item]:
    found: dict[int, Item] = {}
    if len(ids) == 1:
        return list(_merged(connection.execute(_one_selected(), {"one": ids[0]}), found).values())
    for start in range(0, len(ids), _CHUNK):
        _merged(connection.execute(_selected().where(store.items.c.id.in_(ids[start : start + _CHUNK]))), found)
    return [found[one] for one in ids if one in found]


def get_items(item_ids: Iterable[int]) -> list[Item]:
    """Return these pictures in the order asked for; ids that are gone are left out."""
    with store.session() as connection:
        return _by_id(connection, list(item_ids))


def get_item(item_id: int) -> Item:
    """Return one picture.

    Raises:
        StudioError: if it is gone.
    """
    found = get_items([item_id])
    if not found:
        raise StudioError(f"there is no picture {item_id}", "It may have been removed: load the page again.")
    return found[0]


def find_item(project_id: str, name_or_id: str) -> Item:
    """Return the picture of that name, of that id, or whose name ends so (a file's name without its folders).

    Raises:
        StudioError: if there is none, or several whose names end so.
    """
    table = store.items
    own = select(table.c.id).where(table.c.project_id == project_id)
    ways = [own.where(table.c.name == name_or_id)]
    if name_or_id.isdecimal() and len(name_or_id) < 16:
        ways.append(own.where(table.c.id == int(name_or_id)))
    ways.append(own.where(table.c.name.endswith(f"/{name_or_id}", autoescape=True)))
    with store.session() as connection:
        for way in ways:
            found = list(connection.scalars(way.limit(2)))
            if len(found) > 1:
                raise StudioError(f"several pictures are called '{name_or_id}'", "Write the name with its folders, or the id.")
            if found:
                return _by_id(connection, found)[0]
    raise StudioError(f"there is no picture '{name_or_id}' in this project", "Write its name as the Data page shows it, or its id.")


def classes(project_id: str) -> list[str]:
    """Return the project's class names, sorted; also those without a picture."""
    with store.session() as connection:
        return sorted(connection.scalars(select(store.classes.c.name).where(store.classes.c.project_id == project_id)))


def class_id_of(connection: Connection, project_id: str, name: str) -> int:
    """Return the id of a class, made if it is new."""
    found = connection.scalar(_class_selected(), {"project": project_id, "class_name": name})
    if found is None:
        found = connection.execute(insert(store.classes).values(project_id=project_id, name=name)).inserted_primary_key[0]  # type: ignore[index]
    return int(found)


def add_class(project_id: str, name: str) -> str:
    """Add a class (or find it) and return its name as it is kept.

    Raises:
        StudioError: if the name is empty or too long.
    """
    name = clean_name(name, "class")
    with store.session() as connection:
        class_id_of(connection, project_id, name)
    return name


def _known_class(connection: Connection, project_id: str, name: str) -> int:
    table = store.classes
    found = connection.scalar(select(table.c.id).where(table.c.project_id == project_id, table.c.name == name))
    if found is None:
        raise StudioError(f"there is no class '{name}' in this project", "Load the page again.")
    return int(found)


def rename_class(project_id: str, old: str, new: str, *, merge: bool = False) -> str:
    """Give a class another name; with `merge` into a class that has that name already. Return the name as it is kept.

    Raises:
        StudioError: if `old` is not there, or `new` is and `merge` was not asked for.
    """
    new = clean_name(new, "class")
    with store.session() as connection:
        class_id = _known_class(connection, project_id, old)
        other = connection.scalar(select(store.classes.c.id).where(store.classes.c.project_id == project_id, store.classes.c.name == new))
        if other is None:
            connection.execute(update(store.classes).where(store.classes.c.id == class_id).values(name=new))
        elif other != class_id:
            if not merge:
                raise StudioError(f"there is already a class '{new}'", f"Choose another name, or merge '{old}' into '{new}'.")
            _drop_doubles(connection, class_id, other)
            connection.execute(update(store.marks).where(store.marks.c.class_id == class_id).values(class_id=other))
            connection.execute(delete(store.classes).where(store.classes.c.id == class_id))
    return new


def _drop_doubles(connection: Connection, class_id: int, other: int) -> None:
    """Of pictures that have both classes, take the first away: two into one leaves one."""
    table = store.marks
    both = select(table.c.item_id).where(table.c.class_id == other, table.c.kind == "class")
    connection.execute(delete(table).where(table.c.class_id == class_id, table.c.kind == "class", table.c.item_id.in_(both)))


def delete_class(project_id: str, name: str) -> int:
    """Remove a class; its pictures stay, without a class. Return how many there were."""
    with store.session() as connection:
        class_id = _known_class(connection, project_id, name)
        count = connection.execute(delete(store.marks).where(store.marks.c.class_id == class_id)).rowcount
        connection.execute(delete(store.classes).where(store.classes.c.id == class_id))
    return count


def touch(connection: Connection, item_id: int, revision: int | None, **values: Any) -> None:
    """Count one edit of a picture, as a part of the edit's transaction.

    Raises:
        ConflictError: if someone else edited it since `revision`.
        StudioError: if it is gone.
    """
    items = store.items
    where = [items.c.id == item_id] if revision is None else [items.c.id == item_id, items.c.revision == revision]
    if connection.execute(update(items).where(*where).values(revision=items.c.revision + 1, **values)).rowcount:
        return
    if not store.exists(connection, items, id=item_id):
        raise StudioError(f"there is no picture {item_id}", "It may have been removed: load the page again.")
    raise ConflictError("this picture was changed elsewhere meanwhile, so your change was not saved", "Look at it as it is now, then decide again.")


def set_label(item_id: int, label: str | None, revision: int, *, by: str = "person") -> Item:
    """Say what a picture shows, or with None that it is not sorted. A new class name makes the class.

    Raises:
        ConflictError: if the picture was edited since `revision`.
        StudioError: if it is gone, or the class name is not one.
    """
    with store.session() as connection:
        touch(connection, item_id, revision)
        put_label(connection, item_id, label, by=by)
        return _by_id(connection, [item_id])[0]


def set_labels(item_id: int, labels: Iterable[str], revision: int, *, by: str = "person", reviewed: bool = True) -> Item:
    """Say all that a picture shows, in the place of what was said before. New class names make classes.

    Args:
        item_id: the picture.
        labels: names of classes, in any order; none where it shows none of them.
        revision: the revision that the decision was made on.
        by: 'person' or 'import'.
        reviewed: whether this is all it shows; with no labels and False nobody has looked at it yet.

    Raises:
        ConflictError: if the picture was edited since `revision`.
        StudioError: if it is gone, or a class name is not one.
    """
    with store.session() as connection:
        touch(connection, item_id, revision, reviewed=reviewed)
        put_labels(connection, item_id, labels, by=by)
        return _by_id(connection, [item_id])[0]


def put_label(connection: Connection, item_id: int, label: str | None, *, by: str = "person") -> None:
    """Do the writing of `set_label`, as a part of a larger transaction in which the picture was touched.

    Raises:
        StudioError: if the class name is not one.
    """
    put_labels(connection, item_id, () if label is None else (label,), by=by)


def put_labels(connection: Connection, item_id: int, labels: Iterable[str], *, by: str = "person") -> None:
    """Do the writing of `set_labels`, as a part of a larger transaction in which the picture was touched.

    Raises:
        StudioError: if a class name is not one.
    """
    names = sorted({clean_name(label, "class") for label in labels})
    table = store.marks
    connection.execute(delete(table).where(table.c.item_id == item_id, table.c.kind == "class"))
    if not names:
        return
    project_id = connection.scalar(select(store.items.c.project_id).where(store.items.c.id == item_id))
    assert project_id is not None, "the picture was touched in this transaction"
    for name in names:
        class_id = class_id_of(connection, project_id, name)
        connection.execute(insert(table).values(item_id=item_id, class_id=class_id, kind="class", by=by, created=time.time()))


def exclude(item_id: int, excluded: bool = True) -> Item:
    """Set a picture aside, so that no version uses it, or take it back."""
    with store.session() as connection:
        touch(connection, item_id, None, excluded=excluded)
        return _by_id(connection, [item_id])[0]
