"""COCO: a JSON file a split. Holds everything: boxes, outlines in several parts, masks, crowds, groups, pictures without labels."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from engine.data import shapes
from engine.data.export.base import DRAWN, Bundle, Entry, Exporter
from engine.data.formats.base import Tally
from engine.data.marks import Mark

__all__ = ["EXPORTER"]


def _write(entries: Iterator[Entry], classes: Sequence[str], _task: str, bundle: Bundle, lost: Tally) -> None:
    ids = {label: place for place, label in enumerate(classes, 1)}
    images: dict[str, list[str]] = defaultdict(list)
    annotations: dict[str, list[str]] = defaultdict(list)
    for number, entry in enumerate(entries, 1):
        if not entry.labelled:  # a picture that no file lists has not been looked at
            bundle.picture(f"images/unlabelled/{entry.split or 'rest'}/{entry.name}", entry)
            if entry.group:
                lost.add("COCO has no groups of pictures without labels", entry.name)
            continue
        bundle.picture(f"images/{entry.name}", entry)
        split = entry.split or "all"
        image = {"id": number, "file_name": entry.name, "width": entry.width, "height": entry.height}
        images[split].append(json.dumps({**image, **({"group": entry.group} if entry.group else {})}, ensure_ascii=False))
        for mark in entry.marks:
            if mark.kind == "point":
                lost.add("points have no place in COCO's boxes and outlines", entry.name)
            else:
                made = {"id": sum(map(len, annotations.values())) + 1, "image_id": number, "category_id": ids[mark.label], **_shape(mark)}
                annotations[split].append(json.dumps(made))
    categories = json.dumps([{"id": number, "name": label} for label, number in ids.items()], ensure_ascii=False)
    for split in images or {"all": []}:
        parts = [f'"categories": {categories}', f'"images": [\n{_lines(images[split])}]', f'"annotations": [\n{_lines(annotations[split])}]']
        bundle.text(f"annotations/instances_{split}.json", "{" + ",\n".join(parts) + "}\n")


def _lines(rows: list[str]) -> str:
    return ",\n".join(rows) + "\n" if rows else ""


def _shape(mark: Mark) -> dict[str, Any]:
    geometry = mark.geometry or {}
    x1, y1, x2, y2 = shapes.bounds(mark.kind, geometry)
    made: dict[str, Any] = {
        "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": round(shapes.area(mark.kind, geometry), 2),
        "iscrowd": int(bool(geometry.get("crowd"))),
    }
    if mark.kind == "polygon":
        made["segmentation"] = geometry["rings"]
    elif mark.kind == "mask":
        made["segmentation"] = {"size": geometry["size"], "counts": geometry["counts"]}
    return made


EXPORTER = Exporter("coco", "COCO", "JSON that nearly every tool reads; holds everything", DRAWN, _write)
