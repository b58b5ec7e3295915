from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data import importing, items, marks, projects, splits, versions
from engine.data.marks import Mark
from engine.data.projects import Project
from engine.errors import StudioError


@pytest.fixture
def boxes(home: Path, tmp_path: Path, draw: Callable[..., Path]) -> Project:
    """A detection project of twelve pictures of 40 x 30, not labelled yet."""
    for number in range(12):
        draw(tmp_path / "in" / f"{number:02}.png", number)
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, tmp_path / "in")
    return project


def box(label: str, *edges: float, by: str = "person") -> Mark:
    return Mark(label, "box", {"box": list(edges)}, by)


def test_marks_come_back_as_they_were_given(boxes: Project) -> None:
    first, second = items.list_items(boxes.id, limit=2)
    marks.replace(first.id, [box("cat", 1, 2, 30, 20), box("dog", 3, 3, 9, 9)], first.revision)
    found = marks.of_items([first.id, second.id])
    assert [(mark.label, mark.kind, mark.geometry) for mark in found[first.id]] == [
        ("cat", "box", {"box": [1, 2, 30, 20]}),
        ("dog", "box", {"box": [3, 3, 9, 9]}),
    ]
    assert found[second.id] == []


def test_an_edit_on_an_old_revision_is_refused_and_nothing_is_lost(boxes: Project) -> None:
    item = items.list_items(boxes.id, limit=1)[0]
    marks.replace(item.id, [box("cat", 1, 2, 30, 20)], item.revision)
    with pytest.raises(StudioError, match="changed elsewhere"):
        marks.replace(item.id, [], item.revision)
    assert len(marks.of_items([item.id])[item.id]) == 1


def test_one_bad_mark_leaves_the_others_as_they_were(boxes: Project) -> None:
    item = items.list_items(boxes.id, limit=1)[0]
    revision = marks.replace(item.id, [box("cat", 1, 2, 30, 20)], item.revision)
    with pytest.raises(StudioError, match="no inside"):
        marks.replace(item.id, [box("cat", 1, 2, 30, 20), box("cat", 3, 3, 3, 3)], revision)
    assert items.get_item(item.id).revision == revision
    assert len(marks.of_items([item.id])[item.id]) == 1


def test_proposals_are_apart_until_a_person_agrees(boxes: Project) -> None:
    item = items.list_items(boxes.id, limit=1)[0]
    assert marks.propose(item.id, [Mark("dog", "box", {"box": [3, 3, 9, 9]}, score=0.9)]) == 1
    assert marks.propose(item.id, [Mark("dog", "box", {"box": [4, 4, 9, 9]}, score=0.8), Mark("dog", "box", {"box": [4, 4, 4, 9]}, score=0.7)]) == 1
    assert [(mark.by, mark.score) for mark in marks.of_items([item.id])[item.id]] == [("model", 0.8)]
    assert marks.of_items([item.id], proposals=False)[item.id] == []
    assert items.get_item(item.id).revision == item.revision
    assert (projects.summary(boxes.id).classes, projects.summary(boxes.id).labelled) == ({"dog": 0}, 0)
    assert items.count_items(boxes.id, unlabelled=True) == 12
    assert items.count_items(boxes.id, label="dog") == 0


def test_nothing_is_proposed_where_a_person_was_faster(boxes: Project) -> None:
    drawn, empty, _ = items.list_items(boxes.id, limit=3)
    suggested = Mark("dog", "box", {"box": [3, 3, 9, 9]}, "model", 0.9)
    marks.replace(drawn.id, [box("cat", 1, 2, 30, 20), suggested], None)
    marks.replace(empty.id, [], None)
    assert [marks.propose(one, [suggested]) for one in (drawn.id, empty.id, 10**9)] == [0, 0, 0]
    assert [(mark.label, mark.by) for mark in marks.of_items([drawn.id])[drawn.id]] == [("cat", "person"), ("dog", "model")], "a person looks at it now"
    assert marks.of_items([empty.id])[empty.id] == []


def test_a_version_holds_shapes_and_pictures_that_were_found_empty(boxes: Project) -> None:
    found = items.list_items(boxes.id, limit=60)
    for number, item in enumerate(found[:10]):
        marks.replace(item.id, [box("cat", 1, 2, 30, 20)] if number else [], item.revision)
    marks.propose(found[10].id, [box("cat", 1, 2, 30, 20)])
    assert sum(splits.assign(boxes.id).values()) == 10
    manifest = versions.freeze(boxes.id)
    assert manifest["classes"] == ["cat"]
    assert [len(entry["marks"]) for entry in manifest["items"]] == [0, *[1] * 9]
    assert manifest["items"][1]["marks"] == [{"class": 0, "kind": "box", "box": [1, 2, 30, 20]}]
    assert (manifest["items"][1]["width"], manifest["items"][1]["height"]) == (40, 30)
    assert versions.freeze(boxes.id)["id"] == manifest["id"]
    summary = projects.summary(boxes.id)
    assert (summary.items, summary.labelled, summary.unlabelled) == (12, 10, 2)
    assert items.count_items(boxes.id, unlabelled=True) == 2


def test_a_project_without_labels_says_what_to_do(boxes: Project) -> None:
    with pytest.raises(StudioError, match="no picture has a drawn label"):
        versions.freeze(boxes.id)


def test_there_is_no_task_of_another_name(home: Path) -> None:
    with pytest.raises(StudioError, match="there is no task"):
        projects.create("X", "mind-reading")


def test_the_class_that_is_drawn_most_is_told_without_proposals(boxes: Project) -> None:
    first, second, third = items.list_items(boxes.id, limit=3)
    marks.replace(first.id, [box("cat", 1, 2, 30, 20), box("dog", 1, 2, 9, 20), box("dog", 2, 2, 9, 20), *[box("cat", 1, 1, 5, 5, by="model")] * 3], None)
    marks.replace(second.id, [box("dog", 1, 2, 30, 20), box("cat", 1, 2, 9, 20)], None)
    marks.propose(third.id, [box("cat", 1, 2, 9, 20)])
    assert marks.most_drawn([first.id, second.id, third.id]) == {first.id: "dog", second.id: "cat"}
