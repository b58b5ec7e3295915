"""Forms of labels: each is told from the others, read, and what is wrong in it is left out and said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.data import formats, shapes
from engine.errors import StudioError
from tests.engine.data.formats.sources import HEIGHT, WIDTH, picture, placed, read

P1, P2, P3 = picture(1), picture(2), picture(3)


def coco(images: list[Any], annotations: list[Any], categories: list[Any] | None = None) -> str:
    return json.dumps({"images": images, "annotations": annotations, "categories": categories or [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]})


def image(identity: Any, name: str) -> dict[str, Any]:
    return {"id": identity, "file_name": name, "width": WIDTH, "height": HEIGHT}


def annotation(image_id: Any, category: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image_id, "category_id": category, "iscrowd": 0, **({"bbox": [1, 2, 10, 12]} if "bbox" not in more else {}), **more}


def voc(name: str, *objects: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>{''.join(objects)}</annotation>"
    )


def voc_object(label: str, x1: Any, y1: Any, x2: Any, y2: Any) -> str:
    return f"<object><name>{label}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"


RLE = shapes.mask_from(np.eye(HEIGHT, WIDTH, dtype=bool))
YOLO_YAML = "path: ../datasets/x\ntrain: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n"
KITTI = "Car 0.00 0 -1.57 1 2 11 14 1.5 1.6 3.7 1.0 1.5 8.4 0.01\nDontCare -1 -1 -10 5 5 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
CVAT = (
    '<?xml version="1.0"?><annotations><version>1.1</version><meta><task><labels><label><name>cat</name></label></labels></task></meta>'
    f'<image id="0" name="1.png" width="{WIDTH}" height="{HEIGHT}" subset="Train"><box label="cat" xtl="1" ytl="2" xbr="11" ybr="14" occluded="0"/>'
    '<polygon label="cat" points="1,1;9,1;9,9"/><mask label="cat" rle="2,3,7" left="4" top="5" width="4" height="3"/></image>'
    f'<image id="1" name="2.png" width="{WIDTH}" height="{HEIGHT}"/></annotations>'
)
STUDIO = json.dumps(
    [
        {
            "data": {"image": "/data/upload/3/0123abcd-1.png"},
            "annotations": [
                {
                    "result": [
                        {"type": "rectanglelabels", "value": {"x": 2.5, "y": 10, "width": 25, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}},
                        {"type": "polygonlabels", "value": {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["dog"]}},
                    ]
                }
            ],
        },
        {"data": {"image": "http://host/files/2.png?x=1"}, "annotations": [{"result": []}]},
        {"data": {"image": "s3://bucket/3.png"}, "annotations": []},
    ]
)

CASES: dict[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    "coco boxes": (
        {"a/images/1.png": P1, "a/images/2.png": P2, "a/annotations/instances_val2017.json": coco([image(7, "1.png"), image(8, "2.png")], [annotation(7, 2)])},
        "coco",
        "object-detection",
        {"a/images/1.png": ("val", [("dog", "box", {"box": [1, 2, 11, 14]})]), "a/images/2.png": ("val", [])},
    ),
    "coco outlines, a mask and a crowd": (
        {
            "1.png": P1,
            "train.json": coco(
                [image(1, "C:\\x\\1.png")], [annotation(1, 1, segmentation=[[0, 0, 9, 0, 9, 9]]), annotation(1, 2, segmentation=RLE, iscrowd=1)]
            ),
        },
        "coco",
        "instance-segmentation",
        {"1.png": ("train", [("cat", "polygon", {"rings": [[0, 0, 9, 0, 9, 9]]}), ("dog", "mask", {**RLE, "crowd": True})])},
    ),
    "coco by Roboflow": (
        {
            "train/1.png": P1,
            "train/_annotations.coco.json": coco([image(0, "1.png")], [annotation(0, 1)]),
            "valid/1.png": P2,
            "valid/_annotations.coco.json": coco([image(0, "1.png")], []),
        },
        "coco",
        "object-detection",
        {"train/1.png": ("train", [("cat", "box", {"box": [1, 2, 11, 14]})]), "valid/1.png": ("val", [])},
    ),
    "yolo v5 by Roboflow": (
        {
            "data.yaml": YOLO_YAML,
            "train/images/1.png": P1,
            "train/labels/1.txt": "\ufeff1 0.15 0.266666667 0.25 0.4\r\n",
            "valid/images/2.png": P2,
            "valid/labels/2.txt": "",
            "valid/images/3.png": P3,
        },
        "yolo",
        "object-detection",
        {"train/images/1.png": ("train", [("dog", "box", {"box": [1, 2, 11, 14]})]), "valid/images/2.png": ("val", []), "valid/images/3.png": ("val", [])},
    ),
    "yolo outlines, names by number": (
        {
            "d/data.yml": "train: images/train\nval: images/val\nnames:\n  0: no\n  1: 'a: b'\n",
            "d/images/train/1.PNG": P1,
            "d/labels/train/1.txt": "1 0 0 0.5 0 0.5 0.5\n",
        },
        "yolo",
        "instance-segmentation",
        {"d/images/train/1.PNG": ("train", [("a: b", "polygon", {"rings": [[0, 0, 20, 0, 20, 15]]})])},
    ),
    "yolo without yaml": (
        {"classes.txt": "cat\ndog\n", "1.png": P1, "1.txt": "0 0.5 0.5 1 1 0.9\n", "2.png": P2},
        "yolo",
        "object-detection",
        {"1.png": (None, [("cat", "box", {"box": [0, 0, 40, 30]})]), "2.png": (None, [])},
    ),
    "yolo by lists": (
        {
            "data.yaml": "train: train.txt\nval: val.txt\nnames: [x]\n",
            "train.txt": "./images/1.png\n",
            "val.txt": "/abs/images/2.png\n",
            "images/1.png": P1,
            "images/2.png": P2,
            "labels/1.txt": "0 .5 .5 1 1",
            "labels/2.txt": "",
        },
        "yolo",
        "object-detection",
        {"images/1.png": ("train", [("x", "box", {"box": [0, 0, 40, 30]})]), "images/2.png": ("val", [])},
    ),
    "voc": (
        {
            "V/JPEGImages/1.png": P1,
            "V/JPEGImages/2.png": P2,
            "V/Annotations/1.xml": voc("stale.jpg", voc_object("cat", 1, 2, 11, "14.5")),
            "V/Annotations/2.xml": voc("2.png"),
            "V/ImageSets/Main/train.txt": "1\n",
            "V/ImageSets/Main/val.txt": "2 -1\r\n",
            "V/ImageSets/Main/cat_train.txt": "1 1\n",
        },
        "voc",
        "object-detection",
        {"V/JPEGImages/1.png": ("train", [("cat", "box", {"box": [1, 2, 11, 14.5]})]), "V/JPEGImages/2.png": ("val", [])},
    ),
    "cvat": (
        {"annotations.xml": CVAT, "images/1.png": P1, "images/2.png": P2},
        "cvat",
        "instance-segmentation",
        {
            "images/1.png": (
                "train",
                [
                    ("cat", "box", {"box": [1, 2, 11, 14]}),
                    ("cat", "polygon", {"rings": [[1, 1, 9, 1, 9, 9]]}),
                    ("cat", "mask", {"pixels": [(5, 6), (5, 7), (6, 4)]}),
                ],
            ),
            "images/2.png": (None, []),
        },
    ),
    "label studio": (
        {"project-3.json": STUDIO, "files/0123abcd-1.png": P1, "files/2.png": P2, "files/3.png": P3},
        "label studio",
        "instance-segmentation",
        {
            "files/0123abcd-1.png": (None, [("cat", "box", {"box": [1, 3, 11, 15]}), ("dog", "polygon", {"rings": [[0, 0, 20, 0, 20, 15]]})]),
            "files/2.png": (None, []),
            "files/3.png": (None, []),
        },
    ),
    "kitti": (
        {"training/image_2/1.png": P1, "training/label_2/1.txt": KITTI, "training/image_2/2.png": P2, "training/label_2/2.txt": ""},
        "kitti",
        "object-detection",
        {"training/image_2/1.png": ("train", [("Car", "box", {"box": [1, 2, 11, 14]})]), "training/image_2/2.png": ("train", [])},
    ),
    "a table of boxes": (
        {
            "labels.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\n1.png,40,30,cat,1,2,11,14\n1.png,40,30,dog,0,0,5,5\n2.png,40,30,x,,,,\n",
            "1.png": P1,
            "2.png": P2,
        },
        "table",
        "object-detection",
        {"1.png": (None, [("cat", "box", {"box": [1, 2, 11, 14]}), ("dog", "box", {"box": [0, 0, 5, 5]})]), "2.png": (None, [])},
    ),
}


def _like(mark: Any) -> Any:
    label, kind, geometry = mark
    if "pixels" in geometry:
        pixels = np.zeros((HEIGHT, WIDTH), bool)
        for row, column in geometry["pixels"]:
            pixels[row, column] = True
        geometry = shapes.mask_from(pixels)
    return label, kind, geometry


@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_forms_are_told_and_read(case: str, junk: bool) -> None:
    files, kind, task, told = CASES[case]
    more = {"__MACOSX/._1.png": b"x", ".hidden.json": b"{}", "README.md": b"hello"} if junk else {}
    data = read({**files, **more})
    assert (data.kind, data.task) == (kind, task), data.problems
    marks, odd = placed(data)
    assert {found.name: (found.split, marks[found.name]) for found in data.pictures} == {
        name: (split, [_like(mark) for mark in wanted]) for name, (split, wanted) in told.items()
    }
    assert odd == []
    assert {skipped.name for skipped in data.skipped} == set(more)


@pytest.mark.parametrize("case", CASES)
def test_a_wrapping_folder_changes_nothing(case: str) -> None:
    files, kind, task, told = CASES[case]
    data = read({f"wrapped 日本/{name}": content for name, content in files.items()})
    assert (data.kind, data.task) == (kind, task)
    assert {found.name.removeprefix("wrapped 日本/"): found.split for found in data.pictures} == {name: split for name, (split, _) in told.items()}


def test_empty_label_files_mean_looked_at_and_no_label_file_means_not() -> None:
    data = read(CASES["yolo v5 by Roboflow"][0])
    assert {found.name: found.reviewed for found in data.pictures} == {"train/images/1.png": True, "valid/images/2.png": True, "valid/images/3.png": False}
    assert "1 picture has no label file" in data.problems[0]
    assert [found.reviewed for found in read(CASES["label studio"][0]).pictures] == [True, True, False]


def test_parquet(tmp_path: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"image": ["1.png", "2.png"], "label": [0, 1], "split": ["train", "test"]}), tmp_path / "t.parquet")
    data = read({"1.png": P1, "2.png": P2, "t.parquet": (tmp_path / "t.parquet").read_bytes()})
    assert [(found.label, found.split) for found in data.pictures] == [("0", "train"), ("1", "test")]
    assert read({"cat/1.png": P1, "dog/2.png": P2, "t.parquet": b"PAR1 rubbish PAR1"}).kind == "class folders"


# ---------------------------------------------------------------- what people get wrong


def _said(data: formats.DataSet) -> str:
    return "\n".join([*data.problems, *placed(data)[1]])


BAD_COCO: dict[str, tuple[list[Any], list[Any], str, int]] = {
    "duplicate ids": ([image(1, "1.png"), image(1, "2.png")], [annotation(1, 1)], "two pictures have the same id", 1),
    "no id": ([image(1, "1.png"), {"file_name": "2.png"}], [annotation(1, 1)], "an entry of 'images' is damaged", 1),
    "id is a list": ([image(1, "1.png"), image([1], "2.png")], [annotation(1, 1)], "an entry of 'images' is damaged", 1),
    "unknown picture": ([image(1, "1.png")], [annotation(1, 1), annotation(99, 1)], "a picture id that is not listed", 1),
    "gone picture": ([image(1, "1.png"), image(2, "gone.png")], [annotation(2, 1), annotation(1, 1)], "a picture that is not there", 1),
    "unknown class": ([image(1, "1.png")], [annotation(1, 99)], "class id that is not listed", 1),
    "NaN box": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, bbox=[float("nan"), 1, 2, 3])], "not a number|damaged", 1),
    "infinite box": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, bbox=[0, 0, float("inf"), 3])], "damaged", 1),
    "negative box": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, bbox=[5, 5, -3, 3])], "negative width or height", 1),
    "box outside": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, bbox=[500, 500, 3, 3])], "outside the picture", 1),
    "box of words": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, bbox=["a", 1, 2, 3])], "damaged", 1),
    "no shape": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, bbox=[])], "neither a box nor an outline", 1),
    "long mask": (
        [image(1, "1.png")],
        [annotation(1, 1), annotation(1, 1, segmentation={"size": [HEIGHT, WIDTH], "counts": [9, 10**9]})],
        "a mask is damaged",
        1,
    ),
    "huge mask": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, segmentation={"size": [10**9, 10**9], "counts": [10**18]})], "a mask is damaged", 1),
    "mask of another picture": (
        [image(1, "1.png")],
        [annotation(1, 1), annotation(1, 1, segmentation=shapes.mask_from(np.eye(7, dtype=bool)))],
        "a mask is damaged",
        1,
    ),
    "two corners": ([image(1, "1.png")], [annotation(1, 1), annotation(1, 1, segmentation=[[1, 2, 3, 4]])], "fewer than three corners", 1),
    "twenty thousand corners": (
        [image(1, "1.png")],
        [annotation(1, 1), annotation(1, 1, segmentation=[[1, 2, 30, 4] * 20_000])],
        "more than 20,000 corners",
        1,
    ),
    "an entry that is none": ([image(1, "1.png"), 7, None, "x"], [annotation(1, 1), None, []], "damaged", 1),
}


@pytest.mark.parametrize("case", BAD_COCO)
def test_bad_coco_entries_are_left_out_and_counted(case: str) -> None:
    import re

    images, annotations, words, kept = BAD_COCO[case]
    data = read({"1.png": P1, "2.png": P2, "train.json": coco(images, annotations)})
    assert data.kind == "coco"
    assert re.search(words, _said(data)), _said(data)
    assert len(placed(data)[0]["1.png"]) == kept


def test_ten_million_corners_are_refused_before_they_are_parsed() -> None:
    text = coco([image(1, "1.png")], [annotation(1, 1)])[:-1].replace(
        '"annotations": [', '"annotations": [{"image_id": 1, "segmentation": [[' + "1," * 10_000_000 + "1]]},"
    )
    with pytest.raises(StudioError, match="longer than 4 MB"):
        read({"1.png": P1, "train.json": text + "}"}, "train.json")


@pytest.mark.parametrize(
    ("line", "words", "kept"),
    [
        ("9 .5 .5 .1 .1", "beyond the 1 name given", 1),
        ("0 100 100 20 20", "not shares of the picture", 0),
        ("0 nan .5 .1 .1", "not shares of the picture", 0),
        ("-1 .5 .5 .1 .1", "number of a class", 0),
        ("1e999 .5 .5 .1 .1", "number of a class", 0),
        ("cat .5 .5 .1 .1", "damaged", 0),
        ("0 .5 .5", "neither the four numbers", 0),
        ("0 .5 .5 .1 .1 .2 .3 .4", "neither the four numbers", 0),
        ("0 .5 .5 -.1 .1", "not shares|negative width", 0),
        ("0 .5 .5 0 0", "no inside", 0),
    ],
)
def test_bad_yolo_lines_are_left_out_and_counted(line: str, words: str, kept: int) -> None:
    import re

    data = read({"classes.txt": "cat", "1.png": P1, "1.txt": f"0 .5 .5 1 1\n{line}\n"})
    assert re.search(words, _said(data)), _said(data)
    assert len(placed(data)[0]["1.png"]) == 1 + kept


XXE = '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
BILLION = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><annotation><filename>&c;</filename></annotation>'
)


@pytest.mark.parametrize("text", [XXE, BILLION], ids=["XXE", "entity bomb"])
def test_xml_that_declares_entities_is_refused(text: str) -> None:
    data = read({"1.png": P1, "2.png": P2, "1.xml": voc("1.png", voc_object("cat", 1, 2, 11, 14)), "2.xml": text})
    assert [(skipped.name, skipped.reason) for skipped in data.skipped] == [("2.xml", "declares entities or a document type, which label files never need")]
    with pytest.raises(StudioError, match="declares entities"):
        read({"1.png": P1, "a.xml": text.replace("annotation>", "annotations>")}, "a.xml")


def test_a_yaml_bomb_is_harmless() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)) + "names: *m\n"
    assert read({"data.yaml": bomb, "1.png": P1, "1.txt": "0 .5 .5 1 1"}).kind == "yolo"


def test_deep_nesting_is_a_sentence() -> None:
    deep = '{"images": ' + "[" * 100_000
    assert read({"cat/1.png": P1, "dog/2.png": P2, "x.json": deep}).kind == "class folders"
    with pytest.raises(StudioError):
        read({"1.png": P1, "x.json": deep}, "x.json")


# ---------------------------------------------------------------- frames


def test_labels_follow_a_picture_that_is_turned() -> None:
    stored = (HEIGHT, WIDTH)  # a phone wrote it lying down; viewers show it upright
    text = json.dumps(
        {
            "images": [{"id": 1, "file_name": "1.png", "width": stored[0], "height": stored[1]}],
            "categories": [],
            "annotations": [annotation(1, 1, bbox=[0, 0, 10, 5])],
        }
    )
    data = read({"1.png": P1, "train.json": text})
    assert placed(data, turn=6)[0]["1.png"][0][2] == {"box": [WIDTH - 5, 0, WIDTH, 10]}
    assert placed(data, turn=8)[0]["1.png"][0][2] == {"box": [0, HEIGHT - 10, 5, HEIGHT]}


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_mask_and_its_box_turn_alike_as_pillow_turns_the_picture(turn: int) -> None:
    from PIL import ImageOps

    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[2:9, 3:20] = 1
    shown = Image.fromarray(pixels)
    shown.getexif()[0x0112] = turn
    upright = np.asarray(ImageOps.exif_transpose(shown)).astype(bool)
    if turn in (2, 3, 4):
        return  # of the same size: whether labels were made before or after turning cannot be told
    text = coco([image(1, "1.png")], [annotation(1, 1, bbox=[3, 2, 17, 7]), annotation(1, 1, segmentation=shapes.mask_from(pixels))])
    marks = placed(read({"1.png": P1, "t.json": text}), upright.shape[1], upright.shape[0], turn)[0]["1.png"]
    assert (shapes.mask_of(marks[1][2]) == upright).all()
    assert shapes.bounds("box", marks[0][2]) == shapes.bounds("mask", marks[1][2])


def test_labels_for_a_larger_picture_are_scaled_and_it_is_said() -> None:
    text = coco([{"id": 1, "file_name": "1.png", "width": 2 * WIDTH, "height": 2 * HEIGHT}], [annotation(1, 1, bbox=[2, 4, 20, 24])])
    marks, odd = placed(read({"1.png": P1, "t.json": text}))
    assert marks["1.png"][0][2] == {"box": [1, 2, 11, 14]}
    assert "scaled" in odd[0]
