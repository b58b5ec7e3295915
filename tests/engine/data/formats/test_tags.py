"""Tables that say several classes of a picture: names in one cell, a column a class, a row a class."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from engine.data import importing, items, projects
from engine.data.formats import tags
from engine.data.formats.base import label_name
from engine.data.marks import TAGGING
from tests.engine.data.formats.sources import picture, read

PICTURES = {f"images/{number}.png": picture(number) for number in range(1, 9)}
SINGLE = "image-classification"
Told = dict[str, tuple[str, ...]]


def told(table: str | bytes, name: str = "labels.csv", task: str | None = None, only: bool = False) -> tuple[str, Told, list[str], set[str]]:
    """The task, the classes of each listed picture by its number, what is said, and which pictures are known to be complete."""
    there = {one: content for one, content in PICTURES.items() if isinstance(table, bytes) or one[7:] in table}
    data = read({**there, name: table}, name if only else None, task)
    listed = {found.name[7:-4]: found.labels for found in data.pictures if found.labels or found.reviewed or found.split}
    return data.task, listed, data.problems, {found.name[7:-4] for found in data.pictures if found.reviewed}


ROWS = {"1": "a", "2": "b", "3": "a{}b", "4": "c{}a", "5": "c", "6": "b{} c"}
NAMES = {"1": ("a",), "2": ("b",), "3": ("a", "b"), "4": ("c", "a"), "5": ("c",), "6": ("b", "c")}


@pytest.mark.parametrize("heading", ["label", "labels", "Tags"])
@pytest.mark.parametrize(("mark", "delimiter"), [("|", ","), (";", ","), (",", ","), ("|", "\t"), (";", "\t"), ("|", ";")])
def test_names_in_one_cell_are_parted(heading: str, mark: str, delimiter: str) -> None:
    table = "".join(f'{one}.png{delimiter}"{cell.format(mark)}"\n' for one, cell in ROWS.items())
    task, listed, said, complete = told(f"path{delimiter}{heading}\n{table}")
    assert (task, listed) == (TAGGING, NAMES)
    assert f"parted by '{mark}'" in said[0]
    assert complete == set(NAMES)


@pytest.mark.parametrize(
    "cells",
    [
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "maillot", "maillot, tank suit"],
        ["salt|pepper", "salt|pepper", "x"],
        ["a", "b"],
    ],
)
def test_one_odd_name_stays_one_class(cells: list[str]) -> None:
    table = "path,label\n" + "".join(f'{number}.png,"{cell}"\n' for number, cell in enumerate(cells, 1))
    task, listed, _, complete = told(table)
    assert (task, [*listed.values()], complete) == (SINGLE, [(cell,) for cell in cells], set())


def test_where_the_task_is_settled_the_cells_follow_it() -> None:
    table = "path,label\n1.png,a|b\n2.png,x\n"
    assert told(table)[:2] == (SINGLE, {"1": ("a|b",), "2": ("x",)})
    assert told(table, task=TAGGING)[:2] == (TAGGING, {"1": ("a", "b"), "2": ("x",)})
    clear = "path,label\n" + "".join(f"{one}.png,{cell.format('|')}\n" for one, cell in ROWS.items())
    assert told(clear, task=SINGLE)[:2] == (SINGLE, {one: (cell.format("|"),) for one, cell in ROWS.items()})


def test_a_comma_without_quotes_parts_nothing() -> None:
    task, listed, _, _ = told("path\tlabels\n1.png\ta,b\n2.png\ta\n3.png\tb\n")
    assert (task, listed["1"]) == (SINGLE, ("a,b",))


def test_columns_of_ones_and_zeros_are_classes() -> None:
    table = "image,split,cat,dog,big bird\n1.png,train,1,0,1\n2.png,val,0,0,0\n3.png,test,1.0,1.0,false\n4.png,train,-1,-1,1\n"
    task, listed, said, complete = told(table)
    assert (task, listed) == (TAGGING, {"1": ("cat", "big bird"), "2": (), "3": ("cat", "dog"), "4": ("big bird",)})
    assert complete == {"1", "2", "3", "4"}, "zeros say that it shows none"
    assert "3 columns of labels.csv hold ones and zeros, and were taken as classes: cat, dog, big bird" in said[0]
    assert told(table, task=SINGLE)[:2] == (SINGLE, {"1": ("cat", "big bird"), "2": (), "3": ("cat", "dog"), "4": ("big bird",)})


def test_exactly_one_one_a_row_is_one_class_a_picture() -> None:
    table = "image,cat,dog\n1.png,1,0\n2.png,0,1\n3.png,0,1\n4.png,1,0\n"
    assert told(table)[:2] == (SINGLE, {"1": ("cat",), "2": ("dog",), "3": ("dog",), "4": ("cat",)})
    assert told(table, task=TAGGING)[0] == TAGGING


def test_flags_beside_class_folders_are_no_classes() -> None:
    files = {f"{name}/{number}.png": picture(number) for number, name in enumerate(("cat", "cat", "dog", "dog"))}
    table = "file,blurry,cropped\n0.png,1,0\n1.png,0,0\n2.png,1,1\n3.png,0,0\n"
    assert {found.labels for found in read({**files, "notes.csv": table}).pictures} == {("cat",), ("dog",)}
    chosen = read({**files, "notes.csv": table}, "notes.csv")
    assert [found.labels for found in chosen.pictures] == [("blurry",), (), ("blurry", "cropped"), ()]


def test_a_cell_that_is_neither_is_counted() -> None:
    rows = "".join(f"{1 + number % 8}.png,1,0\n" for number in range(600)) + "1.png,perhaps,1\n"
    said = told("path,cat,dog\n" + rows)[2]
    assert any("neither 1 nor 0" in words for words in said)


def test_a_row_a_class() -> None:
    table = "path,label\n" + "".join(f"{number}.png,a\n{number}.png,b\n" for number in range(1, 7)) + "7.png,a\n"
    task, listed, said, _ = told(table)
    assert (task, listed) == (TAGGING, {**{str(number): ("a", "b") for number in range(1, 7)}, "7": ("a",)})
    assert "6 pictures have several rows" in said[0]
    few = "path,label\n1.png,a\n1.png,b\n2.png,a\n"
    assert told(few)[:2] == (SINGLE, {"1": ("a",), "2": ("a",)})
    assert told(few, task=TAGGING)[:2] == (TAGGING, {"1": ("a", "b"), "2": ("a",)})


def test_what_has_no_class_waits_unless_the_table_says_that_this_is_known() -> None:
    _, _, said, complete = told("path,labels\n1.png,a|b\n2.png,\n3.png,b\n")
    assert complete == {"1", "3"}
    assert "1 picture has no class in labels.csv, and waits" in said[-1]
    assert told("path,labels,reviewed\n1.png,a,0\n2.png,,1\n3.png,,0\n")[::3] == (TAGGING, {"2"})


@pytest.mark.parametrize("form", ["lists", "text", "ones"])
def test_parquet(form: str) -> None:
    names = [list(labels) for labels in NAMES.values()]
    columns: dict[str, object] = {"file_name": [f"{one}.png" for one in NAMES], "image": [{"bytes": b"x", "path": None}] * len(NAMES)}
    if form == "ones":
        columns |= {name: [name in labels for labels in names] for name in "abc"}
    else:
        columns["labels"] = names if form == "lists" else ["|".join(labels) for labels in names]
    memory = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), memory)
    task, listed, _, _ = told(memory.getvalue(), "train.parquet")
    assert task == TAGGING
    assert {one: set(labels) for one, labels in listed.items()} == {one: set(labels) for one, labels in NAMES.items()}


@given(st.lists(st.text(max_size=8).map(label_name), max_size=5, unique=True))
def test_what_is_joined_is_parted_again(names: list[str]) -> None:
    cell = tags.joined(names)
    assert tags.parted(cell, "|") == tuple(names)
    assert tags.parting([cell]) == ("|" if len(names) > 1 else "")


@given(st.text(max_size=30), st.sampled_from([*tags.PARTING, ""]))
def test_any_cell_gives_names(cell: str, mark: str) -> None:
    assert all(name == label_name(name) for name in tags.parted(cell, mark))


def test_one_picture_in_several_class_folders(home: Path, tmp_path: Path) -> None:
    for label, seeds in {"cat": (1, 2), "dog": (2, 3), "red": (2, 1)}.items():
        for seed in seeds:
            path = tmp_path / "in" / label / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed))
    tagging, sorting = projects.create("Tags", TAGGING), projects.create("One each")
    report = importing.import_path(tagging.id, tmp_path / "in")
    assert (report.added, report.duplicates, report.classes) == (3, 3, {"cat": 2, "dog": 2, "red": 2})
    assert {item.name.rpartition("/")[2]: item.labels for item in items.list_items(tagging.id)} == {
        "1.png": ("cat", "red"),
        "2.png": ("cat", "dog", "red"),
        "3.png": ("dog",),
    }
    assert any("which now also has the class 'dog'" in row.reason for row in report.skipped)
    assert importing.import_path(sorting.id, tmp_path / "in").classes == {"cat": 2, "dog": 1}
    for item in items.list_items(tagging.id):
        items.set_labels(item.id, [], item.revision, reviewed=item.label == "dog")
    again = importing.import_path(tagging.id, tmp_path / "in")
    assert (again.added, again.relabelled) == (0, 2), "the third is known to show none, which stays"
    assert sorted(item.labels for item in items.list_items(tagging.id)) == [(), ("cat", "dog", "red"), ("cat", "red")]


def test_classes_are_mapped_on_the_way_in(home: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "labels.csv").write_text("path,labels\n1.png,cat|kitten|red\n2.png,red\n3.png,cat\n")
    project = projects.create("Tags")
    report = importing.import_path(project.id, tmp_path, mapping={"kitten": "cat", "red": None})
    assert (report.task, projects.get(project.id).task, report.classes) == (TAGGING, TAGGING, {"cat": 2})
    assert [(item.labels, item.reviewed) for item in items.list_items(project.id)] == [(("cat",), True), ((), True), (("cat",), True)]
    assert "this project now says of whole pictures" in report.problems[0]


def _label_studio(chosen: Told) -> str:
    results = {one: [{"type": "choices", "value": {"choices": list(labels)}}] if labels else [] for one, labels in chosen.items()}
    return json.dumps([{"data": {"image": f"{one}.png"}, "annotations": [{"result": result}]} for one, result in results.items()])


def _cvat(chosen: Told) -> str:
    rows = [f'<image name="{one}.png" width="40" height="30">{"".join(f"<tag label={name!r}/>" for name in labels)}</image>' for one, labels in chosen.items()]
    return f"<annotations>{''.join(rows)}</annotations>"


@pytest.mark.parametrize(("name", "write"), [("export.json", _label_studio), ("annotations.xml", _cvat)])
def test_classes_of_other_tools(name: str, write: Callable[[Told], str]) -> None:
    many: Told = {"1": ("a", "b"), "2": ("b", "c"), "3": ("a", "c"), "4": ("a", "b", "c"), "5": ("a", "b"), "6": ("c",), "7": ()}
    task, listed, _, complete = told(write(many), name)
    assert (task, listed) == (TAGGING, many)
    assert complete == {"7"}, "it was looked at, and shows none"
    task, listed, said, _ = told(write(many), name, SINGLE)
    assert (task, listed["4"]) == (SINGLE, ("a",))
    assert "5 pictures have several classes; the first counts" in said
    few: Told = {"1": ("a", "b"), "2": ("b",), "3": ("a",)}
    assert told(write(few), name)[:2] == (SINGLE, {"1": ("a",), "2": ("b",), "3": ("a",)})
    assert told(write(few), name, TAGGING)[:2] == (TAGGING, few)
