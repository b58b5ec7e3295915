"""Fixes: what each changes, that it takes a case away from what stands, that Undo brings it back, and that nobody's edit is overwritten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.data import importing, items, marks, projects, store
from engine.data.check import fixes
from engine.data.check.findings import Case, Finding, Fix, mark_key, subject_of
from engine.data.check.standing import Standing, standing
from engine.data.marks import Mark
from engine.data.projects import Project
from engine.errors import StudioError


@pytest.fixture
def pets(project: Project, folder: Path) -> Project:
    """Twenty pictures of two classes."""
    importing.import_path(project.id, folder)
    return project


@pytest.fixture
def boxes(home: Path, tmp_path: Path, draw: Callable[..., Path]) -> Project:
    """A detection project of three pictures of 40 x 30."""
    for number in range(3):
        draw(tmp_path / "boxes" / f"{number:02}.png", number)
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, tmp_path / "boxes")
    return project


def result(*findings: Finding) -> dict[str, Any]:
    return {"findings": [one.to_json() for one in findings]}


def group(*ids: int) -> Case:
    return Case(subject_of(ids), ids)


def mend(project: Project, found: dict[str, Any], fix: Fix, label: str | None = None) -> fixes.Done:
    """Mend every case of the first finding, as it is now."""
    now = standing(project.id, found)
    return fixes.apply(now, now.findings[0], fix, now.findings[0].cases, project_id=project.id, label=label)


def count(project: Project, found: dict[str, Any]) -> int:
    return standing(project.id, found).findings[0].count


def states(project: Project) -> list[tuple[Any, ...]]:
    return [(one.id, one.label, one.split, one.excluded) for aside in (False, True) for one in items.list_items(project.id, excluded=aside, limit=99)]


def split_as(places: dict[int, str]) -> None:
    with store.session() as connection:
        for one, split in places.items():
            items.touch(connection, one, None, split=split)


def test_each_fix_of_pictures_mends_and_can_be_taken_back(pets: Project) -> None:
    cats = items.list_items(pets.id, label="cat")
    dogs = items.list_items(pets.id, label="dog")
    split_as({cats[0].id: "train", cats[1].id: "test", cats[2].id: "train", dogs[0].id: "train"})
    one, other, third, dog = cats[0].id, cats[1].id, cats[2].id, dogs[0].id
    wrong = Case(str(dog), (dog,), "98% sure", "dog", "cat")
    table: list[tuple[Finding, Fix, int]] = [
        (Finding.of("blank", [Case(str(one), (one,))]), "exclude", 1),
        (Finding.of("near", [group(one, third)]), "keep-one", 1),
        (Finding.of("leaks", [group(one, other)]), "together", 1),
        (Finding.of("leaks", [group(one, other)]), "keep-one", 1),
        (Finding.of("contradictions", [group(one, dog)]), "relabel", 1),
        (Finding.of("labels", [wrong]), "relabel", 1),
        (Finding.of("labels", [wrong]), "dismiss", 1),
        (Finding.of("same", [group(one, third)]), "dismiss", 1),
    ]
    before = states(pets)
    for finding, fix, changed in table:
        found = result(finding)
        assert count(pets, found) == 1, fix
        done = mend(pets, found, fix)
        assert (done.changed, done.refused) == (changed, ()), fix
        assert count(pets, found) == 0, fix
        assert fixes.undo(done.undo) == ()
        assert count(pets, found) == 1, fix
        assert sorted(states(pets)) == sorted(before), fix


def test_of_copies_the_labelled_and_larger_one_stays(pets: Project) -> None:
    known = items.list_items(pets.id, limit=3)
    bare = items.set_label(known[0].id, None, known[0].revision)
    mend(pets, result(Finding.of("near", [group(*(one.id for one in known))])), "keep-one")
    assert [one.excluded for one in items.get_items([bare.id, known[1].id, known[2].id])] == [True, False, True]


def test_a_contradiction_takes_the_class_that_was_chosen(pets: Project) -> None:
    cat, dog = items.list_items(pets.id, label="cat")[0], items.list_items(pets.id, label="dog")[0]
    mend(pets, result(Finding.of("contradictions", [group(cat.id, dog.id)])), "relabel", "dog")
    assert {one.label for one in items.get_items([cat.id, dog.id])} == {"dog"}


def test_an_edit_made_elsewhere_is_not_overwritten(pets: Project) -> None:
    one, other = items.list_items(pets.id, label="cat")[:2]
    finding = Finding.of("labels", [Case(str(each.id), (each.id,), "", "cat", "dog") for each in (one, other)])
    shown = standing(pets.id, result(finding))
    theirs = items.set_label(one.id, "bird", one.revision)
    done = fixes.apply(shown, finding, "relabel", finding.cases, project_id=pets.id)
    assert done.changed == 1
    assert "changed elsewhere" in done.refused[0].problem
    assert items.get_item(one.id).label == "bird"
    assert items.get_item(other.id).label == "dog"

    items.set_label(other.id, "cow", items.get_item(other.id).revision)
    assert len(fixes.undo(done.undo)) == 1  # and neither is the undo's
    assert items.get_item(other.id).label == "cow"
    assert theirs.label == "bird"


def test_what_was_dismissed_stays_away_also_as_a_part(pets: Project) -> None:
    ids = [one.id for one in items.list_items(pets.id, limit=4)]
    mend(pets, result(Finding.of("near", [group(*ids[:3])])), "dismiss")
    assert count(pets, result(Finding.of("near", [group(*ids[:3])]))) == 0
    assert count(pets, result(Finding.of("near", [group(*ids[:2])]))) == 0
    assert count(pets, result(Finding.of("near", [group(*ids)]))) == 1  # a fourth copy is news
    again = mend(pets, result(Finding.of("near", [group(*ids[:3])])), "dismiss")
    assert again.changed == 0


def test_groups_shrink_with_their_pictures(pets: Project) -> None:
    ids = [one.id for one in items.list_items(pets.id, limit=3)]
    found = result(Finding.of("near", [group(*ids)]))
    items.exclude(ids[0])
    assert [case.items for case in standing(pets.id, found).findings[0].cases] == [tuple(ids[1:])]
    items.exclude(ids[1])
    assert count(pets, found) == 0


def test_classes_are_counted_anew(pets: Project) -> None:
    found = result(Finding.of("few", ()))
    assert {case.seen for case in standing(pets.id, found).finding("few").cases} == {"cat", "dog"}  # ten each


def box(label: str, *edges: float) -> Mark:
    return Mark(label, "box", {"box": list(edges)})


def drawn(item_id: int) -> list[tuple[str, Any]]:
    return [(mark.label, mark.geometry["box"]) for mark in marks.of_items([item_id])[item_id]]  # type: ignore[index]


def test_drawn_labels_are_removed_and_come_back_as_they_were(boxes: Project) -> None:
    item = items.list_items(boxes.id)[0]
    twice = [box("cat", 1, 2, 30, 20), box("dog", 3, 3, 9, 9), box("cat", 1, 2, 30, 20)]
    marks.replace(item.id, twice, item.revision)
    key = mark_key(twice[0])
    found = result(Finding.of("double-boxes", [Case(f"{item.id}:x", (item.id,), marks=(key, key))]))
    done = mend(boxes, found, "delete-marks")
    assert done.changed == 1
    assert drawn(item.id) == [("cat", [1, 2, 30, 20]), ("dog", [3, 3, 9, 9])]
    assert fixes.undo(done.undo) == ()
    assert drawn(item.id) == [("cat", [1, 2, 30, 20]), ("dog", [3, 3, 9, 9]), ("cat", [1, 2, 30, 20])]


def test_of_two_classes_in_one_place_the_chosen_one_stays(boxes: Project) -> None:
    item = items.list_items(boxes.id)[0]
    both = [box("cat", 1, 2, 30, 20), box("dog", 1, 2, 30, 20)]
    marks.replace(item.id, both, item.revision)
    case = Case(f"{item.id}:x", (item.id,), marks=(mark_key(both[1]), mark_key(both[0])))
    found = result(Finding.of("clashing-boxes", [case]))
    done = mend(boxes, found, "delete-marks", "dog")
    assert drawn(item.id) == [("dog", [1, 2, 30, 20])]
    assert count(boxes, found) == 0
    fixes.undo(done.undo)
    mend(boxes, found, "delete-marks", "cat")
    assert drawn(item.id) == [("cat", [1, 2, 30, 20])]


def test_a_drawn_label_gets_another_class(boxes: Project) -> None:
    item = items.list_items(boxes.id)[0]
    one, other = box("cat", 1, 2, 30, 20), box("cat", 3, 3, 9, 9)
    marks.replace(item.id, [one, other], item.revision)
    found = result(Finding.of("drawn-labels", [Case(f"{item.id}:x", (item.id,), "", "cat", "dog", (mark_key(one),))]))
    assert mend(boxes, found, "relabel").changed == 1
    assert drawn(item.id) == [("dog", [1, 2, 30, 20]), ("cat", [3, 3, 9, 9])]
    assert count(boxes, found) == 0


def test_marks_edited_elsewhere_are_left(boxes: Project) -> None:
    item = items.list_items(boxes.id)[0]
    one = box("cat", 1, 2, 30, 20)
    revision = marks.replace(item.id, [one], item.revision)
    finding = Finding.of("bad-boxes", [Case(f"{item.id}:x", (item.id,), marks=(mark_key(one),))])
    shown: Standing = standing(boxes.id, result(finding))
    marks.replace(item.id, [one, box("dog", 3, 3, 9, 9)], revision)
    done = fixes.apply(shown, finding, "delete-marks", finding.cases, project_id=boxes.id)
    assert done.changed == 0
    assert len(drawn(item.id)) == 2


def test_a_class_needs_a_name(pets: Project) -> None:
    item = items.list_items(pets.id)[0]
    with pytest.raises(StudioError, match="needs a name"):
        fixes.edit_items(pets.id, {item.id: (item, {"label": "  "})})
    assert items.get_item(item.id).revision == item.revision


def test_a_contradiction_between_tags_takes_what_was_chosen_and_comes_back(tagged: Project) -> None:
    one, none, bare, other = (items.list_items(tagged.id, order="name")[place] for place in (0, 1, 28, 6))
    found = result(Finding.of("contradictions", [group(one.id, none.id, bare.id, other.id)]))
    [case] = standing(tagged.id, found).findings[0].cases
    assert len(case.items) == 4
    done = mend(tagged, found, "relabel", "cat|dog")
    assert done.changed == 3, "the fourth said so already"
    assert {item.labels for item in items.get_items(case.items)} == {("cat", "dog")}
    assert standing(tagged.id, found).findings[0].cases == (), "they agree now"
    assert fixes.undo(done.undo) == ()
    assert [(item.labels, item.reviewed) for item in items.get_items(case.items)] == [(item.labels, item.reviewed) for item in (one, none, bare, other)]
    assert mend(tagged, found, "relabel", "|").changed == 3, "none of these is an answer, too, and the one that nobody has looked at has none"
    assert {(item.labels, item.reviewed) for item in items.get_items(case.items)} == {((), True)}


def test_a_tag_that_is_likely_wrong_stands_until_it_is_changed(tagged: Project) -> None:
    item = items.list_items(tagged.id, order="name")[6]
    found = result(Finding.of("labels", [Case(str(item.id), (item.id,), "seems to show outdoors (95% sure)", "cat|dog", "cat|dog|outdoors")]))
    assert len(standing(tagged.id, found).findings[0].cases) == 1
    done = mend(tagged, found, "relabel")
    assert items.get_item(item.id).labels == ("cat", "dog", "outdoors")
    assert standing(tagged.id, found).findings[0].cases == ()
    fixes.undo(done.undo)
    assert items.get_item(item.id).labels == ("cat", "dog")
