"""Pascal VOC: an XML file a picture with boxes, splits as lists in ImageSets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from engine.data import shapes
from engine.data.export.base import DRAWN, Bundle, Entry, Exporter, number
from engine.data.formats.base import Tally
from engine.data.marks import Mark

__all__ = ["EXPORTER"]


def _write(entries: Iterator[Entry], _classes: Sequence[str], _task: str, bundle: Bundle, lost: Tally) -> None:
    lists: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        bundle.picture(f"JPEGImages/{entry.name}", entry)
        if entry.split:
            lists[entry.split].append(entry.stem)
        if entry.labelled:
            bundle.text(f"Annotations/{entry.stem}.xml", _xml(entry, lost))
        if entry.group:
            lost.add("VOC has no groups of pictures", entry.name)
    for split, stems in lists.items():
        bundle.text(f"ImageSets/Main/{split}.txt", "".join(f"{stem}\n" for stem in stems))


def _xml(entry: Entry, lost: Tally) -> str:
    root = Element("annotation")
    SubElement(root, "folder").text = "JPEGImages"
    SubElement(root, "filename").text = entry.name
    size = SubElement(root, "size")
    for key, value in (("width", entry.width), ("height", entry.height), ("depth", 3)):
        SubElement(size, key).text = str(value)
    SubElement(root, "segmented").text = "0"
    for mark in entry.marks:
        _object(root, mark, entry, lost)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _object(root: Element, mark: Mark, entry: Entry, lost: Tally) -> None:
    geometry = mark.geometry or {}
    if mark.kind == "point":
        return lost.add("VOC has no points", entry.name)
    if geometry.get("crowd"):
        lost.add("VOC does not know crowds: they became ordinary labels", entry.name)
    if mark.kind != "box":
        lost.add("outlines and masks became the boxes round them", entry.name)
    made = SubElement(root, "object")
    for key, value in (("name", mark.label), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
        SubElement(made, key).text = value
    corners = SubElement(made, "bndbox")
    for key, edge in zip(("xmin", "ymin", "xmax", "ymax"), shapes.bounds(mark.kind, geometry), strict=True):
        SubElement(corners, key).text = number(edge)
    return None


EXPORTER = Exporter("voc", "Pascal VOC", "an XML file for each picture, with boxes", DRAWN, _write)
