"""Versions: the data set as it is at one moment, frozen into a manifest that a run keeps.

A version is named by its content: freezing the same pictures, labels and splits again gives the same one.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from engine import workspace
from engine.data import projects, splits, store
from engine.errors import StudioError

__all__ = ["Version", "absolute", "freeze", "list_versions", "load"]

SMALLEST = 3


@dataclass(frozen=True)
class Version:
    """One frozen state of a data set."""

    id: str
    created: float
    pictures: int


def freeze(project_id: str) -> dict[str, Any]:
    """Freeze the project's data set as it is now and return the manifest; pictures still without a split get one first.

    Raises:
        StudioError: if there are fewer than two classes, or a class is too small to train and to judge on.
    """
    project = projects.get(project_id)
    with store.session() as connection:
        splits.assign_within(connection, project_id)
        items, marks, classes = store.items, store.marks, store.classes
        rows = connection.execute(
            select(items.c.id, items.c.sha256, items.c.path, items.c.name, items.c.split, items.c.split_given, classes.c.name.label("label"))
            .join(marks, marks.c.item_id == items.c.id)
            .join(classes, classes.c.id == marks.c.class_id)
            .where(items.c.project_id == project_id, items.c.excluded.is_(False), items.c.split.is_not(None), marks.c.kind == "class")
            .order_by(items.c.id)
        ).all()
    _check_enough([(row.label, row.split, row.split_given) for row in rows])
    names = sorted({row.label for row in rows})
    index = {name: place for place, name in enumerate(names)}
    body: dict[str, Any] = {
        "task": project.task,
        "classes": names,
        "items": [{"id": row.id, "sha256": row.sha256, "path": row.path, "name": row.name, "label": index[row.label], "split": row.split} for row in rows],
    }
    manifest = {"id": _identity(body), **body}
    _keep(project_id, manifest)
    return manifest


def _identity(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def _check_enough(rows: list[tuple[str, str, bool]]) -> None:
    by_class: dict[str, Counter[str]] = defaultdict(Counter)
    all_given: dict[str, bool] = defaultdict(lambda: True)
    for label, split, given in rows:
        by_class[label][split] += 1
        all_given[label] &= given
    if len(by_class) < 2:
        found = f"only one class, '{next(iter(by_class))}'" if by_class else "no labelled picture"
        raise StudioError(f"the data set has {found}; telling apart takes two", "Add pictures of another class on the Data page, or sort some.")
    for label, counts in sorted(by_class.items()):
        total = sum(counts.values())
        if total < SMALLEST and not all_given[label]:
            raise StudioError(
                f"class '{label}' has {total} picture{'s' if total > 1 else ''}; a split needs {SMALLEST}",
                f"Add pictures of '{label}', or remove the class.",
            )
        if not counts["train"]:
            raise StudioError(
                f"class '{label}' has no picture to train on: all {total} are kept for validation and test", "Split again, or add pictures of this class."
            )
    if not any(counts["val"] for counts in by_class.values()):
        raise StudioError("no picture is left for validation", "Split again, or add pictures.")


def _folder(project_id: str) -> Path:
    return workspace.project_folder(project_id, "versions")


def _keep(project_id: str, manifest: dict[str, Any]) -> None:
    path = _folder(project_id) / f"{manifest['id']}.json"
    if not path.exists():
        workspace.write_json(path, manifest)
    with store.session() as connection:
        if not store.exists(connection, store.versions, project_id=project_id, id=manifest["id"]):
            connection.execute(insert(store.versions).values(project_id=project_id, id=manifest["id"], created=time.time(), pictures=len(manifest["items"])))


def list_versions(project_id: str) -> list[Version]:
    """Return the project's versions, newest first."""
    table = store.versions
    with store.session() as connection:
        rows = connection.execute(select(table).where(table.c.project_id == project_id).order_by(table.c.created.desc())).all()
    return [Version(row.id, row.created, row.pictures) for row in rows]


def load(project_id: str, version_id: str) -> dict[str, Any]:
    """Return the manifest of one version.

    Raises:
        StudioError: if there is none of that id, or its file is damaged.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", version_id):
        raise StudioError(f"'{version_id[:70]}' is not a version of a data set", "Choose one of the list.")
    return workspace.read_json(_folder(project_id) / f"{version_id}.json")


def absolute(path: str) -> Path:
    """Return where a manifest's picture lies: paths of copies are relative to the workspace, others absolute."""
    return workspace.home() / path
