"""Mask pictures: by index, by colour and by name, with things told apart."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from engine.data import formats, shapes
from engine.data.formats.masks import drawn_in, voc_colours
from tests.engine.data.formats.sources import HEIGHT, WIDTH, picture, png, read

P1, P2, P3 = picture(1), picture(2), picture(3)


def _mask_files(values: np.ndarray, **more: Any) -> dict[str, Any]:
    return {"images/1.png": P1, "masks/1.png": png(values), **more}


def _mask_labels(data: formats.DataSet, files: dict[str, Any]) -> dict[str, int]:
    assert data.palette is not None
    opener = lambda name: io.BytesIO(files[name])  # noqa: E731
    return {
        mark.label: int(shapes.mask_of({"size": list(mark.shape[:2]), "counts": mark.shape[2]}).sum())
        for found in data.pictures
        if found.masks
        for mark in drawn_in(data.palette, opener, found.masks)
    }


def test_masks_by_index_by_colour_and_by_name() -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:5], values[5:7], values[7, 0] = 1, 2, 255
    plain = _mask_files(values)
    data = read(plain)
    assert (data.kind, data.task) == ("masks", "semantic-segmentation")
    assert _mask_labels(data, plain) == {"class 1": 5 * WIDTH, "class 2": 2 * WIDTH}
    named = _mask_files(values, **{"classes.txt": "background\nsky\nsea\n"})
    assert _mask_labels(read(named), named) == {"sky": 5 * WIDTH, "sea": 2 * WIDTH}
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[:5] = (255, 0, 0)
    drawn = _mask_files(colours)
    assert _mask_labels(read(drawn), drawn) == {"#ff0000": 5 * WIDTH}
    mapped = _mask_files(colours, **{"labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:255,0,0::\n"})
    assert _mask_labels(read(mapped), mapped) == {"road": 5 * WIDTH}
    binary = _mask_files((values == 1).astype(np.uint8) * 255)
    assert _mask_labels(read(binary), binary) == {"foreground": 5 * WIDTH}


def test_masks_of_voc_tell_things_apart() -> None:
    classes, things = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[:4], things[:2], things[2:4] = 8, 1, 2
    palette = voc_colours().ravel().tolist()
    files = {
        "V/JPEGImages/1.jpg": picture(1, suffix="JPEG"),
        "V/SegmentationClass/1.png": png(classes, palette),
        "V/SegmentationObject/1.png": png(things, palette),
    }
    data = read(files)
    assert data.task == "instance-segmentation"
    assert data.palette is not None
    marks = drawn_in(data.palette, lambda name: io.BytesIO(files[name]), data.pictures[0].masks or ("", ""))
    assert [mark.label for mark in marks] == ["cat", "cat"]


def test_folders_called_mask_are_classes_where_they_hold_photographs() -> None:
    assert read({"mask/1.png": P1, "no_mask/1.png": P2}).kind == "class folders"
