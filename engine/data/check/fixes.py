"""What one click mends, and how it is taken back. Each edit names the revision it was seen at; a picture changed elsewhere is left and said."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from engine.data import items, marks, store
from engine.data.check.findings import Case, Finding, Fix, mark_key
from engine.data.check.said import changes_for
from engine.data.check.standing import Standing
from engine.data.items import Item
from engine.data.marks import Mark
from engine.data.names import clean_name
from engine.errors import StudioError

__all__ = ["Done", "Undo", "apply", "edit_items", "kept", "undo"]


@dataclass(frozen=True)
class Undo:
    """How to take one fix back.

    Attributes:
        items: picture -> (revision it has after the fix, what it was before: excluded, split, label, labels, reviewed).
        marks: picture -> (revision after, the marks before).
        dismissed: the kinds and subjects that were waved through.
    """

    project_id: str
    items: Mapping[int, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    marks: Mapping[int, tuple[int, Sequence[Mark]]] = field(default_factory=dict)
    dismissed: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Done:
    """What a fix did: how many pictures (or marks, or finds waved through) it changed, what was refused, and how to take it back."""

    changed: int
    refused: tuple[StudioError, ...]
    undo: Undo


def apply(now: Standing, finding: Finding, fix: Fix, cases: Sequence[Case], *, project_id: str, label: str | None = None) -> Done:
    """Mend cases of one finding.

    Args:
        now: the pictures and marks as they were shown, with their revisions.
        finding: what the cases are of.
        fix: one of its check's fixes.
        cases: those to mend.
        project_id: the project.
        label: the class to give (of whole pictures: what is to be said, see `said`), where the user chose one; else what each case suggests.

    Raises:
        StudioError: if the class name is not one.
    """
    if fix == "dismiss":
        return _dismiss(project_id, finding.key, cases)
    if finding.check.of == "mark" and fix in ("delete-marks", "relabel"):
        return _edit_marks(project_id, now, finding, fix, cases, label)
    return edit_items(project_id, _wanted(now, fix, cases, label))


def _wanted(now: Standing, fix: Fix, cases: Sequence[Case], label: str | None) -> dict[int, tuple[Item, dict[str, Any]]]:
    """Return what is to become of which picture."""
    wanted: dict[int, tuple[Item, dict[str, Any]]] = {}
    for case in cases:
        those = [now.items[one] for one in case.items if one in now.items]
        changes: dict[int, dict[str, Any]]
        if fix == "exclude":
            changes = {item.id: {"excluded": True} for item in those}
        elif fix == "keep-one":
            best = kept(those)
            changes = {item.id: {"excluded": True} for item in those if item.id != best.id}
        elif fix == "together":
            changes = {item.id: {"split": "train"} for item in those if item.split != "train"}
        else:
            said = label or case.suggested or _commonest(now, those)
            changes = {item.id: changes_for(said, several=now.several) for item in those if said and now.said_of(item) != said}
        wanted.update({item.id: (item, changes[item.id]) for item in those if item.id in changes})
    return wanted


def kept(those: Sequence[Item]) -> Item:
    """Return which of several copies stays: one with a label, then the one with the most pixels, then the one that was there first."""
    return max(those, key=lambda item: (item.label is not None, item.width * item.height, -item.id))


def _commonest(now: Standing, those: Sequence[Item]) -> str | None:
    labels = [said for item in those if (said := now.said_of(item)) is not None]
    return max(labels, key=lambda name: (labels.count(name), name)) if labels else None


def edit_items(project_id: str, wanted: Mapping[int, tuple[Item, Mapping[str, Any]]]) -> Done:
    """Change pictures, in one transaction: 'excluded', 'split', 'label', or 'labels' and 'reviewed' of each, on the revision that it was seen at.

    Raises:
        StudioError: if a class name is not one.
    """
    before: dict[int, tuple[int, Mapping[str, Any]]] = {}
    refused: list[StudioError] = []
    given = {changes["label"] for _, changes in wanted.values() if changes.get("label") is not None}
    for name in given | {name for _, changes in wanted.values() for name in changes.get("labels", ())}:
        clean_name(name, "class")  # before anything is changed
    with store.session() as connection:
        for item_id, (item, changes) in wanted.items():
            try:
                revision = _change(connection, item_id, item.revision, changes)
            except StudioError as error:
                refused.append(error)
                continue
            before[item_id] = (revision, {key: getattr(item, key) for key in changes})
    return Done(len(before), tuple(refused), Undo(project_id, items=before))


def _change(connection: Connection, item_id: int, revision: int, changes: Mapping[str, Any]) -> int:
    """Change one picture and return its new revision."""
    items.touch(connection, item_id, revision, **{key: value for key, value in changes.items() if key not in ("label", "labels")})
    if "label" in changes:
        items.put_label(connection, item_id, changes["label"])
    if "labels" in changes:
        items.put_labels(connection, item_id, changes["labels"])
    return revision + 1


def _edit_marks(project_id: str, now: Standing, finding: Finding, fix: Fix, cases: Sequence[Case], label: str | None) -> Done:
    """Take marks out of their pictures, or give them another class. Of two on top of each other the later one goes, or the one not of class `label`."""
    by_item: dict[int, dict[str, str | None]] = defaultdict(dict)
    for case in cases:
        for key in _those(now, finding, case, label):
            by_item[case.items[0]][key] = None if fix == "delete-marks" else label or case.suggested
    before: dict[int, tuple[int, Sequence[Mark]]] = {}
    refused: list[StudioError] = []
    changed = 0
    for item_id, wanted in by_item.items():
        drawn = now.marks.get(item_id, [])
        after = list(_rewritten(drawn, wanted))[::-1]
        try:
            revision = marks.replace(item_id, after, now.items[item_id].revision, reviewed=None)
        except StudioError as error:
            refused.append(error)
            continue
        changed += len(wanted)
        before[item_id] = (revision, drawn)
    return Done(changed, tuple(refused), Undo(project_id, marks=before))


def _those(now: Standing, finding: Finding, case: Case, label: str | None) -> tuple[str, ...]:
    """Return the keys of the marks of one case that are to change."""
    if finding.key not in ("clashing-boxes", "double-boxes"):
        return case.marks
    if label is not None:
        return tuple(key for mark in now.marks.get(case.items[0], ()) if (key := mark_key(mark)) in case.marks and mark.label != label)
    return case.marks[:1]


def _rewritten(drawn: Iterable[Mark], wanted: Mapping[str, str | None]) -> Iterable[Mark]:
    """Yield the marks as they are to be, the last one first. Of two that are exactly the same only the later goes."""
    left = dict(wanted)
    for mark in reversed(list(drawn)):
        key = mark_key(mark)
        if key not in left:
            yield mark
            continue
        name = left.pop(key)
        if name is not None:
            yield Mark(name, mark.kind, mark.geometry, "person", None)


def _dismiss(project_id: str, kind: str, cases: Sequence[Case]) -> Done:
    table = store.dismissed
    fresh: list[tuple[str, str]] = []
    with store.session() as connection:
        known = set(connection.scalars(select(table.c.subject).where(table.c.project_id == project_id, table.c.kind == kind)))
        fresh = [(kind, subject) for subject in dict.fromkeys(case.subject for case in cases) if subject not in known]
        if fresh:
            now = time.time()
            connection.execute(insert(table), [{"project_id": project_id, "kind": kind, "subject": subject, "created": now} for _, subject in fresh])
    return Done(len(fresh), (), Undo(project_id, dismissed=tuple(fresh)))


def undo(what: Undo) -> tuple[StudioError, ...]:
    """Take a fix back; return what could not be, since somebody else changed it meanwhile."""
    refused: list[StudioError] = []

    def tried(change: Callable[..., object], *arguments: Any, **options: Any) -> None:
        try:
            change(*arguments, **options)
        except StudioError as error:
            refused.append(error)

    with store.session() as connection:
        for item_id, (revision, values) in what.items.items():
            tried(_change, connection, item_id, revision, values)
        for kind, subject in what.dismissed:
            table = store.dismissed
            connection.execute(delete(table).where(table.c.project_id == what.project_id, table.c.kind == kind, table.c.subject == subject))
    for item_id, (revision, drawn) in what.marks.items():
        tried(marks.replace, item_id, drawn, revision, reviewed=None)
    return tuple(refused)
