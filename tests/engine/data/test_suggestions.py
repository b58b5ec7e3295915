"""Proposals of classes: apart from what people said, in the order of doubt, agreed to on the revision they were seen at."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data import importing, items, marks, projects, suggestions
from engine.data.marks import Mark
from engine.data.projects import Project
from engine.data.suggestions import Suggestion


@pytest.fixture
def half(project: Project, folder: Path) -> tuple[Project, list[int]]:
    """Twenty pictures, ten of them without a class: cats and dogs by turns, with proposals of falling score."""
    importing.import_path(project.id, folder)
    free = [item.id for item in items.list_items(project.id, limit=60)][::2]
    for item in items.get_items(free):
        items.set_label(item.id, None, item.revision)
    suggestions.suggest(project.id, [(one, "cat" if place % 2 else "new", 0.99 - place / 20) for place, one in enumerate(free)])
    return project, free


def test_proposals_count_for_nothing_until_a_person_agrees(half: tuple[Project, list[int]]) -> None:
    project, free = half
    assert suggestions.count(project.id) == 10
    assert suggestions.counts(project.id, above=0.9) == {"cat": 1, "new": 1}
    assert projects.summary(project.id).unlabelled == 10
    assert items.count_items(project.id, unlabelled=True) == 10
    assert items.get_item(free[0]).label is None
    assert suggestions.of_items(free)[free[1]] == Suggestion("cat", pytest.approx(0.94))


def test_the_most_doubtful_come_first(half: tuple[Project, list[int]]) -> None:
    project, free = half
    assert suggestions.unsure(project.id, limit=3) == free[:-4:-1]
    assert suggestions.unsure(project.id, limit=3, surest=True) == free[:3]


def test_agreeing_makes_it_a_persons_and_can_be_told_apart_from_a_change(half: tuple[Project, list[int]]) -> None:
    project, free = half
    first, second = items.get_items(free[:2])
    items.set_label(second.id, "dog", second.revision)  # somebody was faster
    done = suggestions.agree([(first.id, first.revision), (second.id, second.revision), (10**9, 0)])
    assert done == [(first.id, "new", first.revision + 1)]
    assert items.get_item(first.id).label == "new"
    assert items.get_item(second.id).label == "dog"
    assert suggestions.count(project.id) == 8


def test_in_bulk_above_a_score(half: tuple[Project, list[int]]) -> None:
    project, free = half
    done = suggestions.agree_above(project.id, 0.8)
    assert [row[0] for row in done] == free[:4]
    assert {item.label for item in items.get_items(free[:4])} == {"new", "cat"}
    assert suggestions.count(project.id) == 6
    assert projects.summary(project.id).unlabelled == 6


def test_a_new_round_replaces_the_last_and_passes_over_what_people_sorted(half: tuple[Project, list[int]]) -> None:
    project, free = half
    item = items.get_item(free[0])
    items.set_label(item.id, "dog", item.revision)
    items.exclude(free[1])
    assert suggestions.suggest(project.id, [(one, "dog", 0.7) for one in free]) == 8
    assert suggestions.counts(project.id) == {"dog": 8}
    assert items.get_item(free[0]).label == "dog"
    suggestions.forget(project.id)
    assert suggestions.count(project.id) == 0
    assert items.get_item(free[0]).label == "dog"


def test_another_project_is_left_alone(half: tuple[Project, list[int]]) -> None:
    project, _ = half
    other = projects.create("Other")
    suggestions.suggest(other.id, [])
    assert suggestions.count(project.id) == 10
    assert suggestions.count(other.id) == 0


def test_pictures_with_proposed_shapes_are_found(home: Path, tmp_path: Path, folder: Path) -> None:
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, folder)
    first, second = items.list_items(project.id, limit=2)
    marks.propose(second.id, [Mark("cat", "box", {"box": [1, 2, 9, 9]}, score=0.5)])
    marks.replace(first.id, [Mark("cat", "box", {"box": [1, 2, 9, 9]})], None)
    assert suggestions.drawn_on(project.id) == [second.id]
