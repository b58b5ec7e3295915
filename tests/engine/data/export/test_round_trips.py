"""What goes out of a project and comes into another is the same, as far as the form can hold it; what it cannot hold is said."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from engine.data import export, importing, items, marks, projects, shapes, store
from engine.data.marks import TAGGING, Mark
from engine.errors import StudioError
from tests.engine.data.formats.sources import picture

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SIZES = [(40, 30), (64, 64), (3, 50), (317, 41)]
NAMES = ["1.png", "sub/1.png", "sub/CON.png", "Ä日本 x.png", "sub/äÄ.PNG", "a,b;c.png", "train.png"]
LABELS = ["cat", "猫", "a, b: 'c'", "no", "12", "<b>&x;"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(picture(number, *SIZES[number % len(SIZES)]))
    return folder


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> dict[str, Any]:
    x1, x2 = sorted(draw(st.lists(st.integers(0, width * 100), min_size=2, max_size=2)))
    y1, y2 = sorted(draw(st.lists(st.integers(0, height * 100), min_size=2, max_size=2)))
    x1, y1 = min(x1, width * 100 - 60), min(y1, height * 100 - 60)
    return {"box": [x1 / 100, y1 / 100, max(x2, x1 + 60) / 100, max(y2, y1 + 60) / 100]}


@st.composite
def rings(draw: st.DrawFn, width: int, height: int) -> list[float]:
    corners = draw(st.lists(st.tuples(st.integers(0, width * 100), st.integers(0, height * 100)), max_size=6))
    corners += [(0, 0), (60, 0), (60, 60)]
    return [value / 100 for corner in corners for value in corner]


@st.composite
def masks(draw: st.DrawFn, width: int, height: int) -> dict[str, Any]:
    pixels = np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < draw(st.sampled_from([0.02, 0.5, 1.0]))
    pixels[0, 0] = True
    return shapes.mask_from(pixels)


def shape(kind: str, width: int, height: int, parts: int) -> st.SearchStrategy[dict[str, Any]]:
    if kind == "box":
        return boxes(width, height)
    return masks(width, height) if kind == "mask" else st.lists(rings(width, height), min_size=1, max_size=parts).map(lambda found: {"rings": found})


@st.composite
def drawn(draw: st.DrawFn, kinds: tuple[str, ...], parts: int = 3, crowd: bool = False) -> list[tuple[bool, str | None, str | None, list[Mark]]]:
    """For each picture: whether it was looked at, its split, its group, its marks."""
    made = []
    for number in range(len(NAMES)):
        width, height = SIZES[number % len(SIZES)]
        count = draw(st.integers(0, 3))
        listed = []
        for _ in range(count):
            kind = draw(st.sampled_from(kinds))
            geometry = draw(shape(kind, width, height, parts))
            if crowd and draw(st.booleans()):
                geometry = {**geometry, "crowd": True}
            listed.append(Mark(draw(st.sampled_from(LABELS)), kind, geometry))
        made.append(
            (bool(listed) or draw(st.booleans()), draw(st.sampled_from(["train", "val", "test", None])), draw(st.sampled_from([None, "scene 1"])), listed)
        )
    return made


def project_of(pictures: Path, task: str, content: list[tuple[bool, str | None, str | None, list[Mark]]]) -> projects.Project:
    project = projects.create("Out", task)
    importing.import_path(project.id, pictures, in_place=True)
    by_name = {item.name: item for item in items.list_items(project.id)}
    for name, (reviewed, split, group, listed) in zip(NAMES, content, strict=True):
        item = by_name[name]
        marks.replace(item.id, listed, None, reviewed=reviewed)
        with store.session() as connection:
            connection.execute(update(store.items).where(store.items.c.id == item.id).values(split=split, split_given=split is not None, group_name=group))
    return project


def content_of(project_id: str, *, groups: bool = True, drawn_only: bool = False) -> dict[str, Any]:
    found = items.list_items(project_id, limit=1000)
    listed = marks.of_items(item.id for item in found)
    with store.session() as connection:
        rows = connection.execute(select(store.items.c.id, store.items.c.group_name, store.items.c.split_given)).all()
    group, given = {row.id: row.group_name for row in rows}, {row.id: row.split_given for row in rows}
    return {
        item.sha256: (
            item.labels,
            item.reviewed,
            item.split if given[item.id] else None,
            group[item.id] if groups and (item.reviewed or item.label or not drawn_only) else None,
            [(mark.label, mark.kind, mark.geometry) for mark in listed[item.id]],
        )
        for item in found
    }


def there_and_back(project: projects.Project, key: str, folder: Path) -> tuple[projects.Project, export.ExportReport, importing.ImportReport]:
    made = export.export(project.id, key, folder / f"{key}.zip")
    back = projects.create("Back", project.task)
    report = importing.import_path(back.id, folder / f"{key}.zip")
    assert report.added == made.pictures == len(NAMES)
    return back, made, report


pytestmark = pytest.mark.usefixtures("home")


def _fresh() -> None:
    for project in projects.list_projects():
        projects.purge(project.id)


def _train_is_free(content: dict[str, Any]) -> dict[str, Any]:
    """Without validation pictures the training pictures of a data set are free to be split (see `entering`): not a loss of the form."""
    return (
        content
        if any(row[2] == "val" for row in content.values())
        else {key: (*row[:2], None if row[2] == "train" else row[2], *row[3:]) for key, row in content.items()}
    )


GROUPS = {"YOLO has no groups of pictures", "VOC has no groups of pictures", "COCO has no groups of pictures without labels"}
CASES = {
    "coco boxes": ("coco", "object-detection", ("box",), 1, True),
    "coco everything": ("coco", "instance-segmentation", ("box", "polygon", "mask"), 3, True),
    "yolo boxes": ("yolo", "object-detection", ("box",), 1, False),
    "yolo outlines": ("yolo", "instance-segmentation", ("polygon",), 1, False),
    "voc boxes": ("voc", "object-detection", ("box",), 1, False),
}


@pytest.mark.parametrize("case", CASES)
@SLOW
@given(data=st.data())
def test_what_a_form_holds_comes_back_the_same(case: str, data: st.DataObject, pictures: Path) -> None:
    key, task, kinds, parts, crowd = CASES[case]
    _fresh()
    content = data.draw(drawn(kinds, parts, crowd))
    project = project_of(pictures, task, content)
    if not any(listed for *_, listed in content) and not any(reviewed for reviewed, *_ in content):
        return  # nothing was looked at, so there is no label file to find
    with tempfile.TemporaryDirectory() as folder:
        back, made, report = there_and_back(project, key, Path(folder))
    has = content_of(project.id, groups=key == "coco", drawn_only=True)
    assert {words.split(" × ")[1].split(" (")[0] for words in made.lost} <= GROUPS
    assert _train_is_free(content_of(back.id, groups=key == "coco", drawn_only=True)) == _train_is_free(has), report.problems
    assert back.task == task


@SLOW
@given(data=st.data())
def test_mask_pictures_hold_the_area_of_each_class(data: st.DataObject, pictures: Path) -> None:
    _fresh()
    content = data.draw(drawn(("polygon", "mask")))
    content[0] = (True, None, None, [Mark("cat", "mask", shapes.mask_from(np.eye(30, 40, dtype=bool)))])
    project = project_of(pictures, "semantic-segmentation", content)
    with tempfile.TemporaryDirectory() as folder:
        back, _, _ = there_and_back(project, "masks", Path(folder))
    has, came = content_of(project.id, groups=False), content_of(back.id, groups=False)
    assert {key: row[1] for key, row in has.items()} == {key: row[1] for key, row in came.items()}
    sizes = {item.sha256: (item.width, item.height) for item in items.list_items(back.id)}
    for key, row in came.items():
        assert _areas(row[4], sizes[key]) == _areas(has[key][4], sizes[key])


def _areas(listed: list[Any], size: tuple[int, int]) -> dict[str, bytes]:
    """Which pixels each class ends up with, where later labels cover earlier ones."""
    top = np.full((size[1], size[0]), "", dtype="U20")
    for label, kind, geometry in listed:
        top[shapes.raster(kind, geometry, *size)] = label
    return {str(label): (top == label).tobytes() for label in np.unique(top) if label}


@SLOW
@given(
    labels=st.lists(st.sampled_from([None, *LABELS, "con", "train", "a/b"]), min_size=len(NAMES), max_size=len(NAMES)),
    splits=st.lists(st.sampled_from(["train", "val", "test", None]), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_folders_hold_classes(labels: list[str | None], splits: list[str | None], pictures: Path) -> None:
    _fresh()
    project = project_of(pictures, "image-classification", [(False, split, "g" if split else None, []) for split in splits])
    for item in items.list_items(project.id):
        items.set_label(item.id, labels[NAMES.index(item.name)], item.revision)
    with tempfile.TemporaryDirectory() as folder:
        back, made, report = there_and_back(project, "folders", Path(folder))
    assert made.lost == []
    assert _train_is_free(content_of(back.id)) == _train_is_free(content_of(project.id)), report.problems


@SLOW
@given(
    labels=st.lists(st.lists(st.sampled_from([*LABELS, "con", "a/b", "a|b", '"', '"a"|"b', "-"]), max_size=4), min_size=len(NAMES), max_size=len(NAMES)),
    reviewed=st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)),
    splits=st.lists(st.sampled_from(["train", "val", "test", None]), min_size=len(NAMES), max_size=len(NAMES)),
    into=st.sampled_from([TAGGING, "image-classification"]),
)
def test_a_table_holds_several_classes_a_picture(labels: list[list[str]], reviewed: list[bool], splits: list[str | None], into: str, pictures: Path) -> None:
    _fresh()
    project = project_of(pictures, TAGGING, [(False, split, "g" if split else None, []) for split in splits])
    for item in items.list_items(project.id):
        at = NAMES.index(item.name)
        items.set_labels(item.id, labels[at], item.revision, reviewed=reviewed[at])
    with tempfile.TemporaryDirectory() as folder:
        made = export.export(project.id, "csv", Path(folder) / "csv.zip")
        back = projects.create("Back", into)
        report = importing.import_path(back.id, Path(folder) / "csv.zip")
    assert made.lost == []
    assert (report.added, report.task) == (len(NAMES), TAGGING), "the table says itself that it is for several"
    assert made.labels == report.labels == sum(len(set(names)) for names in labels)
    assert _train_is_free(content_of(back.id)) == _train_is_free(content_of(project.id)), report.problems


def test_what_a_form_cannot_hold_is_said(pictures: Path, tmp_path: Path) -> None:
    crowd = Mark("cat", "box", {"box": [1, 1, 9, 9], "crowd": True})
    parts = Mark("cat", "polygon", {"rings": [[0, 0, 9, 0, 9, 9], [20, 20, 29, 20, 29, 29]]})
    mask = Mark("dog", "mask", shapes.mask_from(np.pad(np.ones((5, 5), bool), ((2, 23), (3, 32)))))
    project = project_of(pictures, "instance-segmentation", [(True, None, "g", [crowd, parts, mask]), *[(False, None, None, [])] * (len(NAMES) - 1)])
    assert export.export(project.id, "coco", tmp_path / "c.zip").lost == []
    said = " ".join(export.export(project.id, "yolo", tmp_path / "y.zip").lost)
    for words in ("crowds", "several parts", "four corners", "outline of its parts", "groups"):
        assert words in said
    back = projects.create("Back", "instance-segmentation")
    importing.import_path(back.id, tmp_path / "y.zip")
    came = content_of(back.id)
    outline = [geometry for label, _, geometry in next(row[4] for row in came.values() if row[4]) if label == "dog"][0]
    assert shapes.bounds("polygon", outline) == shapes.bounds("mask", mask.geometry or {})
    assert "boxes round them" in " ".join(export.export(project.id, "voc", tmp_path / "v.zip").lost)


def test_an_export_that_cannot_be_is_a_sentence(pictures: Path, tmp_path: Path) -> None:
    project = projects.create("Empty", "object-detection")
    with pytest.raises(StudioError, match="no pictures to export"):
        export.export(project.id, "coco", tmp_path / "x.zip")
    importing.import_path(project.id, pictures)
    with pytest.raises(StudioError, match="no export form"):
        export.export(project.id, "bmp", tmp_path / "x.zip")
    with pytest.raises(StudioError, match="one class a picture"):
        export.export(project.id, "folders", tmp_path / "x.zip")
    with pytest.raises(StudioError, match="was stopped"):
        export.export(project.id, "coco", tmp_path / "x.zip", should_stop=lambda: True)
    with pytest.raises(StudioError, match="this CSV is for pictures that can have several classes"):
        export.export(project.id, "csv", tmp_path / "x.zip")
    tags = projects.create("Tags", TAGGING)
    with pytest.raises(StudioError, match="Folders cannot say that a picture has several classes"):
        export.export(tags.id, "folders", tmp_path / "x.zip")
    assert list(tmp_path.glob("x.zip*")) == []
    assert list(tmp_path.glob(".x.zip*")) == []


def test_labels_only(pictures: Path, tmp_path: Path) -> None:
    import zipfile

    project = project_of(pictures, "object-detection", [(True, "val", None, [])] * len(NAMES))
    export.export(project.id, "yolo", tmp_path / "x.zip", pictures=False)
    names = zipfile.ZipFile(tmp_path / "x.zip").namelist()
    assert "data.yaml" in names
    assert not [name for name in names if name.startswith("images/")]
