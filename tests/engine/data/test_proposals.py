"""Proposed shapes of a whole project: counted, agreed to above a score, taken back where nobody edited since, turned down."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data import importing, items, marks, projects, proposals, versions
from engine.data.marks import Mark
from engine.data.projects import Project
from engine.data.proposals import Open
from engine.errors import ConflictError


def proposed(label: str, score: float, left: float = 1) -> Mark:
    return Mark(label, "box", {"box": [left, 2, left + 8, 9]}, "model", score)


@pytest.fixture
def half(home: Path, tmp_path: Path, folder: Path) -> tuple[Project, list[int]]:
    """Twenty pictures: one drawn on, three with proposals, one of these set aside."""
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, folder)
    ids = [item.id for item in items.list_items(project.id, limit=60)]
    marks.replace(ids[0], [Mark("cat", "box", {"box": [1, 2, 9, 9]})], None)
    marks.propose(ids[1], [proposed("cat", 0.95), proposed("dog", 0.6, 10)])
    marks.propose(ids[2], [proposed("dog", 0.9)])
    marks.propose(ids[3], [proposed("dog", 0.99)])
    items.exclude(ids[3])
    return project, ids


def kept(item: int) -> list[tuple[str, str]]:
    return [(mark.label, mark.by) for mark in marks.of_items([item])[item]]


def test_they_are_counted_by_score_and_class(half: tuple[Project, list[int]]) -> None:
    project, _ = half
    assert proposals.count(project.id) == Open(3, 2)
    assert proposals.count(project.id, above=0.9) == Open(2, 2)
    assert proposals.counts(project.id, above=0.9) == {"cat": 1, "dog": 1}
    assert proposals.count(projects.create("Other", "object-detection").id) == Open(0, 0)


def test_the_sure_ones_become_a_persons_and_the_others_stay_open(half: tuple[Project, list[int]]) -> None:
    project, ids = half
    seen = items.get_item(ids[1])
    agreed = proposals.agree_above(project.id, 0.9)
    assert (agreed.shapes, sorted(agreed.items)) == (2, ids[1:3])
    assert kept(ids[1]) == [("cat", "person"), ("dog", "model")]
    assert kept(ids[3]) == [("dog", "model")]
    assert projects.summary(project.id).labelled == 3
    with pytest.raises(ConflictError):
        marks.replace(ids[1], [], seen.revision)
    entries = versions.freeze(project.id)["items"]
    assert sum(len(entry["marks"]) for entry in entries) == 3


def test_they_are_taken_back_except_where_somebody_edited_since(half: tuple[Project, list[int]]) -> None:
    project, ids = half
    agreed = proposals.agree_above(project.id, 0.9)
    marks.replace(ids[2], [Mark("cat", "box", {"box": [1, 2, 30, 9]})], None)
    back = proposals.take_back(agreed)
    assert list(back.items) == [ids[1]]
    assert kept(ids[1]) == [("cat", "model"), ("dog", "model")]
    assert [mark.score for mark in marks.of_items([ids[1]])[ids[1]]] == [0.95, 0.6]
    assert kept(ids[2]) == [("cat", "person")]
    assert proposals.take_back(agreed).items == {}


def test_turning_all_down_leaves_what_people_drew(half: tuple[Project, list[int]]) -> None:
    project, ids = half
    assert proposals.forget(project.id) == 4
    assert kept(ids[0]) == [("cat", "person")]
    assert proposals.count(project.id) == Open(0, 0)
