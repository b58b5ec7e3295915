"""A few pictures of a source with their labels, to be looked at before anything is imported."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from engine.data import images, placing, sources
from engine.data.formats import DataSet, Found
from engine.data.formats.base import Tally
from engine.data.formats.masks import drawn_in
from engine.errors import StudioError

__all__ = ["Sample", "sample"]

THUMBNAIL_PX = 384
MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Sample:
    """One picture: a small JPEG of it, its real size, its classes and the labels in it (class, kind, shape)."""

    name: str
    jpeg: bytes
    width: int
    height: int
    labels: tuple[str, ...]
    marks: Sequence[tuple[str, str, dict[str, Any]]]


def sample(source: sources.Source, data: DataSet, count: int) -> list[Sample]:
    """Read up to `count` pictures, chosen to show every class early; those that cannot be read are passed over."""
    samples: list[Sample] = []
    for found in _chosen(data, 2 * count):
        if len(samples) == count:
            break
        try:
            samples.append(_read(source, data, found))
        except (StudioError, OSError):
            continue
    return samples


def _chosen(data: DataSet, count: int) -> list[Found]:
    """Choose pictures that bring a class not seen yet, then others spread over the whole."""
    seen: set[str] = set()
    chosen: dict[str, Found] = {}
    for found in data.pictures:
        labels = {mark.label for mark in found.marks} | set(found.labels)
        if labels - seen and len(chosen) < count:
            seen |= labels
            chosen[found.name] = found
    labelled = [found for found in data.pictures if found.marks or found.masks or found.label] or data.pictures
    for found in labelled[:: max(1, len(labelled) // max(1, count))]:
        if len(chosen) < count:
            chosen.setdefault(found.name, found)
    return list(chosen.values())


def _read(source: sources.Source, data: DataSet, found: Found) -> Sample:
    with source.open(found.name) as stream:
        content = stream.read(MOST_BYTES)
    checked = images.check(io.BytesIO(content), found.name)
    marks = found.marks
    if found.masks is not None and data.palette is not None:
        marks = tuple(drawn_in(data.palette, source.open, found.masks))
    picture = images.open_rgb(io.BytesIO(content), THUMBNAIL_PX, found.name)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=84)
    placed = [(label, kind, json.loads(shape)) for label, kind, shape in placing.place(marks, found.size, checked, found.name, Tally())]
    return Sample(found.name, memory.getvalue(), checked.width, checked.height, found.labels, placed)
