"""Import forms: one file a form, and their table. The surest one that can read a source is taken; folders are what everything else is not."""

from __future__ import annotations

from collections.abc import Sequence

from engine.data.formats import coco, cvat, folders, kitti, label_studio, masks, tables, voc, yolo
from engine.data.formats.base import DataSet, Drawn, Format, Found, Skipped
from engine.data.formats.files import Files, Opener
from engine.errors import StudioError

__all__ = ["FORMATS", "LABEL_FILES", "DataSet", "Drawn", "Found", "Skipped", "read", "titles"]

FORMATS: tuple[Format, ...] = (
    *coco.FORMATS,
    *yolo.FORMATS,
    *voc.FORMATS,
    *masks.FORMATS,
    *label_studio.FORMATS,
    *cvat.FORMATS,
    *kitti.FORMATS,
    *tables.FORMATS,
    *folders.FORMATS,
)

LABEL_FILES = (*tables.SUFFIXES, ".json", ".xml", ".yaml", ".yml")
"""Endings of a file that a user may choose instead of its folder."""


def titles() -> dict[str, str]:
    """Return what each form is called, by its key."""
    return {form.key: form.title for form in FORMATS}


def read(names: Sequence[str], opener: Opener, only: str | None = None, task: str | None = None) -> DataSet:
    """Tell what a source is, and read what it says of its pictures.

    Args:
        names: its files: relative paths, with '/'.
        opener: gives a file's content by its name.
        only: the label file the user chose; then only what it lists counts.
        task: what the labels are for, where that is settled: whether a picture can have several classes is then no question.

    Raises:
        StudioError: if there is no picture, or the chosen file cannot be read.
    """
    files = Files(names, opener, only, task)
    if not files.pictures:
        raise StudioError("no pictures were found", "Choose a folder or archive that holds JPEG, PNG, WebP, GIF, BMP or TIFF files.")
    odd: list[str] = []
    for form in _by_sureness(files):
        try:
            data = form.read(files)
        except StudioError as error:
            if only:
                raise
            odd.append(error.problem if error.problem.endswith("it was not used") else f"{error.problem}; it was not used")
            continue
        if data is not None:
            data.problems += odd
            data.skipped = files.skipped + files.left_out(data.used) + data.skipped
            return data
    raise StudioError(f"{only} is no label file that can be read here", "Choose a CSV, COCO JSON, data.yaml, VOC or CVAT XML, or the folder itself.")


def _by_sureness(files: Files) -> list[Format]:
    sure = [(form.detect(files), -place, form) for place, form in enumerate(FORMATS)]
    found = [form for value, _, form in sorted(sure, key=lambda row: row[:2], reverse=True) if value > 0]
    return [form for form in found if form.key != "class folders"] if files.only else found
