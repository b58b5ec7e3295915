"""Going back: the labels of an earlier version put in the place of today's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import delete, insert, select

from engine.data import items, marks, projects, store, versions
from engine.data.marks import TAGGING, TASK_KINDS
from engine.errors import StudioError

__all__ = ["restore_labels"]


def restore_labels(project_id: str, version_id: str) -> int:
    """Give the pictures the labels they had in a version, as a new edit of each that differs, and return how many those are.

    How things are before is frozen first where that is possible, so that restoring that version takes this back. Pictures added since
    keep their labels; pictures that are gone stay gone.
    """
    wanted = versions.load(project_id, version_id)
    task = projects.get(project_id).task
    if "class" not in TASK_KINDS[task]:
        return _restore_shapes(project_id, wanted)
    if task == TAGGING:
        return _restore_tags(project_id, wanted)
    with suppress(StudioError):  # too little to train on is no reason not to go back
        versions.freeze(project_id)
    labels = {entry["sha256"]: wanted["classes"][entry["label"]] for entry in wanted["items"]}
    table, drawn = store.items, store.marks
    with store.session() as connection:
        rows = connection.execute(
            select(table.c.id, table.c.sha256, store.classes.c.name)
            .outerjoin(drawn, (drawn.c.item_id == table.c.id) & (drawn.c.kind == "class") & (drawn.c.by != "model"))
            .outerjoin(store.classes, store.classes.c.id == drawn.c.class_id)
            .where(table.c.project_id == project_id)
        ).all()
        changed = {row.id: labels[row.sha256] for row in rows if row.sha256 in labels and labels[row.sha256] != row.name}
        class_ids = {name: items.class_id_of(connection, project_id, name) for name in sorted(set(changed.values()))}
        for one, name in changed.items():
            items.touch(connection, one, None)
            connection.execute(delete(drawn).where(drawn.c.item_id == one, drawn.c.kind == "class"))
            connection.execute(insert(drawn).values(item_id=one, class_id=class_ids[name], kind="class", by="person", created=time.time()))
    return len(changed)


def _restore_tags(project_id: str, wanted: Mapping[str, Any]) -> int:
    with suppress(StudioError):
        versions.freeze(project_id)
    labels = {entry["sha256"]: tuple(sorted(wanted["classes"][one] for one in entry["labels"])) for entry in wanted["items"]}
    table = store.items
    with store.session() as connection:
        ids = list(connection.scalars(select(table.c.id).where(table.c.project_id == project_id)))
    present = items.get_items(ids)
    changed = [item for item in present if item.sha256 in labels and (item.labels != labels[item.sha256] or not (item.labels or item.reviewed))]
    with store.session() as connection:
        for item in changed:
            items.touch(connection, item.id, None, reviewed=True)
            items.put_labels(connection, item.id, labels[item.sha256])
    return len(changed)


def _restore_shapes(project_id: str, wanted: Mapping[str, Any]) -> int:
    with suppress(StudioError):
        versions.freeze(project_id)
    old = {entry["sha256"]: entry for entry in wanted["items"]}
    with store.session() as connection:
        rows = connection.execute(select(store.items.c.id, store.items.c.sha256).where(store.items.c.project_id == project_id)).all()
    present = marks.of_items([row.id for row in rows], proposals=False)
    changed = 0
    for row in rows:
        if row.sha256 in old:
            names = wanted["classes"]
            before = [
                marks.Mark(names[mark["class"]], mark["kind"], {key: value for key, value in mark.items() if key not in ("class", "kind")})
                for mark in old[row.sha256]["marks"]
            ]
            if [(one.label, one.kind, one.geometry) for one in before] != [(one.label, one.kind, one.geometry) for one in present[row.id]]:
                marks.replace(row.id, before, None)
                changed += 1
    return changed
