"""What other tools write is read as it was meant, whatever is drawn: forms that Graft reads but does not write (the others make round trips in `export`)."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import shapes
from tests.engine.data.formats.sources import HEIGHT, WIDTH, picture, placed, read

MORE = settings(max_examples=60, deadline=None)
NAMES = ["1.png", "Ä 日本.png", "sub/3.png"]
PICTURES = {name: picture(number) for number, name in enumerate(NAMES)}
LABELS = ["cat", "猫", "a, b: 'c'", "12", "<b>&x;", "no"]
Marks = list[tuple[str, str, dict[str, Any]]]


@st.composite
def boxes(draw: st.DrawFn) -> dict[str, Any]:
    x1, y1 = draw(st.integers(0, WIDTH * 100 - 60)), draw(st.integers(0, HEIGHT * 100 - 60))
    x2, y2 = draw(st.integers(x1 + 60, WIDTH * 100)), draw(st.integers(y1 + 60, HEIGHT * 100))
    return {"box": [edge / 100 for edge in (x1, y1, x2, y2)]}


@st.composite
def polygons(draw: st.DrawFn) -> dict[str, Any]:
    corners = draw(st.lists(st.tuples(st.integers(0, WIDTH * 100), st.integers(0, HEIGHT * 100)), max_size=6))
    return {"rings": [[value / 100 for corner in [*corners, (0, 0), (60, 0), (60, 60)] for value in corner]]}


@st.composite
def masks(draw: st.DrawFn) -> dict[str, Any]:
    pixels = np.random.default_rng(draw(st.integers(0, 99))).random((HEIGHT, WIDTH)) < draw(st.sampled_from([0.02, 0.5, 1.0]))
    pixels[draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))] = True
    return shapes.mask_from(pixels)


def drawn(*kinds: str) -> st.SearchStrategy[list[Marks]]:
    """For each picture what is drawn in it."""
    made = {"box": boxes(), "polygon": polygons(), "mask": masks()}
    mark = st.one_of([st.tuples(st.sampled_from(LABELS), st.just(kind), made[kind]) for kind in kinds])
    return st.lists(st.lists(mark, max_size=3), min_size=len(NAMES), max_size=len(NAMES))


def same(files: dict[str, bytes | str], kind: str, content: list[Marks]) -> None:
    data = read(files)
    assert data.kind == kind
    found, odd = placed(data)
    assert odd == []
    for name, wanted in zip(NAMES, content, strict=True):
        assert len(found[name]) == len(wanted)
        for (label, form, geometry), (label_, form_, geometry_) in zip(found[name], wanted, strict=True):
            assert (label, form) == (label_, form_)
            if form == "mask":
                assert geometry == geometry_
            else:
                edges, edges_ = (np.ravel(one.get("box") or one["rings"]) for one in (geometry, geometry_))
                np.testing.assert_allclose(edges, edges_, atol=0.011)


# ---------------------------------------------------------------- Label Studio


def _brush(geometry: dict[str, Any]) -> list[int]:
    """Pack a mask as Label Studio does: four bytes a pixel, run lengths of 16 bits."""
    flat = np.repeat(shapes.mask_of(geometry).ravel().astype(np.uint8) * 255, 4)
    bits = f"{len(flat):032b}" + f"{8 - 1:05b}" + f"{16 - 1:04b}" * 4
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1], True])
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        bits += "1" + "11" + f"{end - start - 1:016b}" + f"{flat[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def _studio_result(label: str, kind: str, geometry: dict[str, Any]) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    if kind == "box":
        x1, y1, x2, y2 = geometry["box"]
        value = {"x": 100 * x1 / WIDTH, "y": 100 * y1 / HEIGHT, "width": 100 * (x2 - x1) / WIDTH, "height": 100 * (y2 - y1) / HEIGHT, "rotation": 0}
        return {"type": "rectanglelabels", "value": {**value, "rectanglelabels": [label]}, **size}
    if kind == "polygon":
        [ring] = geometry["rings"]
        points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in zip(ring[::2], ring[1::2], strict=True)]
        return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [label]}, **size}
    return {"type": "brushlabels", "value": {"format": "rle", "rle": _brush(geometry), "brushlabels": [label]}, **size}


@MORE
@given(content=drawn("box", "polygon", "mask"))
def test_any_label_studio_export(content: list[Marks]) -> None:
    tasks = [
        {"data": {"image": f"/data/local-files/?d={name}"}, "annotations": [{"result": [_studio_result(*mark) for mark in marks]}]}
        for name, marks in zip(NAMES, content, strict=True)
    ]
    same({**PICTURES, "export.json": json.dumps(tasks)}, "label studio", content)


# ---------------------------------------------------------------- CVAT


def _cvat_entry(label: str, kind: str, geometry: dict[str, Any]) -> str:
    named = f"label={quoteattr(label)}"
    if kind == "box":
        return "<box {} xtl='{}' ytl='{}' xbr='{}' ybr='{}'/>".format(named, *geometry["box"])
    if kind == "polygon":
        [ring] = geometry["rings"]
        return f"<polygon {named} points='{';'.join(f'{x},{y}' for x, y in zip(ring[::2], ring[1::2], strict=True))}'/>"
    left, top, right, bottom = (int(edge) for edge in shapes.bounds("mask", geometry))
    flat = shapes.mask_of(geometry)[top:bottom, left:right].ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1], True])
    runs = [*([0] if flat[0] else []), *np.diff(starts)]
    return f"<mask {named} rle='{', '.join(map(str, runs))}' left='{left}' top='{top}' width='{right - left}' height='{bottom - top}'/>"


@MORE
@given(content=drawn("box", "polygon", "mask"))
def test_any_cvat_export(content: list[Marks]) -> None:
    listed = "".join(
        f"<image id='{number}' name={quoteattr(name)} width='{WIDTH}' height='{HEIGHT}'>{''.join(_cvat_entry(*mark) for mark in marks)}</image>"
        for number, (name, marks) in enumerate(zip(NAMES, content, strict=True))
    )
    same({**PICTURES, "annotations.xml": f"<annotations><version>1.1</version>{listed}</annotations>"}, "cvat", content)


# ---------------------------------------------------------------- KITTI


@MORE
@given(content=drawn("box"), score=st.booleans())
def test_any_kitti_label_files(content: list[Marks], score: bool) -> None:
    files: dict[str, bytes | str] = {f"training/image_2/{number}.png": PICTURES[name] for number, name in enumerate(NAMES)}
    named = [[(label.replace(" ", "_").replace("12", "tram"), kind, geometry) for label, kind, geometry in marks] for marks in content]
    if not any(named):  # empty files alone could be of any form; and KITTI's classes are words, or they would be YOLO's numbers
        named[0] = [("cat", "box", {"box": [1.0, 2.0, 9.0, 9.0]})]
    for number, marks in enumerate(named):
        lines = [" ".join([label, "0.00 0 -1.57", *map(str, geometry["box"]), "1.5 1.6 3.7 1.0 1.5 8.4 0.01", "0.9" * score]) for label, _, geometry in marks]
        files[f"training/label_2/{number}.txt"] = "\n".join(lines)
    data = read(files)
    assert data.kind == "kitti"
    found, odd = placed(data)
    assert odd == []
    for number, marks in enumerate(named):
        assert [(label, kind, geometry) for label, kind, geometry in found[f"training/image_2/{number}.png"]] == marks


# ---------------------------------------------------------------- tables


def _table(rows: list[list[Any]], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


@MORE
@given(content=drawn("box"), delimiter=st.sampled_from(",;\t"))
def test_any_table_of_boxes(content: list[Marks], delimiter: str) -> None:
    rows: list[list[Any]] = [["filename", "class", "xmin", "ymin", "xmax", "ymax"]]
    for name, marks in zip(NAMES, content, strict=True):
        rows += [[name, label, *geometry["box"]] for label, _, geometry in marks] or [[name, "", "", "", "", ""]]
    same({**PICTURES, "boxes.csv": _table(rows, delimiter)}, "table", content)


@MORE
@given(
    labels=st.lists(st.sampled_from([None, *LABELS]), min_size=3, max_size=3),
    splits=st.lists(st.sampled_from([None, "train", "val", "test"]), min_size=3, max_size=3),
    form=st.sampled_from(["csv", "tsv", "parquet"]),
)
def test_any_table_of_classes(labels: list[str | None], splits: list[str | None], form: str) -> None:
    columns = {"path": NAMES, "label": labels, "split": splits}
    if form == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        sink = io.BytesIO()
        parquet.write_table(pyarrow.table({name: pyarrow.array(values, pyarrow.string()) for name, values in columns.items()}), sink)
        content: bytes | str = sink.getvalue()
    else:
        content = _table([list(columns), *zip(*columns.values(), strict=True)], "\t" if form == "tsv" else ",")
    data = read({**PICTURES, f"labels.{form}": content})
    assert data.kind == "table"
    assert {(found.name, found.label, found.split) for found in data.pictures} == set(zip(NAMES, labels, splits, strict=True))


# ---------------------------------------------------------------- folders

PART = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cf"), blacklist_characters='/\\:*?"<>|'), min_size=1, max_size=8).filter(
    lambda word: word.strip(" .") == word and word not in (".", "..")
)


@MORE
@given(paths=st.lists(st.tuples(st.lists(PART, max_size=4), PART), min_size=1, max_size=8))
def test_any_names_of_folders_give_each_picture_once_or_say_why_not(paths: list[tuple[list[str], str]]) -> None:
    files: dict[str, bytes | str] = {"/".join([*folders, f"{name}{number}.png"]): picture(number) for number, (folders, name) in enumerate(paths)}
    files["here.png"] = picture(99)
    data = read(files)
    told = [found.name for found in data.pictures] + [skipped.name for skipped in data.skipped]
    assert sorted(told) == sorted(files)
