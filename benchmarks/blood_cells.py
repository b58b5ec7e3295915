"""The photographs of blood cells that detectors are measured on: BCCD, 364 pictures with boxes of 3 classes, in their official split.

bccd_voc.zip (MIT) stands beside the checkout, in ../shared/data; GRAFT_BENCH_BOXES names another zip of Pascal VOC form.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

__all__ = ["manifest"]


def _unpacked(folder: Path) -> Path:
    path = Path(os.environ.get("GRAFT_BENCH_BOXES") or Path(__file__).resolve().parents[2] / "shared" / "data" / "bccd_voc.zip")
    if not path.exists():
        sys.exit(f"There are no photographs at {path}. Set GRAFT_BENCH_BOXES to a zip of Pascal VOC form.")
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    return next(found.parent for found in folder.rglob("Annotations"))


def _entry(number: int, picture: Path, marks_file: Path, split: str, classes: list[str]) -> dict[str, Any]:
    tree = ElementTree.parse(marks_file).getroot()  # noqa: S314 (a file of this benchmark's own)
    width, height = (int(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    marks = []
    for thing in tree.findall("object"):
        x1, y1, x2, y2 = (float(thing.findtext(f"bndbox/{edge}") or 0) for edge in ("xmin", "ymin", "xmax", "ymax"))
        if x2 - x1 >= 1 and y2 - y1 >= 1:
            marks.append({"class": classes.index(str(thing.findtext("name"))), "kind": "box", "box": [max(0.0, x1 - 1), max(0.0, y1 - 1), x2, y2]})
    row = {"id": number, "sha256": hashlib.sha256(picture.read_bytes()).hexdigest(), "path": str(picture), "name": picture.name, "split": split}
    return {**row, "width": width, "height": height, "marks": marks}


def manifest(folder: Path, most: int | None = None) -> dict[str, Any]:
    """Unpack them into a folder and return them as a version of a data set; of each split at most so many."""
    root, classes, items = _unpacked(folder), ["Platelets", "RBC", "WBC"], []
    for split in ("train", "val", "test"):
        names = (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split()[:most]
        items += [
            _entry(len(items) + place + 1, root / "JPEGImages" / f"{name}.jpg", root / "Annotations" / f"{name}.xml", split, classes)
            for place, name in enumerate(names)
        ]
    return {"id": "bccd", "task": "object-detection", "classes": classes, "items": items}
