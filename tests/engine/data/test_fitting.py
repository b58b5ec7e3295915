"""Whether what a data set brings is what a project learns from: every combination of task and labels, and what is said of it."""

from __future__ import annotations

import pytest

from engine.data.fitting import Fit, fit, kinds_of
from engine.data.formats.base import DataSet, Found, box, mask, polygon
from engine.data.marks import TAGGING, TASK_KINDS
from engine.errors import StudioError

BOX, RING = box("cat", (0, 0, 5, 5)), polygon("cat", [[0, 0, 9, 0, 9, 9]])


def data(*marks: object, label: str | None = None, task: str = "object-detection") -> DataSet:
    return DataSet("any", [Found("1.png", label, None, None, tuple(marks))], task=task)  # type: ignore[arg-type]


def test_the_kinds_of_label_are_told() -> None:
    assert kinds_of(data()) == set()
    assert kinds_of(data(BOX, mask("cat", 2, 2, [0, 4]), label="cat")) == {"box", "mask", "class"}


@pytest.mark.parametrize("task", TASK_KINDS)
@pytest.mark.parametrize("empty", [True, False])
def test_pictures_without_labels_fit_everywhere(task: str, empty: bool) -> None:
    found = fit(task, empty, data(task="image-classification"))
    assert (found.task, found.whole, found.words) == (task, True, "")


@pytest.mark.parametrize(
    ("task", "brought", "whole", "words"),
    [
        ("image-classification", data(label="cat"), True, ""),
        ("object-detection", data(BOX, RING), True, ""),
        ("instance-segmentation", data(RING), True, ""),
        ("semantic-segmentation", data(BOX, RING), True, ""),
        ("instance-segmentation", data(RING, BOX), True, "the boxes are kept, but this project does not learn from them"),
        ("image-classification", data(BOX, label="cat"), True, "the boxes are kept"),
        ("object-detection", data(BOX, label="cat"), False, "the classes of whole pictures were not used"),
        ("object-detection", data(label="cat", task="image-classification"), False, "the classes were not used: this project finds things"),
    ],
)
@pytest.mark.parametrize("empty", [True, False])
def test_what_fits_goes_in_and_what_does_not_is_said(task: str, brought: DataSet, whole: bool, words: str, empty: bool) -> None:
    found = fit(task, empty, brought)
    assert (found.task, found.whole) == (task, whole)
    assert words in found.words
    assert bool(words) == bool(found.words)


def test_an_empty_project_becomes_what_the_labels_are_for() -> None:
    found = fit("image-classification", True, data(BOX))
    assert found.task == "object-detection"
    assert "this project now finds things" in found.words
    assert fit("instance-segmentation", True, data(BOX)).task == "object-detection"


def test_several_classes_a_picture_go_where_there_is_room_for_them() -> None:
    several = DataSet("table", [Found("1.png", "cat", more=("dog",))], task=TAGGING)
    assert fit(TAGGING, False, several) == Fit(TAGGING)
    made = fit("image-classification", True, several)
    assert (made.task, "this project now says of whole pictures" in made.words) == (TAGGING, True)
    kept = fit("image-classification", False, several)
    assert (kept.task, "1 picture has several classes; the first counts" in kept.words) == ("image-classification", True)
    assert not fit("object-detection", False, several).whole
    assert fit(TAGGING, True, data(label="cat", task="image-classification")) == Fit(TAGGING)


@pytest.mark.parametrize("task", ["image-classification", "instance-segmentation"])
def test_one_with_pictures_refuses_what_it_cannot_learn_from(task: str) -> None:
    with pytest.raises(StudioError, match="the data set has boxes, and this project") as refused:
        fit(task, False, data(BOX))
    assert "Make a new project" in refused.value.remedy
