"""Whether what a data set brings is what a project learns from, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.data.formats import DataSet
from engine.data.formats.base import one
from engine.data.marks import TAGGING, TASK_KINDS
from engine.errors import StudioError

__all__ = ["TASK_WORDS", "Fit", "fit", "kinds_of"]

TASK_WORDS = {
    "image-classification": "sorts whole pictures into classes",
    "multi-label-classification": "says of whole pictures which things they show, several or none",
    "object-detection": "finds things and draws boxes round them",
    "semantic-segmentation": "says of every pixel what it belongs to",
    "instance-segmentation": "finds things and draws their outlines",
}
"""What a project of each task does, in words."""

_KIND_WORDS = {"class": "classes of whole pictures", "box": "boxes", "polygon": "outlines", "mask": "masks", "point": "points"}


@dataclass(frozen=True)
class Fit:
    """How a data set goes into a project: under which task, whether the classes of whole pictures are used, and what to tell the user."""

    task: str
    whole: bool = True
    words: str = ""


def kinds_of(data: DataSet) -> set[str]:
    """Return which kinds of label a data set brings."""
    kinds = {mark.kind for found in data.pictures for mark in found.marks}
    if any(found.label for found in data.pictures):
        kinds.add("class")
    if data.palette is not None:
        kinds.add("mask")
    return kinds


def _named(kinds: Iterable[str]) -> str:
    return " and ".join(_KIND_WORDS[kind] for kind in sorted(kinds))


def _only_first(data: DataSet) -> str:
    several = sum(bool(found.more) for found in data.pictures)
    return f"{one(several, 'picture has', 'pictures have')} several classes; the first counts, since each picture of this project has one" if several else ""


def fit(project_task: str, empty: bool, data: DataSet) -> Fit:
    """Decide how a data set goes into a project of a task that has no pictures yet (`empty`), or some.

    Raises:
        StudioError: if the project could not learn from its labels and already holds others.
    """
    kinds = kinds_of(data)
    usable = TASK_KINDS[project_task]
    idle = kinds - set(usable)
    if data.task == TAGGING and project_task == "image-classification" and empty and not idle:
        return Fit(TAGGING, True, f"this project now {TASK_WORDS[TAGGING]}, since that is what the labels are for")
    if not kinds or not idle:
        return Fit(project_task, True, _only_first(data) if project_task == "image-classification" else "")
    if kinds & set(usable):
        if "class" in usable or "class" not in idle:
            return Fit(project_task, True, f"the {_named(idle)} are kept, but this project does not learn from them")
        return Fit(project_task, False, "the classes of whole pictures were not used: this project learns from what is drawn")
    if kinds == {"class"}:
        return Fit(project_task, False, f"the classes were not used: this project {TASK_WORDS[project_task]}, so its labels are drawn")
    if empty:
        return Fit(data.task, True, f"this project now {TASK_WORDS[data.task]}, since that is what the labels are for")
    raise StudioError(
        f"the data set has {_named(kinds)}, and this project {TASK_WORDS[project_task]}",
        "Make a new project for it, or leave the labels out by dropping every class.",
    )
