from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import changes, importing, items, marks, projects, restoring, splits, versions
from engine.data.marks import Mark
from engine.data.projects import Project
from engine.errors import StudioError


def _manifest(entries: dict[int, tuple[str, str]]) -> dict[str, Any]:
    names = sorted({label for label, _ in entries.values()})
    rows = [
        {"id": 100 + key, "sha256": str(key), "path": "x", "name": f"{key}.png", "split": split, "label": names.index(label)}
        for key, (label, split) in entries.items()
    ]
    return {"id": "0" * 64, "classes": names, "items": rows}


states = st.dictionaries(st.integers(0, 20), st.tuples(st.sampled_from("abc"), st.sampled_from(["train", "val", "test"])))


@given(states, states)
def test_every_picture_is_accounted_for(before: dict[int, tuple[str, str]], after: dict[int, tuple[str, str]]) -> None:
    found = changes.difference(_manifest(before), _manifest(after))
    both = before.keys() & after.keys()
    assert {int(one.sha256) for one in found.added} == after.keys() - before.keys()
    assert {int(one.sha256) for one in found.removed} == before.keys() - after.keys()
    assert {int(one.sha256): (one.before, one.after) for one in found.relabelled} == {
        key: (before[key][0], after[key][0]) for key in both if before[key][0] != after[key][0]
    }
    assert {int(one.sha256): (one.before, one.after) for one in found.moved} == {
        key: (before[key][1], after[key][1]) for key in both if before[key][1] != after[key][1]
    }
    assert found.same == sum(before[key] == after[key] for key in both)
    assert found.empty == (before == after)


def test_versions_of_a_project_are_compared_named_found_and_gone_back_to(project: Project, folder: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    importing.import_path(project.id, folder)
    first = versions.freeze(project.id)
    versions.name_version(project.id, first["id"], "  First  ")
    cat, other, gone = items.list_items(project.id, label="cat")[:3]
    items.set_label(cat.id, "dog", cat.revision)
    items.set_label(other.id, "eel", other.revision)
    items.exclude(gone.id)
    told = changes.difference(first, versions.now(project.id))
    assert [(one.name, one.before, one.after) for one in told.relabelled] == [(cat.name, "cat", "dog"), (other.name, "cat", "eel")]
    assert [one.item_id for one in told.removed] == [gone.id]
    assert versions.list_versions(project.id)[0].name == "First"
    assert versions.find(project.id, "First").id == versions.find(project.id, first["id"][:6]).id == first["id"]

    assert restoring.restore_labels(project.id, first["id"]) == 2
    assert items.get_item(cat.id).label == items.get_item(other.id).label == "cat"
    assert items.get_item(cat.id).revision == cat.revision + 2, "an edit like any other: a browser that still shows the old one notices"
    items.exclude(gone.id, False)
    assert versions.now(project.id)["id"] == first["id"]


def test_going_back_can_be_taken_back(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    first = versions.freeze(project.id)
    cat = items.list_items(project.id, label="cat")[0]
    items.set_label(cat.id, "dog", cat.revision)
    restoring.restore_labels(project.id, first["id"])
    newest = versions.list_versions(project.id)[0]
    assert newest.id != first["id"]
    assert restoring.restore_labels(project.id, newest.id) == 1
    assert items.get_item(cat.id).label == "dog"


@pytest.mark.parametrize("wanted", ["nothing", "", "abc"])
def test_a_version_that_is_not_there(project: Project, folder: Path, wanted: str) -> None:
    importing.import_path(project.id, folder)
    versions.freeze(project.id)
    with pytest.raises(StudioError, match="no version"):
        versions.find(project.id, wanted)


def test_two_versions_have_not_one_name(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    first = versions.freeze(project.id)["id"]
    cat = items.list_items(project.id, label="cat")[0]
    items.set_label(cat.id, "dog", cat.revision)
    second = versions.freeze(project.id)["id"]
    versions.name_version(project.id, first, "One")
    with pytest.raises(StudioError, match="already a version"):
        versions.name_version(project.id, second, "one")
    versions.name_version(project.id, first, "")
    versions.name_version(project.id, second, "one")
    splits.apply(project.id, splits.Settings(seed=3))
    assert versions.find(project.id, "one").id == second, "other settings leave the names alone"


def test_shapes_are_compared_and_gone_back_to(home: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    project = projects.create("Boxes", "object-detection")
    for number in range(8):
        draw(tmp_path / "data" / f"{number}.png", number)
    importing.import_path(project.id, tmp_path / "data")
    listed = items.list_items(project.id)
    for item in listed:
        marks.replace(item.id, [Mark("cell", "box", {"box": [1, 1, 9, 9]})], None)
    first = versions.freeze(project.id)
    marks.replace(listed[0].id, [Mark("cell", "box", {"box": [2, 1, 9, 9]})], None)
    marks.replace(listed[1].id, [Mark("cell", "box", {"box": [1, 1, 9, 9]}), Mark("nut", "box", {"box": [3, 3, 8, 8]})], None)
    marks.replace(listed[2].id, [], None)
    told = changes.difference(first, versions.now(project.id))
    assert [(one.before, one.after) for one in told.relabelled] == [("1 cell", "1 cell, drawn anew"), ("1 cell", "1 cell, 1 nut"), ("1 cell", "nothing")]
    assert restoring.restore_labels(project.id, first["id"]) == 3
    assert changes.difference(first, versions.now(project.id)).empty


def test_versions_of_tagged_pictures_are_compared_and_gone_back_to(tagged: Project) -> None:
    splits.assign(tagged.id)
    first = versions.freeze(tagged.id)
    both, none, extra = items.get_items(entry["id"] for entry in first["items"] if entry["name"] in ("00.png", "01.png", "02.png"))
    items.set_labels(both.id, ["cat"], both.revision)
    items.set_labels(none.id, [], none.revision, reviewed=False)
    items.set_labels(extra.id, [], extra.revision)
    told = changes.difference(first, versions.now(tagged.id))
    assert {(one.name, one.before, one.after) for one in told.relabelled} == {("00.png", "cat, dog, outdoors", "cat"), ("02.png", "cat", "none of these")}
    assert [(one.name, one.before) for one in told.removed] == [("01.png", "none of these")]
    assert restoring.restore_labels(tagged.id, first["id"]) == 3
    assert changes.difference(first, versions.now(tagged.id)).empty
    assert items.get_item(both.id).labels == ("cat", "dog", "outdoors")
    assert restoring.restore_labels(tagged.id, first["id"]) == 0
