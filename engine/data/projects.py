"""Projects: one task, one data set, many runs. Made, named, deleted with a way back, and summed up."""

from __future__ import annotations

import difflib
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, exists, func, insert, or_, select, update
from sqlalchemy import delete as sql_delete

from engine import locks, workspace
from engine.data import store
from engine.data.marks import TASK_KINDS, one_each
from engine.data.names import clean_name
from engine.errors import StudioError

__all__ = ["Project", "Summary", "create", "delete", "find", "get", "list_projects", "purge", "rename", "restore", "set_start", "set_task_if_empty", "summary"]

COVER = 4


@dataclass(frozen=True)
class Project:
    """One project. `start` is the chosen starting point, '' while none is; `sample` the key of the sample it was made from."""

    id: str
    name: str
    task: str
    created: float
    deleted: float | None = None
    start: str = ""
    sample: str = ""


@dataclass(frozen=True)
class Summary:
    """A project's pictures in numbers. Pictures set aside count only in `excluded`.

    `classes` holds every class, also the empty ones, by name, with how many pictures it has, or labels where they are drawn;
    a picture with several classes counts for each.
    `splits` counts pictures by 'train', 'val', 'test' and '' (none yet).
    """

    items: int = 0
    labelled: int = 0
    unlabelled: int = 0
    excluded: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    cover_items: list[int] = field(default_factory=list)


def _project(row: Row[Any]) -> Project:
    return Project(row.id, row.name, row.task, row.created, row.deleted, row.start, row.sample)


def _free_name(connection: Connection, name: str, but: str = "") -> bool:
    """Tell whether no other project, deleted ones aside, has this name, whatever its capitals."""
    taken = select(store.projects.c.name).where(store.projects.c.deleted.is_(None), store.projects.c.id != but)
    return name.casefold() not in {row.name.casefold() for row in connection.execute(taken)}


def _taken(name: str) -> StudioError:
    return StudioError(f"there is already a project called '{name}'", "Choose another name.")


def create(name: str, task: str = "image-classification", sample: str = "") -> Project:
    """Make an empty project.

    Raises:
        StudioError: if the name is empty, too long or taken, or there is no such task.
    """
    if task not in TASK_KINDS:
        raise StudioError(f"there is no task '{task[:60]}'", f"Choose one of {', '.join(TASK_KINDS)}.")
    project = Project(secrets.token_hex(6), clean_name(name, "project"), task, time.time(), None, "", sample)
    with store.session() as connection:
        if not _free_name(connection, project.name):
            raise _taken(project.name)
        connection.execute(insert(store.projects).values(**vars(project)))
    return project


def get(project_id: str) -> Project:
    """Return the project of that id, deleted or not.

    Raises:
        StudioError: if there is none.
    """
    with store.session() as connection:
        row = connection.execute(select(store.projects).where(store.projects.c.id == project_id)).first()
    if row is None:
        raise StudioError(f"there is no project '{project_id}'", "It may have been removed: go back to Projects.")
    return _project(row)


def list_projects(deleted: bool = False) -> list[Project]:
    """Return the projects, newest first; with `deleted`, those in the bin instead."""
    column = store.projects.c.deleted
    query = select(store.projects).where(column.is_not(None) if deleted else column.is_(None)).order_by(store.projects.c.created.desc())
    with store.session() as connection:
        return [_project(row) for row in connection.execute(query)]


def find(name_or_id: str) -> Project:
    """Return the project with that id or name; capitals do not matter.

    Raises:
        StudioError: if there is none; the nearest name is given.
    """
    known = list_projects()
    for project in known:
        if name_or_id in (project.id, project.name):
            return project
    by_name = {project.name.casefold(): project for project in known}
    wanted = name_or_id.strip().casefold()
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.0)
    remedy = f"The nearest is '{by_name[near[0]].name}'." if near else "Make one first."
    raise StudioError(f"there is no project '{name_or_id}'", remedy)


def _change(project_id: str, **values: Any) -> None:
    with store.session() as connection:
        found = connection.execute(update(store.projects).where(store.projects.c.id == project_id).values(**values)).rowcount
    if not found:
        raise StudioError(f"there is no project '{project_id}'", "It may have been removed: go back to Projects.")


def rename(project_id: str, name: str) -> None:
    """Give a project another name.

    Raises:
        StudioError: if the name is empty, too long or taken.
    """
    name = clean_name(name, "project")
    with store.session() as connection:
        if not _free_name(connection, name, but=project_id):
            raise _taken(name)
    _change(project_id, name=name)


def set_start(project_id: str, start: str) -> None:
    """Remember the starting point that was chosen for a project."""
    _change(project_id, start=start)


def set_task_if_empty(project_id: str, task: str) -> None:
    """Give a project that holds no picture a task: back to what it was before pictures that were taken out again."""
    table = store.projects
    bare = ~exists().where(store.items.c.project_id == table.c.id)
    with store.session() as connection:
        connection.execute(update(table).where(table.c.id == project_id, bare).values(task=task))


def delete(project_id: str) -> None:
    """Put a project in the bin; `restore` brings it back as it was."""
    _change(project_id, deleted=time.time())


def restore(project_id: str) -> None:
    """Bring a project back from the bin. Where its name was taken meanwhile it gets a number."""
    name = base = get(project_id).name
    with store.session() as connection:
        number = 2
        while not _free_name(connection, name, but=project_id):
            name, number = f"{base} ({number})", number + 1
    _change(project_id, deleted=None, name=name)


def purge(project_id: str) -> None:
    """Remove a project for good: its rows, copied pictures and runs. Pictures used in place stay where they are.

    Raises:
        StudioError: if a run of it is being worked on.
    """
    get(project_id)
    folder = workspace.project_folder(project_id)
    if any(locks.is_held(lock) for lock in folder.glob("runs/*/lock")):
        raise StudioError("a run of this project is being worked on", "Stop it first, then remove the project.")
    with store.session() as connection:
        connection.execute(sql_delete(store.projects).where(store.projects.c.id == project_id))
    shutil.rmtree(folder, ignore_errors=True)


def summary(project_id: str) -> Summary:
    """Count a project's pictures by class and split."""
    items, classes, labels = store.items, store.classes, store.marks
    task = get(project_id).task
    kinds = TASK_KINDS[task]
    with store.session() as connection:
        by_split = connection.execute(
            select(items.c.excluded, items.c.split, func.count()).where(items.c.project_id == project_id).group_by(items.c.excluded, items.c.split)
        ).all()
        names = connection.execute(select(classes.c.id, classes.c.name).where(classes.c.project_id == project_id).order_by(classes.c.name)).all()
        counts: dict[int, int] = dict(
            connection.execute(
                select(labels.c.class_id, func.count())
                .join(classes, classes.c.id == labels.c.class_id)
                .where(classes.c.project_id == project_id, labels.c.kind.in_(kinds), labels.c.by != "model")
                .group_by(labels.c.class_id)
            ).all()  # type: ignore[arg-type]
        )
        excluded = sum(count for aside, _, count in by_split if aside)
        if excluded:
            _without_excluded(connection, project_id, counts, kinds)
        labelled = sum(counts.values()) if one_each(task) else _done(connection, project_id, kinds)
        covers = _covers(connection, project_id, [row.id for row in names], kinds)
    used = sum(count for aside, _, count in by_split if not aside)
    return Summary(
        items=used,
        labelled=labelled,
        unlabelled=used - labelled,
        excluded=excluded,
        classes={row.name: counts.get(row.id, 0) for row in names},
        splits={split or "": count for aside, split, count in by_split if not aside},
        cover_items=covers,
    )


def _done(connection: Connection, project_id: str, kinds: Sequence[str]) -> int:
    """Count the pictures that are labelled: with a label of these kinds, or looked at and found to have none."""
    items, labels = store.items, store.marks
    drawn = select(labels.c.item_id).where(labels.c.kind.in_(kinds), labels.c.by != "model")
    query = select(func.count()).select_from(items).where(items.c.project_id == project_id, items.c.excluded.is_(False))
    return int(connection.scalar(query.where(or_(items.c.reviewed.is_(True), items.c.id.in_(drawn)))) or 0)


def _without_excluded(connection: Connection, project_id: str, counts: dict[int, int], kinds: Sequence[str]) -> None:
    """Take the pictures set aside out of the counts by class; they are few, so counting all labels stays an index scan."""
    items, labels = store.items, store.marks
    aside = connection.execute(
        select(labels.c.class_id, func.count())
        .join(items, items.c.id == labels.c.item_id)
        .where(items.c.project_id == project_id, items.c.excluded.is_(True), labels.c.kind.in_(kinds), labels.c.by != "model")
        .group_by(labels.c.class_id)
    )
    for class_id, count in aside:
        counts[class_id] -= count


def _covers(connection: Connection, project_id: str, class_ids: list[int], kinds: Sequence[str]) -> list[int]:
    """Choose a few pictures for the project's card: one of each of the first classes, then whatever comes first."""
    items, labels = store.items, store.marks
    chosen: list[int] = []
    for class_id in class_ids[:COVER]:
        first = (
            select(labels.c.item_id)
            .join(items, items.c.id == labels.c.item_id)
            .where(labels.c.class_id == class_id, labels.c.kind.in_(kinds), labels.c.by != "model", items.c.excluded.is_(False))
            .order_by(labels.c.item_id)
            .limit(1)
        )
        chosen += [one for one in connection.scalars(first) if one not in chosen]
    if len(chosen) < COVER:
        more = select(items.c.id).where(items.c.project_id == project_id, items.c.excluded.is_(False)).order_by(items.c.id).limit(2 * COVER)
        chosen += [item for item in connection.scalars(more) if item not in chosen]
    return chosen[:COVER]
