"""`python -m engine label`: a class for a picture, or a box in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import __main__ as shell
from engine.data import importing, items, marks, projects
from tests.pages.drawn import class_folders, flat, things, things_in


def graft(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    code = shell.main(["label", *words, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, said.err


@pytest.fixture
def fruit(home: Path, tmp_path: Path) -> projects.Project:
    project = projects.create("Fruit")
    importing.import_path(project.id, class_folders(tmp_path / "fruit", "red", "green", each=2))
    return project


def test_a_picture_gets_a_class_by_name_end_of_name_or_id(fruit: projects.Project, capsys: pytest.CaptureFixture[str]) -> None:
    item = items.find_item(fruit.id, "red/0.jpg")
    for name, label in (("red/0.jpg", "ripe"), (str(item.id), "unripe")):
        code, said, _ = graft(capsys, "--project", "fruit", name, label)
        assert (code, said["label"], said["item"]) == (0, label, item.id)
        assert items.get_item(item.id).label == label
    code, said, _ = graft(capsys, "--project", "Fruit", "red/0.jpg", "--clear")
    assert (code, said["label"], items.get_item(item.id).label) == (0, None, None)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nowhere.jpg", "ripe"], "no picture 'nowhere.jpg'"),
        (["0.jpg", "ripe"], "several pictures are called '0.jpg'"),
        (["99999", "ripe"], "no picture '99999'"),
        (["red/0.jpg"], "either a class or --clear"),
        (["red/0.jpg", "ripe", "--clear"], "either a class or --clear"),
        (["red/0.jpg", "ripe", "--box", "1", "2", "3", "4"], "takes no --box"),
        (["red/0.jpg", " "], "needs a name"),
    ],
)
def test_mistakes_are_sentences(fruit: projects.Project, capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    code, said, error = graft(capsys, "--project", "Fruit", *words)
    assert (code, said) == (2, None)
    assert problem in error


def test_a_box_is_added_to_what_is_there(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, flat(tmp_path / "flat", 2))
    item = items.find_item(project.id, "p0.jpg")
    assert graft(capsys, "--project", "Boxes", "p0.jpg", "cat")[0] == 2
    for count in (1, 2):
        code, said, _ = graft(capsys, "--project", "Boxes", "p0.jpg", "cat", "--box", "1", "2", "30", "20")
        assert (code, said["labels"]) == (0, count)
    assert [mark.geometry for mark in marks.of_items([item.id])[item.id]] == [{"box": [1, 2, 30, 20]}] * 2
    code, _, error = graft(capsys, "--project", "Boxes", "p0.jpg", "cat", "--box", "1", "2", "1", "20")
    assert code == 2
    assert "no inside" in error
    assert graft(capsys, "--project", "Boxes", "p0.jpg", "--clear")[1]["labels"] == 0


def test_a_picture_is_tagged_with_several_classes_or_none(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = projects.create("Tags", marks.TAGGING)
    importing.import_path(project.id, flat(tmp_path / "flat", 2))
    item = items.find_item(project.id, "p0.jpg")
    code, said, _ = graft(capsys, "--project", "Tags", "p0.jpg", "dog", "cat")
    assert (code, said["labels"], items.get_item(item.id).labels) == (0, ["cat", "dog"], ("cat", "dog"))
    assert graft(capsys, "--project", "Tags", "p0.jpg", "bird")[1]["labels"] == ["bird"], "what is said takes the place of what was said"
    code, said, _ = graft(capsys, "--project", "Tags", "p0.jpg", "--none")
    assert (code, said["labels"], said["reviewed"]) == (0, [], True)
    assert items.count_items(project.id, unlabelled=True) == 1
    assert graft(capsys, "--project", "Tags", "p0.jpg", "--clear")[1]["reviewed"] is False
    for words in (["p0.jpg"], ["p0.jpg", "cat", "--none"], ["p0.jpg", "--none", "--clear"]):
        code, _, error = graft(capsys, "--project", "Tags", *words)
        assert (code, "either classes, --none or --clear" in error) == (2, True)
    assert "takes no --none" in _of_another_kind(capsys, "p0.jpg", "--none")
    assert "one class at a time, not 2" in _of_another_kind(capsys, "p0.jpg", "cat", "dog")


def _of_another_kind(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    other = next((one for one in projects.list_projects() if one.name == "Other"), None) or projects.create("Other")
    importing.import_path(other.id, items.list_items(projects.find("Tags").id)[0].path.parent)
    code, _, error = graft(capsys, "--project", "Other", *words)
    assert code == 2
    return error


def test_a_model_suggests_several_classes_from_the_shell(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = projects.create("Things", marks.TAGGING)
    importing.import_path(project.id, things(tmp_path / "in", 60))
    for number, item in enumerate(items.list_items(project.id, order="name", limit=40)):
        items.set_labels(item.id, things_in(number), item.revision)
    code = shell.main(["suggest", "--project", "Things", "--agree", "0.9", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (code, said["labelled"], said["classes"]) == (0, 40, ["circle", "square"])
    assert said["agreed"] >= 8
    assert projects.summary(project.id).labelled == 40 + said["agreed"]
    right = [item.labels == things_in(int(item.name[:3])) for item in items.list_items(project.id, order="name", limit=60)[40:] if item.labels]
    assert sum(right) >= 0.9 * len(right)
