"""COCO: one JSON file a split, with boxes, polygons and run-length masks (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Skipped, Tally, box, label_name, mask, one, polygon, split_in
from engine.data.formats.files import Files
from engine.data.formats.json_stream import batches
from engine.errors import StudioError

__all__ = ["FORMATS"]

MOST_FILES = 50
_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"licenses"')


@dataclass(slots=True)
class _Image:
    """One entry of 'images', and what was found of it."""

    name: str
    split: str | None
    size: tuple[int, int] | None
    group: str | None = None
    marks: list[Drawn] = field(default_factory=list)


@dataclass
class _Reading:
    """One JSON file as it is read. Annotations may come before the images and categories they speak of."""

    images: dict[Any, _Image] = field(default_factory=dict)
    categories: dict[Any, str] = field(default_factory=dict)
    marks: dict[Any, list[tuple[Any, Drawn]]] = field(default_factory=lambda: defaultdict(list))
    gone: set[Any] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)


def _candidates(files: Files) -> list[str]:
    found = [name for name in files.named(".json")[:MOST_FILES] if any(key in files.head(name) for key in _KEYS)]
    instances = [name for name in found if name.rpartition("/")[2].startswith("instances")]
    return instances or found  # beside them lie captions and keypoints of the same pictures


def _detect(files: Files) -> float:
    return 0.95 if _candidates(files) else 0.0


def _read(files: Files) -> DataSet | None:
    tally = Tally()
    data = DataSet("coco", task="object-detection")
    pictures: dict[str, _Image] = {}
    classes: dict[str, None] = {}
    for name in _candidates(files):
        reading = _read_one(files, name, tally)
        if not reading.images:
            continue
        data.used.add(name)
        data.skipped += [Skipped(missing, f"listed in {name} but not there") for missing in reading.missing]
        _join(reading, pictures, tally)
        classes.update(dict.fromkeys(reading.categories.values()))
    if not pictures:
        return None
    data.classes = list(classes)
    data.pictures = [
        Found(name, None, image.split, image.group, tuple(image.marks), True, image.size) for name, image in sorted(pictures.items(), key=lambda pair: pair[0])
    ]
    if not files.only:
        rest = [name for name in files.pictures if name not in pictures]
        data.pictures += [Found(name, None, split_in(name.rpartition("/")[0])) for name in rest]
        if rest:
            data.problems.append(f"{one(len(rest), 'picture is', 'pictures are')} in no COCO file and come without labels")
    data.problems += tally.sentences()
    if any(mark.kind != "box" for image in pictures.values() for mark in image.marks):
        data.task = "instance-segmentation"
    return data


def _read_one(files: Files, name: str, tally: Tally) -> _Reading:
    reading, split = _Reading(), split_in(name.rpartition("/")[2]) or split_in(name)
    takers = {"images": _take_image, "categories": _take_category, "annotations": _take_annotation}
    try:
        with files.open(name) as stream:
            for key, some in batches(stream):
                take = takers.get(key)
                if take is None:
                    continue
                for entry in some:
                    try:
                        take(reading, entry, files, name, split, tally)
                    except DAMAGE as error:
                        tally.add(f"an entry of '{key}' is damaged and was left out", f"{name}: {str(error)[:60]}")
    except (ValueError, RecursionError) as error:
        if not reading.images or files.only:
            raise StudioError(f"{name} is not a readable COCO file ({str(error)[:80]})", "Export it again.") from error
        tally.add("a COCO file is damaged; what could be read of it was used", name)
    return reading


def _take_image(reading: _Reading, entry: Any, files: Files, json_name: str, split: str | None, tally: Tally) -> None:
    identity = entry["id"]
    written = str(entry.get("file_name") or entry.get("coco_url") or "")
    if identity in reading.images or identity in reading.gone:
        tally.add("two pictures have the same id; the first counts", f"{json_name}: id {str(identity)[:40]}")
        return
    picture = files.finder.find(written, json_name, split)
    if picture is None:
        reading.gone.add(identity)
        reading.missing.append(written[:200] or "(no file name)")
        return
    width, height = entry.get("width"), entry.get("height")
    size = (int(width), int(height)) if isinstance(width, int | float) and isinstance(height, int | float) and width > 0 and height > 0 else None
    group = entry.get("group")
    reading.images[identity] = _Image(picture, split, size, label_name(group, "") or None if group is not None else None)


def _take_category(reading: _Reading, entry: Any, _files: Files, json_name: str, _split: str | None, tally: Tally) -> None:
    if entry["id"] in reading.categories:
        tally.add("two classes have the same id; the first counts", f"{json_name}: id {str(entry['id'])[:40]}")
        return
    reading.categories[entry["id"]] = label_name(entry.get("name"), f"class {str(entry['id'])[:20]}")


def _take_annotation(reading: _Reading, entry: Any, _files: Files, json_name: str, _split: str | None, tally: Tally) -> None:
    try:
        drawn = _drawn(entry)
    except DAMAGE as error:
        words = str(error)
        known = words.startswith(("a box", "a polygon", "run lengths"))
        tally.add(words if known else "a label is damaged and was left out", _where(json_name, entry))
        return
    if drawn is None:
        tally.add("a label has neither a box nor an outline and was left out", _where(json_name, entry))
        return
    hash(entry["category_id"])  # an id that is a list is damage
    reading.marks[entry["image_id"]].append((entry["category_id"], drawn))
    if entry.get("keypoints"):
        tally.add("keypoints are not kept", _where(json_name, entry))


def _where(json_name: str, entry: dict[str, Any]) -> str:
    return f"{json_name}: id {str(entry.get('id'))[:40]}"


def _drawn(entry: dict[str, Any]) -> Drawn | None:
    """Return an annotation's shape, its outline before its box."""
    crowd = bool(entry.get("iscrowd"))
    outline = entry.get("segmentation")
    if isinstance(outline, dict) and outline:
        height, width = outline["size"]
        return mask("", height, width, outline["counts"], crowd=crowd)
    if isinstance(outline, list) and outline:
        rings = outline if isinstance(outline[0], list) else [outline]
        return polygon("", [ring for ring in rings if ring], crowd=crowd)
    corners = entry.get("bbox")
    if not corners:
        return None
    x, y, width, height = map(float, corners)
    return box("", (x, y, x + width, y + height), crowd=crowd)


def _join(reading: _Reading, pictures: dict[str, _Image], tally: Tally) -> None:
    """Give each picture its labels, now that everything of a file is known."""
    for identity, listed in reading.marks.items():
        image = reading.images.get(identity)
        if image is None:
            reason = "a label belongs to a picture that is not there" if identity in reading.gone else "a label belongs to a picture id that is not listed"
            tally.add(reason, f"image_id {str(identity)[:40]}", len(listed))
            continue
        for category, drawn in listed:
            label = reading.categories.get(category)
            if label is None:
                label = f"class {str(category)[:20]}"
                tally.add("a label has a class id that is not listed; its class is named by the number", label)
            drawn.label = label
            image.marks.append(drawn)
    for image in reading.images.values():
        known = pictures.setdefault(image.name, image)
        if known is not image:
            if known.split != image.split:
                tally.add("a picture is listed in two splits; the first counts", image.name)
            have = {_key(mark) for mark in known.marks}
            known.marks += [mark for mark in image.marks if _key(mark) not in have]


def _key(mark: Drawn) -> tuple[Any, ...]:
    if mark.kind == "mask":
        height, width, counts = mark.shape
        return mark.label, mark.kind, height, width, counts if isinstance(counts, str) else counts.tobytes()
    return mark.label, mark.kind, mark.crowd, *(ring.tobytes() for ring in (mark.shape if mark.kind == "polygon" else (mark.shape,)))


FORMATS = (Format("coco", "COCO", "a JSON file with images, annotations and categories", _detect, _read),)
