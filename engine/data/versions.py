"""Versions: the data set as it is at one moment, frozen into a manifest that a run keeps.

A version is named by its content: freezing the same pictures, labels and splits again gives the same one.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from engine import workspace
from engine.data import looking, projects, splits, store
from engine.data.marks import TAGGING, TASK_KINDS
from engine.data.names import clean_name
from engine.errors import StudioError

__all__ = ["Version", "absolute", "find", "freeze", "list_versions", "load", "name_version", "now"]

SMALLEST = 3


@dataclass(frozen=True)
class Version:
    """One frozen state of a data set. `name` is what a user calls it, '' for none."""

    id: str
    created: float
    pictures: int
    name: str = ""

    @property
    def short(self) -> str:
        """The first letters of the id: enough to tell a project's versions apart."""
        return self.id[:8]


def freeze(project_id: str) -> dict[str, Any]:
    """Freeze the project's data set as it is now and return the manifest.

    Pictures that nobody has looked at yet are looked at first, and those without a split get one.

    Raises:
        StudioError: if there are fewer than two classes, or a class is too small to train and to judge on.
    """
    project = projects.get(project_id)
    looking.finish(project_id)
    with store.session() as connection:
        splits.assign_within(connection, project_id)
        manifest = _composed(connection, project, check=True)
    _keep(project_id, manifest)
    return manifest


def now(project_id: str) -> dict[str, Any]:
    """Return the data set as it is now, in the form of a manifest; nothing is kept, and nothing need be enough to train on."""
    project = projects.get(project_id)
    with store.session() as connection:
        return _composed(connection, project, check=False)


def _composed(connection: Connection, project: projects.Project, *, check: bool) -> dict[str, Any]:
    compose = _tagged if project.task == TAGGING else _whole_pictures if "class" in TASK_KINDS[project.task] else _with_shapes
    names, entries = compose(connection, project, check)
    body: dict[str, Any] = {"task": project.task, "classes": names, "items": entries}
    return {"id": _identity(body), **body}


def _whole_pictures(connection: Connection, project: projects.Project, check: bool) -> tuple[list[str], list[dict[str, Any]]]:
    """Return class names and entries of pictures that show one class each: `label` is its index."""
    items, marks, classes = store.items, store.marks, store.classes
    rows = connection.execute(
        select(*_columns(), classes.c.name.label("label"))
        .join(marks, marks.c.item_id == items.c.id)
        .join(classes, classes.c.id == marks.c.class_id)
        .where(items.c.project_id == project.id, items.c.excluded.is_(False), items.c.split.is_not(None), marks.c.kind == "class", marks.c.by != "model")
        .order_by(items.c.id)
    ).all()
    if check:
        _check_enough([(row.label, row.split, row.split_given) for row in rows])
    names = sorted({row.label for row in rows})
    index = {name: place for place, name in enumerate(names)}
    return names, [{**_entry(row), "label": index[row.label]} for row in rows]


def _tagged(connection: Connection, project: projects.Project, check: bool) -> tuple[list[str], list[dict[str, Any]]]:
    """Return class names and entries of pictures that show several classes, or none: `labels` are their indices, sorted."""
    items, marks, classes = store.items, store.marks, store.classes
    shown: dict[int, set[str]] = defaultdict(set)
    query = select(marks.c.item_id, classes.c.name).join(classes, classes.c.id == marks.c.class_id)
    for row in connection.execute(query.where(classes.c.project_id == project.id, marks.c.kind == "class", marks.c.by != "model")):
        shown[row.item_id].add(row.name)
    wanted = select(*_columns(), items.c.reviewed).where(items.c.project_id == project.id, items.c.excluded.is_(False), items.c.split.is_not(None))
    rows = [row for row in connection.execute(wanted.order_by(items.c.id)) if row.reviewed or row.id in shown]
    names = sorted({name for row in rows for name in shown.get(row.id, ())})
    if check:
        _check_enough_tags(names, [(frozenset(shown.get(row.id, ())), row.split) for row in rows])
    index = {name: place for place, name in enumerate(names)}
    return names, [{**_entry(row), "labels": sorted(index[name] for name in shown.get(row.id, ()))} for row in rows]


def _check_enough_tags(names: list[str], rows: list[tuple[frozenset[str], str]]) -> None:
    if not names:
        raise StudioError("no picture has a class yet", "Tag some on the Label page, or import a data set that brings classes.")
    learned = [labels for labels, split in rows if split == "train"]
    for name in names:
        if not any(name in labels for labels in learned):
            raise StudioError(f"no training picture shows '{name}': all that do are kept for validation and test", f"Tag more of '{name}', or split again.")
    if len(set(learned)) < 2:
        raise StudioError(
            f"every training picture shows the same: {', '.join(names[:6])}",
            "Add pictures that show something else, or none of these, so that there is a difference to learn.",
        )
    if not any(split == "val" for _, split in rows):
        raise StudioError("no picture is left for validation", "Split again, or tag more pictures.")


def _with_shapes(connection: Connection, project: projects.Project, check: bool) -> tuple[list[str], list[dict[str, Any]]]:
    """Return class names and entries of pictures with drawn labels: `width`, `height`, and `marks` as class index, kind and shape."""
    items, marks, classes = store.items, store.marks, store.classes
    drawn: dict[int, list[Any]] = defaultdict(list)
    kinds = TASK_KINDS[project.task]
    query = select(marks.c.item_id, marks.c.kind, marks.c.geometry, classes.c.name).join(classes, classes.c.id == marks.c.class_id).order_by(marks.c.id)
    for row in connection.execute(query.where(classes.c.project_id == project.id, marks.c.kind.in_(kinds), marks.c.by != "model")):
        drawn[row.item_id].append(row)
    wanted = select(*_columns(), items.c.width, items.c.height, items.c.reviewed).where(
        items.c.project_id == project.id, items.c.excluded.is_(False), items.c.split.is_not(None)
    )
    rows = [row for row in connection.execute(wanted.order_by(items.c.id)) if row.reviewed or row.id in drawn]
    names = sorted({mark.name for row in rows for mark in drawn[row.id]})
    if check:
        _check_enough_shapes(names, rows, drawn)
    index = {name: place for place, name in enumerate(names)}
    return names, [
        {
            **_entry(row),
            "width": row.width,
            "height": row.height,
            "marks": [{"class": index[mark.name], "kind": mark.kind, **mark.geometry} for mark in drawn[row.id]],
        }
        for row in rows
    ]


def _columns() -> list[Any]:
    items = store.items
    return [items.c.id, items.c.sha256, items.c.path, items.c.name, items.c.split, items.c.split_given]


def _entry(row: Any) -> dict[str, Any]:
    return {"id": row.id, "sha256": row.sha256, "path": row.path, "name": row.name, "split": row.split}


def _check_enough_shapes(names: list[str], rows: list[Any], drawn: Mapping[int, list[Any]]) -> None:
    if not names:
        raise StudioError("no picture has a drawn label yet", "Draw some on the Label page, or import a data set that brings labels.")
    learned = {mark.name for row in rows if row.split == "train" for mark in drawn[row.id]}
    for name in names:
        if name not in learned:
            raise StudioError(f"no training picture shows '{name}': all that do are kept for validation and test", f"Label more of '{name}', or split again.")
    if not any(row.split == "val" for row in rows):
        raise StudioError("no picture is left for validation", "Split again, or label more pictures.")


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
        names = _settings(connection, project_id).get("version_names", {})
    return [Version(row.id, row.created, row.pictures, names.get(row.id, "")) for row in rows]


def _settings(connection: Connection, project_id: str) -> dict[str, Any]:
    return dict(connection.scalar(select(store.projects.c.settings).where(store.projects.c.id == project_id)) or {})


def name_version(project_id: str, version_id: str, name: str) -> None:
    """Give a version a name; an empty one takes its name away.

    Raises:
        StudioError: if the name is none, or another version has it.
    """
    name = clean_name(name, "version") if name.strip() else ""
    if any(one.name.casefold() == name.casefold() and one.id != version_id for one in list_versions(project_id) if name):
        raise StudioError(f"there is already a version called '{name}'", "Choose another name.")
    with store.session() as connection:
        settings = _settings(connection, project_id)
        names = {**settings.get("version_names", {}), version_id: name}
        kept = {**settings, "version_names": {key: value for key, value in names.items() if value}}
        connection.execute(update(store.projects).where(store.projects.c.id == project_id).values(settings=kept))


def find(project_id: str, wanted: str) -> Version:
    """Return the version of that name, id, or first letters of an id.

    Raises:
        StudioError: if there is none, or there are several.
    """
    known = list_versions(project_id)
    exact = [one for one in known if wanted and wanted in (one.id, one.name)]
    found = exact or [one for one in known if len(wanted) >= 4 and one.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(one.name or one.short for one in known[:8]) or "none yet: train once, or save one on the Data page"
    raise StudioError(f"there {'are several versions' if found else 'is no version'} '{wanted[:70]}'", f"The newest are: {listed}.")


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
