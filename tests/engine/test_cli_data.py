"""`python -m engine import --map --drop --task` and `export-data`: what goes in under which names, and what comes out."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine import __main__ as shell
from engine.data import items, marks, projects
from tests.engine.data.formats.sources import picture
from tests.pages.drawn import class_folders


def graft(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, Any, str]:
    code = shell.main([*map(str, words), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, said.err


@pytest.fixture
def folders(home: Path, tmp_path: Path) -> Path:
    return class_folders(tmp_path / "in", "red", "green", "blue", each=2)


@pytest.fixture
def boxes(home: Path, tmp_path: Path) -> Path:
    """Two pictures and a table with three boxes of two classes."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(picture(number))
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["file", "class", "xmin", "ymin", "xmax", "ymax"], ["1.png", "cat", 1, 2, 9, 9], ["1.png", "dog", 3, 3, 20, 20], ["2.png", "dog", 0, 0, 5, 5]]
        )
    return folder


def test_classes_are_renamed_merged_and_dropped_on_the_way_in(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = graft(capsys, "import", folders, "--project", "Fruit", "--map", "red=ripe", "--map", "green=ripe", "--drop", "blue")
    assert (code, said["classes"], said["added"]) == (0, {"ripe": 4}, 4)
    assert [(Path(row["name"]).parent.name, "left out" in row["reason"]) for row in said["skipped"]] == [("blue", True)] * 2, said["skipped"]
    assert items.classes(projects.find("Fruit").id) == ["ripe"]


def test_drawn_labels_are_renamed_and_dropped_too(boxes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = graft(capsys, "import", boxes, "--project", "Pets", "--map", "dog=hound", "--drop", "cat")
    assert (code, said["task"], said["labels"]) == (0, "object-detection", 2)
    project = projects.find("Pets")
    assert items.classes(project.id) == ["hound"]
    listed = marks.of_items(item.id for item in items.list_items(project.id))
    assert sorted(mark.label for found in listed.values() for mark in found) == ["hound", "hound"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--map", "red"], "'red' says no new name"),
        (["--map", "=ripe"], "'=ripe' says no new name"),
        (["--map", "red="], "'red=' says no new name"),
        (["--task", "object-detection"], "the task of 'Fruit' is image-classification"),
    ],
)
def test_mistakes_are_sentences_and_nothing_is_taken(folders: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    project = projects.create("Fruit")
    code, said, error = graft(capsys, "import", folders, "--project", "Fruit", *words)
    assert (code, said) == (2, None)
    assert problem in error
    assert items.count_items(project.id) == 0
    code, _, error = graft(capsys, "import", folders / "nowhere", "--project", "Other")
    assert code == 2
    assert "there is no" in error
    assert [one.name for one in projects.list_projects()] == ["Fruit"]


def test_a_project_is_made_for_the_task_that_was_asked_for(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = graft(capsys, "import", folders, "--project", "Things", "--task", "object-detection")
    assert (code, said["task"]) == (0, "object-detection")
    assert "the classes were not used" in " ".join(said["problems"])
    assert items.count_items(projects.find("Things").id, unlabelled=True) == 6


@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_labels_go_out_and_come_back(boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert graft(capsys, "import", boxes, "--project", "Pets")[0] == 0
    out = tmp_path / "out.zip"
    code, said, _ = graft(capsys, "export-data", "--project", "Pets", "--format", form, "-o", out)
    assert (code, said["pictures"], said["labels"], said["file"]) == (0, 2, 3, str(out))
    code, back, _ = graft(capsys, "import", out, "--project", "Back")
    assert (code, back["added"], back["labels"], back["classes"]) == (0, 2, 3, {"cat": 1, "dog": 2})


def test_labels_only_folders_and_what_cannot_be(folders: Path, boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert graft(capsys, "import", folders, "--project", "Fruit")[0] == 0
    assert graft(capsys, "import", boxes, "--project", "Pets")[0] == 0
    out = tmp_path / "out.zip"
    code, said, _ = graft(capsys, "export-data", "--project", "Fruit", "--format", "folders", "-o", out)
    assert (code, said["pictures"], said["lost"]) == (0, 6, [])
    assert sum(name.startswith("red/") or "/red/" in name for name in zipfile.ZipFile(out).namelist()) == 2
    code, _, _ = graft(capsys, "export-data", "--project", "Pets", "--format", "coco", "--labels-only", "-o", out)
    assert code == 0
    assert not [name for name in zipfile.ZipFile(out).namelist() if name.endswith(".png")]
    before = out.read_bytes()
    for project, form, place, problem in (
        ("Pets", "folders", out, "one class a picture"),
        ("Nobody", "coco", out, "there is no project 'Nobody'"),
        ("Pets", "coco", tmp_path / "no" / "x.zip", "there is no folder"),
    ):
        code, said, error = graft(capsys, "export-data", "--project", project, "--format", form, "-o", place)
        assert (code, said) == (2, None)
        assert problem in error
    assert out.read_bytes() == before


def test_several_classes_a_picture_go_in_and_come_out(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 3):
        (folder / f"{number}.png").write_bytes(picture(number))
    (folder / "labels.csv").write_text("path,labels\n1.png,cat|dog\n2.png,dog\n3.png,\n")
    code, said, _ = graft(capsys, "import", folder, "--project", "Tags")
    assert (code, said["task"], said["classes"]) == (0, marks.TAGGING, {"cat": 1, "dog": 2})
    code, said, _ = graft(capsys, "export-data", "--project", "Tags", "--format", "csv", "-o", tmp_path / "out.zip")
    assert (code, said["pictures"], said["labels"], said["lost"]) == (0, 3, 3, [])
    rows = list(csv.reader(zipfile.ZipFile(tmp_path / "out.zip").read("labels.csv").decode().splitlines()))
    assert [row[1::3] for row in rows] == [["labels", "reviewed"], ["cat|dog", "1"], ["dog", "1"], ["", "0"]]
    code, said, _ = graft(capsys, "import", folder, "--project", "One", "--task", "image-classification")
    assert (code, said["task"], said["classes"]) == (0, "image-classification", {"cat|dog": 1, "dog": 1}), "the user's word counts"
    for command in (["--task", marks.TAGGING], []):
        assert graft(capsys, "import", class_folders(tmp_path / "more", "red", "blue", each=2), "--project", "Folders", *command)[1]["task"] == marks.TAGGING
