"""What the database says of a project, read once for all checks: its pictures (those set aside left out) and what is drawn in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import and_, select

from engine import workspace
from engine.data import marks, projects, store
from engine.data.check.said import said_of
from engine.data.marks import TAGGING, TASK_KINDS, Mark

__all__ = ["Facts", "Picture", "read"]


@dataclass(frozen=True)
class Picture:
    """One picture as the checks see it. Sizes in pixels."""

    id: int
    name: str
    path: Path
    sha256: str
    width: int
    height: int
    split: str | None
    label: str | None
    fingerprint: str | None
    labels: tuple[str, ...] = ()
    reviewed: bool = False


@dataclass(frozen=True)
class Facts:
    """A project at the moment of its check. `drawn` is empty where whole pictures have classes."""

    project_id: str
    task: str
    pictures: Mapping[int, Picture]
    drawn: Mapping[int, list[Mark]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether each picture as a whole has a class."""
        return "class" in TASK_KINDS[self.task]

    @property
    def several(self) -> bool:
        """Whether a picture as a whole can have several classes, or none."""
        return self.task == TAGGING

    def said_of(self, item_id: int) -> str | None:
        """Return what is said of a whole picture (see `said`), None where nothing is."""
        found = self.pictures[item_id]
        return said_of(found.labels, found.reviewed, several=self.several)

    def label_of(self, item_id: int) -> str | None:
        """Return a picture's class; where labels are drawn, the one that is drawn most often in it."""
        if self.whole:
            return self.pictures[item_id].label
        counts = Counter(mark.label for mark in self.drawn.get(item_id, ()))
        return counts.most_common(1)[0][0] if counts else None


def _picture(row: Any, path: Path, labels: tuple[str, ...]) -> Picture:
    label = labels[0] if labels else None
    return Picture(row.id, row.name, path, row.sha256, row.width, row.height, row.split, label, row.fingerprint, labels, row.reviewed)


def read(project_id: str) -> Facts:
    """Read a project's pictures and labels. A model's proposals are left out."""
    project = projects.get(project_id)
    items, labels, classes = store.items, store.marks, store.classes
    source = items.outerjoin(labels, and_(labels.c.item_id == items.c.id, labels.c.kind == "class", labels.c.by != "model"))
    source = source.outerjoin(classes, classes.c.id == labels.c.class_id)
    query = select(items, classes.c.name.label("label")).select_from(source).where(items.c.project_id == project_id, items.c.excluded.is_(False))
    home = workspace.home()
    with store.session() as connection:
        rows = connection.execute(query.order_by(items.c.id)).all()
    labels_of: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        labels_of[row.id] += [row.label] if row.label is not None else []
    pictures = {row.id: _picture(row, home / row.path, tuple(sorted(labels_of[row.id]))) for row in rows}
    kinds = TASK_KINDS[project.task]
    drawn = {} if "class" in kinds else marks.of_items(pictures, proposals=False)
    return Facts(project_id, project.task, pictures, {one: [mark for mark in those if mark.kind in kinds] for one, those in drawn.items()})
