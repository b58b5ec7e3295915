"""What of a check's result still stands: cases that were mended, waved through or overtaken by edits since are left out.

So a page shows a fix at once, without checking again; and what was dismissed stays away from every later check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from engine.data import items, marks, projects, store
from engine.data.check.classes import classes_wrong
from engine.data.check.findings import Case, Finding, mark_key, subject_of
from engine.data.check.said import said_of
from engine.data.items import Item
from engine.data.marks import TAGGING, Mark, one_each

__all__ = ["Standing", "current_classes", "standing"]


@dataclass(frozen=True)
class Standing:
    """The findings as they are now, with the pictures and marks they are about; `several` says that a whole picture can have several classes, or none."""

    findings: tuple[Finding, ...]
    items: Mapping[int, Item]
    marks: Mapping[int, list[Mark]]
    several: bool = False

    def said_of(self, item: Item) -> str | None:
        """Return what is said of a whole picture (see `said`), None where nothing is."""
        return said_of(item.labels, item.reviewed, several=self.several)

    def finding(self, key: str) -> Finding:
        """Return what one check found; nothing where it was not made."""
        return next((one for one in self.findings if one.key == key), Finding(key))

    @property
    def severity(self) -> str:
        """The worst of all."""
        found = {one.severity for one in self.findings}
        return "red" if "red" in found else "amber" if "amber" in found else "green"


def standing(project_id: str, result: Mapping[str, Any]) -> Standing:
    """Return what still stands of a check's result (see `engine.passport`)."""
    found = [Finding.from_json(row) for row in result["findings"]]
    there = {item.id: item for item in items.get_items({one for finding in found for case in finding.cases for one in case.items}) if not item.excluded}
    drawn_in = {one for finding in found if finding.check.of == "mark" for case in finding.cases for one in case.items if one in there}
    drawn = marks.of_items(drawn_in)
    waved = _dismissed(project_id)
    several = projects.get(project_id).task == TAGGING
    judge = _Judge(there, {one: Counter(mark_key(mark) for mark in those) for one, those in drawn.items()}, waved, several)
    live = current_classes(project_id)
    kept = [next((fresh for fresh in live if fresh.key == finding.key), None) or judge.what_stands(finding) for finding in found]
    return Standing(tuple(kept), there, drawn, several)


def current_classes(project_id: str) -> list[Finding]:
    """Return what is wrong with the classes as they are now: it takes no job to count them."""
    return classes_wrong(projects.summary(project_id).classes, needed=3 if one_each(projects.get(project_id).task) else 1)


def _dismissed(project_id: str) -> dict[str, set[str]]:
    table = store.dismissed
    found: dict[str, set[str]] = {}
    with store.session() as connection:
        for row in connection.execute(select(table.c.kind, table.c.subject).where(table.c.project_id == project_id)):
            found.setdefault(row.kind, set()).add(row.subject)
    return found


class _Judge:
    """Tells of each case what is left of it."""

    def __init__(self, there: Mapping[int, Item], keys: Mapping[int, Counter[str]], waved: Mapping[str, set[str]], several: bool) -> None:
        self._there, self._keys, self._waved, self._several = there, keys, waved, several

    def _said_of(self, item: Item) -> str | None:
        return said_of(item.labels, item.reviewed, several=self._several)

    def what_stands(self, finding: Finding) -> Finding:
        """Return a finding without the cases that no longer hold."""
        waved = self._waved.get(finding.key, set())
        sets = [frozenset(subject.split(",")) for subject in waved if "," in subject]
        rule = {"picture": self._picture, "group": self._group, "mark": self._mark}[finding.check.of]
        cases = (rule(finding.key, case) for case in finding.cases if case.subject not in waved)
        return replace(finding, cases=tuple(case for case in cases if case is not None and not _within(case, sets)))

    def _picture(self, key: str, case: Case) -> Case | None:
        item = self._there.get(case.items[0])
        changed = item is None or (key == "labels" and self._said_of(item) != case.seen)
        return None if changed else case

    def _group(self, key: str, case: Case) -> Case | None:
        left = [self._there[one] for one in case.items if one in self._there]
        if len(left) < 2:
            return None
        splits, labels = {item.split for item in left} - {None}, {self._said_of(item) for item in left} - {None}
        if (key == "leaks" and not ("train" in splits and len(splits) > 1)) or (key == "contradictions" and len(labels) < 2):
            return None
        return case if len(left) == len(case.items) else replace(case, items=tuple(item.id for item in left), subject=subject_of([item.id for item in left]))

    def _mark(self, _key: str, case: Case) -> Case | None:
        return case if case.items[0] in self._there and Counter(case.marks) <= self._keys.get(case.items[0], Counter()) else None


def _within(case: Case, waved: Iterable[frozenset[str]]) -> bool:
    """Tell whether a group is part of one that was waved through."""
    mine = {str(one) for one in case.items}
    return len(mine) > 1 and any(mine <= those for those in waved)
