"""Mask pictures: a PNG a picture whose pixels are class numbers, in VOC's colours, and a labelmap.txt that names them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from engine.data import shapes
from engine.data.export.base import DRAWN, Bundle, Entry, Exporter
from engine.data.formats.base import Tally
from engine.data.formats.masks import voc_colours
from engine.errors import StudioError

__all__ = ["EXPORTER"]

MOST_CLASSES = 254


def _write(entries: Iterator[Entry], classes: Sequence[str], _task: str, bundle: Bundle, lost: Tally) -> None:
    if len(classes) > MOST_CLASSES:
        raise StudioError(f"mask pictures hold {MOST_CLASSES} classes, and this project has {len(classes)}", "Export it as COCO.")
    ids = {label: place for place, label in enumerate(classes, 1)}
    colours = voc_colours()
    for entry in entries:
        folder = entry.split or "rest"
        bundle.picture(f"images/{folder}/{entry.name}", entry)
        if entry.labelled:
            bundle.data(f"masks/{folder}/{entry.stem}.png", _png(entry, ids, colours, lost))
        if entry.group:
            lost.add("mask pictures have no groups", entry.name)
    lines = [f"{label}:{','.join(str(part) for part in colours[place])}::" for label, place in {"background": 0, **ids}.items()]
    bundle.text("labelmap.txt", "# label:color_rgb:parts:actions\n" + "".join(f"{line}\n" for line in lines))


def _png(entry: Entry, ids: dict[str, int], colours: np.ndarray, lost: Tally) -> bytes:
    values_HW = np.zeros((entry.height, entry.width), np.uint8)
    seen: set[str] = set()
    for mark in entry.marks:
        if mark.kind == "point":
            lost.add("points have no area", entry.name)
            continue
        if mark.label in seen:
            lost.add("several things of one class became one area", entry.name)
        seen.add(mark.label)
        inside = shapes.raster(mark.kind, mark.geometry or {}, entry.width, entry.height)
        if (values_HW[inside] != 0).any():
            lost.add("where labels overlap, the later one counts", entry.name)
        values_HW[inside] = ids[mark.label]
    picture = Image.fromarray(values_HW, "P")
    picture.putpalette(colours.tobytes())
    memory = io.BytesIO()
    picture.save(memory, "PNG")
    return memory.getvalue()


EXPORTER = Exporter("masks", "Mask pictures", "a PNG for each picture whose pixels say the class", DRAWN, _write)
