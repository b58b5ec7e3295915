from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data import importing, items, projects, splits, versions
from engine.data.marks import TAGGING
from engine.data.projects import Project
from engine.errors import StudioError


def test_the_same_content_is_the_same_version(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    first = versions.freeze(project.id)
    assert versions.freeze(project.id) == first == versions.load(project.id, first["id"])
    assert [(version.id, version.pictures) for version in versions.list_versions(project.id)] == [(first["id"], 20)]
    assert first["task"] == "image-classification"
    assert first["classes"] == ["cat", "dog"]
    for entry in first["items"]:
        assert first["classes"][entry["label"]] == entry["name"].split("/")[0]
        assert entry["split"] in ("train", "val", "test")
        assert hashlib.sha256(versions.absolute(entry["path"]).read_bytes()).hexdigest() == entry["sha256"]


def test_an_edit_makes_another_version_and_undoing_it_the_first_again(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    first = versions.freeze(project.id)
    item = items.list_items(project.id, split="train", label="cat")[0]
    edited = items.set_label(item.id, "dog", item.revision)
    second = versions.freeze(project.id)
    assert second["id"] != first["id"]
    assert versions.load(project.id, first["id"]) == first, "a version never changes"
    items.set_label(item.id, "cat", edited.revision)
    assert versions.freeze(project.id)["id"] == first["id"]


def test_only_labelled_pictures_in_use_are_in_it(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    aside, bare = items.list_items(project.id, limit=2)
    items.exclude(aside.id)
    items.set_label(bare.id, None, bare.revision)
    found = {entry["id"] for entry in versions.freeze(project.id)["items"]}
    assert len(found) == 18
    assert not found & {aside.id, bare.id}


def test_copies_move_with_the_workspace(project: Project, folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing.import_path(project.id, folder, in_place=False)
    manifest = versions.freeze(project.id)
    shutil.copytree(home, tmp_path / "moved")
    shutil.rmtree(home)
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "moved"))
    assert all(versions.absolute(entry["path"]).exists() for entry in manifest["items"])
    assert all(item.path.exists() for item in items.list_items(project.id))


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({}, "no labelled picture"),
        ({"cat": 5}, "only one class, 'cat'"),
        ({"cat": 5, "dog": 1}, "class 'dog' has 1 picture; a split needs 3"),
        ({"cat": 5, "dog": 2}, "class 'dog' has 2 pictures; a split needs 3"),
    ],
)
def test_too_little_is_said(project: Project, tmp_path: Path, draw: Callable[..., Path], sizes: dict[str, int], problem: str) -> None:
    seed = 0
    for name, size in sizes.items():
        for number in range(size):
            seed += 1
            draw(tmp_path / "data" / name / f"{number}.png", seed)
        draw(tmp_path / "data" / "loose.png", 999)
    if sizes:
        importing.import_path(project.id, tmp_path / "data")
    if len(sizes) == 1:
        items.add_class(project.id, "empty")
    with pytest.raises(StudioError, match=problem):
        versions.freeze(project.id)
    assert versions.list_versions(project.id) == []


def test_a_class_that_only_tests_have_is_said(project: Project, tmp_path: Path, draw: Callable[..., Path]) -> None:
    for seed in range(12):
        draw(tmp_path / "data" / ("train", "val", "test")[seed % 3] / "cat" / f"{seed}.png", seed)
        draw(tmp_path / "data" / ("train", "val", "test")[seed % 3] / "dog" / f"{seed}.png", 100 + seed)
        draw(tmp_path / "data" / "test" / "eel" / f"{seed}.png", 200 + seed)
    importing.import_path(project.id, tmp_path / "data")
    with pytest.raises(StudioError, match="class 'eel' has no picture to train on"):
        versions.freeze(project.id)


@pytest.mark.parametrize("version", ["../../etc/passwd", "", "x" * 64, "0" * 63])
def test_only_ids_are_loaded(project: Project, version: str) -> None:
    with pytest.raises(StudioError, match="not a version"):
        versions.load(project.id, version)


def test_a_version_that_is_not_there(project: Project) -> None:
    with pytest.raises(StudioError, match="missing"):
        versions.load(project.id, "0" * 64)


def test_a_project_that_is_not_there(home: Path) -> None:
    projects.create("Other")
    with pytest.raises(StudioError, match="no project"):
        versions.freeze("nobody")


def test_a_version_of_tagged_pictures_holds_all_their_classes(tagged: Project) -> None:
    splits.assign(tagged.id)
    made = versions.freeze(tagged.id)
    assert made["task"] == TAGGING
    assert made["classes"] == ["cat", "dog", "outdoors"]
    assert [entry["name"] for entry in made["items"]] == [f"{number:02}.png" for number in range(28)], "not those that nobody has looked at"
    for number, entry in enumerate(made["items"]):
        assert entry["labels"] == [place for place, by in enumerate((2, 3, 5)) if number % by == 0]
        assert "label" not in entry
    assert versions.freeze(tagged.id) == made == versions.load(tagged.id, made["id"])


def test_what_is_too_little_to_learn_tags_from_is_said(tagged: Project, tmp_path: Path, draw: Callable[..., Path]) -> None:
    empty = projects.create("Empty", TAGGING)
    with pytest.raises(StudioError, match="no picture has a class yet"):
        versions.freeze(empty.id)
    for item in items.list_items(tagged.id, limit=100):
        items.set_labels(item.id, ["cat", "dog"], item.revision)
    with pytest.raises(StudioError, match="every training picture shows the same: cat, dog"):
        versions.freeze(tagged.id)
    for seed in range(12):
        draw(tmp_path / "given" / ("train", "val", "test")[seed % 3] / f"{('cat', 'dog')[seed // 3 % 2]}" / f"{seed}.png", seed)
        draw(tmp_path / "given" / "test" / "eel" / f"{seed}.png", 200 + seed)
    importing.import_path(empty.id, tmp_path / "given")
    with pytest.raises(StudioError, match="no training picture shows 'eel'"):
        versions.freeze(empty.id)
