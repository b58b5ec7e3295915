"""Taking a data set out again: one file a form, and their table. Everything goes into one zip; what a form cannot hold is said."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from engine import workspace
from engine.data import arrivals, items, marks, projects, store
from engine.data.export import coco, folders, masks, tags, voc, yolo
from engine.data.export.base import Bundle, Entry, Exporter, Namer, nothing_to_write
from engine.data.formats.base import Tally
from engine.errors import StudioError

__all__ = ["FORMATS", "ExportReport", "Exporter", "export", "fitting"]

FORMATS: tuple[Exporter, ...] = (coco.EXPORTER, yolo.EXPORTER, voc.EXPORTER, masks.EXPORTER, folders.EXPORTER, tags.EXPORTER)

_CHUNK = 500


@dataclass
class ExportReport:
    """What was written: pictures, labels in them, bytes of the zip, and what the form could not hold, in words."""

    format: str
    pictures: int = 0
    labels: int = 0
    bytes: int = 0
    lost: list[str] = field(default_factory=list)


def fitting(task: str) -> list[Exporter]:
    """Return the forms that can hold what a project of that task has."""
    return [form for form in FORMATS if task in form.tasks]


def export(
    project_id: str,
    key: str,
    into: Path,
    *,
    pictures: bool = True,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ExportReport:
    """Write a project's pictures and labels to a zip. Pictures set aside and a model's proposals stay behind.

    Args:
        project_id: the project.
        key: of a form in `FORMATS`.
        into: the zip, replaced if it is there.
        pictures: whether the pictures go in too, or only the labels.
        report: hears (done, total) pictures.
        should_stop: asked between pictures.

    Raises:
        StudioError: if there is no such form, it cannot hold what the project has, there is nothing, the disk is full, or it was stopped.
    """
    project = projects.get(project_id)
    form = next((form for form in FORMATS if form.key == key), None)
    if form is None:
        raise StudioError(f"there is no export form '{key[:40]}'", f"Choose one of {', '.join(form.key for form in fitting(project.task))}.")
    if form not in fitting(project.task):
        raise nothing_to_write(form.title, project.task)
    ids = _ids(project_id)
    if not ids:
        raise StudioError(f"'{project.name}' has no pictures to export", "Import some first.")
    arrivals.bring_all(project_id)
    result, lost, done = ExportReport(form.key, len(ids)), Tally(), 0

    def step() -> None:
        nonlocal done
        done += 1
        if should_stop():
            raise StudioError("the export was stopped; nothing was written", "Start it again when you like.")
        if done % 20 == 0 or done == len(ids):
            report(done, len(ids))

    with workspace.replacing(into) as beside, zipfile.ZipFile(beside, "w", allowZip64=True) as file:
        bundle = Bundle(file, pictures=pictures, done=step)
        form.write(_entries(ids, result), items.classes(project_id), project.task, bundle, lost)
    if bundle.missing:
        lost.add("a picture is gone from its place", count=bundle.missing)
    result.lost = lost.sentences()
    result.bytes = into.stat().st_size
    return result


def _ids(project_id: str) -> list[int]:
    table = store.items
    with store.session() as connection:
        return list(connection.scalars(select(table.c.id).where(table.c.project_id == project_id, table.c.excluded.is_(False)).order_by(table.c.id)))


def _entries(ids: list[int], result: ExportReport) -> Iterator[Entry]:
    """Give the pictures with their labels, some hundred at a time from the database."""
    namer = Namer()
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        drawn, groups = marks.of_items(some, proposals=False), _groups(some)
        for item in items.get_items(some):
            result.labels += len(drawn[item.id]) + len(item.labels)
            name = namer.name(item.name, item.path)
            yield Entry(name, item.path, item.width, item.height, item.split, groups.get(item.id), item.labels, item.reviewed, drawn[item.id])


def _groups(ids: list[int]) -> dict[int, Any]:
    table = store.items
    with store.session() as connection:
        rows = connection.execute(select(table.c.id, table.c.group_name).where(table.c.id.in_(ids), table.c.group_name.is_not(None)))
        return {row.id: row.group_name for row in rows}
