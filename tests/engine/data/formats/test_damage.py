"""Whatever a label file holds, reading it gives pictures, a report or a sentence."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.formats.masks import drawn_in
from engine.errors import StudioError
from tests.engine.data.formats.sources import placed, png, read
from tests.engine.data.formats.test_formats import CASES, P1, P2, RLE

MORE = settings(max_examples=120, deadline=None)


def survive(files: dict[str, bytes | str], only: str | None = None) -> None:
    try:
        data = read(files, only)
    except StudioError:  # any other error fails the test
        return
    marks, _ = placed(data)
    assert {found.name for found in data.pictures} <= set(files), "no picture is made up"
    for listed in marks.values():
        for label, kind, geometry in listed:
            assert label
            assert kind in ("box", "polygon", "mask", "point")
            assert all(math.isfinite(value) for key in ("box", "point") for value in geometry.get(key, ()))
    json.dumps([data.problems, [vars_of(skipped) for skipped in data.skipped]], allow_nan=False)


def vars_of(skipped: Any) -> list[str]:
    return [skipped.name, skipped.reason]


@pytest.mark.parametrize("case", CASES)
@MORE
@given(data=st.data())
def test_bytes_changed_anywhere(case: str, data: st.DataObject) -> None:
    files = {name: content.encode() if isinstance(content, str) else content for name, content in CASES[case][0].items()}
    name = data.draw(st.sampled_from([name for name in files if not name.casefold().endswith(".png")]))
    content = bytearray(files[name])
    at = data.draw(st.integers(0, len(content)))
    change = data.draw(st.binary(max_size=6) | st.sampled_from([b"", b"NaN", b"-1", b"1e999", b"null", b"[", b"}", b"\xff\xfe", b"9" * 30, b"&x;"]))
    content[at : at + data.draw(st.integers(0, 12))] = change
    files[name] = bytes(content)[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]
    survive(files, data.draw(st.sampled_from([None, name])))


KEYS = [
    *("id", "image_id", "category_id", "bbox", "segmentation", "counts", "size", "iscrowd", "file_name", "name"),
    *("width", "height", "keypoints", "data", "image", "annotations", "result", "value", "x", "y"),
]
STUDIO_KEYS = [
    *("type", "rectanglelabels", "polygonlabels", "brushlabels", "keypointlabels", "ellipselabels"),
    *("points", "rle", "radiusX", "rotation", "original_width", "choices"),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=6) | st.sampled_from(["1.png", "2.png", RLE["counts"]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


@MORE
@given(images=JSON, annotations=JSON, categories=JSON)
def test_any_json_as_coco(images: Any, annotations: Any, categories: Any) -> None:
    good = [{"id": 1, "file_name": "1.png"}]
    text = json.dumps({"images": [*good, *images] if isinstance(images, list) else images, "annotations": annotations, "categories": categories})
    survive({"1.png": P1, "2.png": P2, "train.json": text})


COCO_ENTRY = st.fixed_dictionaries(
    {"image_id": st.sampled_from([1, 2, 3, None, "1", 1.0]), "category_id": st.sampled_from([1, 2, None, [1]])},
    optional={
        "bbox": JSON | st.lists(st.floats(), min_size=4, max_size=4),
        "segmentation": JSON
        | st.lists(st.lists(st.floats(), max_size=10), max_size=3)
        | st.fixed_dictionaries(
            {"size": st.lists(st.integers(-5, 10**12), max_size=3), "counts": JSON | st.text(max_size=20) | st.lists(st.integers(-9, 10**20), max_size=6)}
        ),
        "iscrowd": JSON,
        "keypoints": JSON,
    },
)


@MORE
@given(entries=st.lists(COCO_ENTRY, max_size=5))
def test_any_coco_annotation(entries: list[Any]) -> None:
    survive({"1.png": P1, "t.json": json.dumps({"images": [{"id": 1, "file_name": "1.png"}], "annotations": entries, "categories": [{"id": 1, "name": "a"}]})})


@MORE
@given(value=st.dictionaries(st.sampled_from(STUDIO_KEYS + ["x", "y", "width", "height"]), JSON, max_size=8), kind=JSON)
def test_any_label_studio_result(value: dict[str, Any], kind: Any) -> None:
    task = {"data": {"image": "1.png"}, "annotations": [{"result": [{"type": kind, "value": value, "original_width": 40, "original_height": 30}, kind]}]}
    survive({"1.png": P1, "export.json": json.dumps([task, kind])})


@MORE
@given(text=st.text(alphabet="0123456789.-+eE nNaAiIfF\r\n\t", max_size=80), yaml=st.text(alphabet="names: [a,0]\n-&*{}'\"!", max_size=40))
def test_any_text_as_yolo_and_kitti(text: str, yaml: str) -> None:
    survive({"1.png": P1, "1.txt": text})
    survive({"1.png": P1, "1.txt": text, "data.yaml": f"names: [a]\n{yaml}"})
    survive({"1.png": P1, "1.txt": "Car " + text})


TAGS = st.sampled_from(["annotation", "object", "bndbox", "xmin", "size", "width", "polygon", "x1", "name", "image", "box", "mask", "points"])


@MORE
@given(
    tags=st.lists(TAGS, max_size=8),
    values=st.lists(st.text(alphabet="0123456789.-;,eEnNaA", max_size=8), min_size=8, max_size=8),
    root=st.sampled_from(["annotation", "annotations"]),
)
def test_any_xml_as_voc_and_cvat(tags: list[str], values: list[str], root: str) -> None:
    keys = ("name", "width", "xtl", "points", "rle", "left", "label", "rotation")
    given = " ".join(f'{key}="{value}"' for key, value in zip(keys, values, strict=True))
    inside = "".join(f"<{tag} {given}>{value}</{tag}>" for tag, value in zip(tags, values, strict=False))
    survive(
        {
            "1.png": P1,
            "1.xml": f'<{root}><image name="1.png" width="40" height="30">{inside}</image>{inside}<object>{inside}<bndbox>{inside}</bndbox></object></{root}>',
        }
    )


@MORE
@given(content=st.binary(max_size=120), place=st.floats(0, 1))
def test_any_bytes_as_a_mask(content: bytes, place: float) -> None:
    import io

    import numpy as np

    whole = bytearray(png(np.arange(1200, dtype=np.uint8).reshape(30, 40) % 3))
    at = int(place * len(whole))
    whole[at : at + len(content)] = content
    files: dict[str, bytes] = {"images/1.png": P1, "masks/1.png": png(np.zeros((30, 40), np.uint8)), "masks/2.png": bytes(whole)}
    data = read(files)
    assert data.palette is not None
    for name in ("masks/1.png", "masks/2.png"):
        with contextlib.suppress(StudioError):
            drawn_in(data.palette, lambda name: io.BytesIO(files[name]), (name, ""))
