"""CVAT for images 1.1: one XML file with every picture (https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from engine.data import shapes
from engine.data.formats import tags
from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Skipped, Tally, box, label_name, one, point, polygon, split_named
from engine.data.formats.files import Files
from engine.data.formats.xml_file import Element
from engine.data.measured import MAX_PIXELS
from engine.errors import StudioError

__all__ = ["FORMATS"]

_ELLIPSE_CORNERS = 48


def _candidates(files: Files) -> list[str]:
    return [name for name in files.named(".xml")[:20] if b"<annotations" in files.head(name)]


def _detect(files: Files) -> float:
    return 0.96 if _candidates(files) else 0.0


def _read(files: Files) -> DataSet | None:
    data, tally = DataSet("cvat"), Tally()
    taken: dict[str, Found] = {}
    classes: dict[str, None] = {}
    for name in _candidates(files):
        data.used.add(name)
        try:
            with files.open(name) as stream:
                for _, element in SafeTree.iterparse(stream, events=("end",), forbid_dtd=True):
                    if element.tag == "label" and element.find("name") is not None:
                        classes[label_name(element.findtext("name"))] = None
                    elif element.tag == "track":
                        tally.add("a track of a video is not kept: export it 'for images'", name)
                        element.clear()
                    elif element.tag == "image":
                        _take(element, files, name, data, taken, tally)
                        element.clear()
        except DefusedXmlException as error:
            raise StudioError(
                f"{name} declares entities or a document type, which label files never need", "Do not use it unless you trust its maker."
            ) from error
        except (ParseError, ValueError, LookupError, RecursionError) as error:
            if not taken:
                raise StudioError(f"{name} is not readable XML ({str(error)[:80]})", "Export it again.") from error
            tally.add("the export is damaged; what could be read of it was used", name)
    if not taken:
        return None
    data.classes = list(classes)
    data.pictures = [taken[name] for name in sorted(taken)]
    rest = [] if files.only else [name for name in files.pictures if name not in taken]
    data.pictures += [Found(name) for name in rest]
    if rest:
        data.problems.append(f"{one(len(rest), 'picture is', 'pictures are')} not in the export and come{'s' if len(rest) == 1 else ''} without labels")
    data.problems += tally.sentences()
    kinds = {mark.kind for found in data.pictures for mark in found.marks}
    data.task = "instance-segmentation" if kinds & {"polygon", "mask"} else "object-detection" if kinds else "image-classification"
    tags.settle(data, files.task)
    return data


def _take(element: Element, files: Files, name: str, data: DataSet, taken: dict[str, Found], tally: Tally) -> None:
    written, split = element.get("name") or "", split_named(element.get("subset"))
    picture = files.finder.find(written, name, split)
    if picture is None:
        data.skipped.append(Skipped(written[:200] or "(no name)", f"listed in {name} but not there"))
        return
    if picture in taken:
        tally.add("a picture is listed twice; the first counts", picture)
        return
    label, *more = tuple(dict.fromkeys(label_name(tag.get("label")) for tag in element.findall("tag"))) or (None,)
    try:
        size = (int(element.get("width") or 0), int(element.get("height") or 0))
    except ValueError:
        size = (0, 0)
    marks = list(_marks(element, size, tally, picture))
    taken[picture] = Found(picture, label, split, None, tuple(marks), label is None, size if min(size) > 0 else None, more=tuple(map(str, more)))


def _marks(element: Element, size: tuple[int, int], tally: Tally, picture: str) -> Iterator[Drawn]:
    for entry in element:
        if entry.tag in ("tag", "attribute"):
            continue
        reader = _READERS.get(entry.tag)
        if reader is None:
            tally.add(f"a label of the kind '{entry.tag[:30]}' is not kept", picture)
            continue
        try:
            yield reader(label_name(entry.get("label")), entry, size)
        except DAMAGE as error:
            words = str(error)
            tally.add(words if words.startswith(("a box", "a polygon", "a mask")) else "a label is damaged and was left out", picture)


def _number(entry: Element, name: str) -> float:
    return float(entry.get(name) or "")


def _turned(label: str, corners: list[tuple[float, float]], degrees: float) -> Drawn:
    """Return a polygon turned about its middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_x, middle_y = sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)
    flat: list[float] = []
    for x, y in corners:
        flat += [middle_x + (x - middle_x) * cos - (y - middle_y) * sin, middle_y + (x - middle_x) * sin + (y - middle_y) * cos]
    return polygon(label, [flat])


def _box(label: str, entry: Element, _size: tuple[int, int]) -> Drawn:
    x1, y1, x2, y2 = (_number(entry, edge) for edge in ("xtl", "ytl", "xbr", "ybr"))
    angle = float(entry.get("rotation") or 0)
    return _turned(label, [(x1, y1), (x2, y1), (x2, y2), (x1, y2)], angle) if angle else box(label, (x1, y1, x2, y2))


def _polygon(label: str, entry: Element, _size: tuple[int, int]) -> Drawn:
    corners = [pair.split(",") for pair in (entry.get("points") or "").split(";")]
    return polygon(label, [[float(value) for x, y in corners for value in (x, y)]])


def _ellipse(label: str, entry: Element, _size: tuple[int, int]) -> Drawn:
    turns = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    x = _number(entry, "cx") + _number(entry, "rx") * np.cos(turns)
    y = _number(entry, "cy") + _number(entry, "ry") * np.sin(turns)
    return _turned(label, [(float(a), float(b)) for a, b in zip(x, y, strict=True)], float(entry.get("rotation") or 0))


def _points(label: str, entry: Element, _size: tuple[int, int]) -> Drawn:
    first = (entry.get("points") or "").split(";")[0].split(",")
    return point(label, first[0], first[1])


def _mask(label: str, entry: Element, size: tuple[int, int]) -> Drawn:
    """Read run lengths, row by row, of a part of the picture."""
    left, top, width, height = (int(_number(entry, name)) for name in ("left", "top", "width", "height"))
    wide, high = size
    if not (left >= 0 and top >= 0 and 0 < width <= wide - left and 0 < height <= high - top and wide * high <= MAX_PIXELS):
        raise ValueError("a mask lies outside its picture")
    runs = [int(run) for run in (entry.get("rle") or "").split(",")]
    if min(runs) < 0 or sum(runs) != width * height:
        raise ValueError("a mask's run lengths do not fill it")
    pixels_HW = np.zeros((high, wide), bool)
    pixels_HW[top : top + height, left : left + width] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    kept = shapes.mask_from(pixels_HW)
    return Drawn(label, "mask", (high, wide, kept["counts"]))


_READERS = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "points": _points, "mask": _mask}

FORMATS = (Format("cvat", "CVAT", "annotations.xml, exported 'for images 1.1'", _detect, _read),)
