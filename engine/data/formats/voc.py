"""Pascal VOC: an XML file a picture, splits as lists in ImageSets (http://host.robots.ox.ac.uk/pascal/VOC/).

Corners are taken as they are written: the tools of today write edges from 0, the original data set counted pixels from 1.
"""

from __future__ import annotations

from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Skipped, Tally, box, label_name, one, polygon, split_in
from engine.data.formats.files import Files
from engine.data.formats.xml_file import Element, number, parsed, words
from engine.errors import StudioError

__all__ = ["FORMATS", "listed_splits"]

MOST_BYTES = 16 * 2**20


def _detect(files: Files) -> float:
    some = files.named(".xml")[:400:40][:10] or files.named(".xml")[:1]
    return 0.94 if any(b"<annotation" in files.head(name) and b"<annotations" not in files.head(name) for name in some) else 0.0


def listed_splits(files: Files, used: set[str]) -> dict[str, str]:
    """Return stem -> split from ImageSets/*/train.txt and its like. 'trainval' counts as training where there is no train list."""
    lists: dict[str, list[str]] = {}
    for name in files.others.get(".txt", ()):
        parts = name.split("/")
        if len(parts) > 1 and any(part.casefold() == "imagesets" for part in parts[:-1]):
            lists.setdefault(parts[-1][:-4].casefold(), []).append(name)
    used.update(name for names in lists.values() for name in names)
    given: dict[str, str] = {}
    flagged: dict[str, str] = {}
    wanted = [("train", "train"), ("val", "val"), ("test", "test")] if "train" in lists else [("test", "test"), ("val", "val"), ("trainval", "train")]
    for word, split in wanted:
        for name in lists.get(word, ())[:8]:
            for line in files.text(name).splitlines():
                stem = line.strip().rpartition("/")[2]
                given.setdefault(stem, split)
                flagged.setdefault(stem.rpartition(" ")[0].strip(), split)  # '0001 -1' says that 0001 does not show the class
    given = {**flagged, **given}
    given.pop("", None)
    return given


def _read(files: Files) -> DataSet | None:
    data = DataSet("voc", task="object-detection")
    splits = listed_splits(files, data.used)
    tally, taken = Tally(), {}
    for name in files.named(".xml"):
        try:
            root = parsed(files.content(name, MOST_BYTES), name)
        except StudioError as error:
            data.used.add(name)
            data.skipped.append(Skipped(name, error.problem.removeprefix(f"{name} ")))
            continue
        if root.tag != "annotation":
            continue
        data.used.add(name)
        picture = _picture(files, name, root)
        if picture is None:
            data.skipped.append(Skipped(words(root, "filename")[:200] or name, f"spoken of in {name} but not there"))
        elif picture in taken:
            tally.add("two label files are about the same picture; the first counts", name)
        else:
            taken[picture] = _found(picture, root, splits, tally, name)
    if not taken:
        return None
    data.pictures = [taken[name] for name in sorted(taken)]
    rest = [] if files.only else [name for name in files.pictures if name not in taken and "segmentation" not in name.casefold()]
    data.pictures += [Found(name, None, splits.get(_stem(name))) for name in rest]
    if rest:
        data.problems.append(f"{one(len(rest), 'picture has', 'pictures have')} no label file and come{'s' if len(rest) == 1 else ''} without labels")
    data.problems += tally.sentences()
    if any(mark.kind == "polygon" for found in data.pictures for mark in found.marks):
        data.task = "instance-segmentation"
    return data


def _stem(name: str) -> str:
    file = name.rpartition("/")[2]
    return file[: file.rfind(".")]


def _picture(files: Files, name: str, root: Element) -> str | None:
    """Find a picture by its label file's own name, then by what stands in it: names inside are often stale."""
    parts = name.split("/")
    beside = ["/".join([*parts[:-2], folder]) for folder in ("JPEGImages", "images", "Images")] + ["/".join(parts[:-1])]
    return files.finder.same_stem(name, beside) or files.finder.find(words(root, "filename"), name)


def _found(picture: str, root: Element, splits: dict[str, str], tally: Tally, name: str) -> Found:
    marks: list[Drawn] = []
    for entry in root.findall("object"):
        label = label_name(words(entry, "name"))
        try:
            marks.append(_drawn(entry, label))
        except DAMAGE as error:
            text = str(error)
            tally.add(text if text.startswith("a box") else "a label is damaged and was left out", name)
    try:
        width, height = int(number(root, "size/width")), int(number(root, "size/height"))
    except DAMAGE:
        width = height = 0
    split = splits.get(_stem(name)) or splits.get(_stem(picture)) or (None if splits else split_in(picture.rpartition("/")[0]))
    return Found(picture, None, split, None, tuple(marks), True, (width, height) if width > 0 and height > 0 else None)


def _drawn(entry: Element, label: str) -> Drawn:
    outline = entry.find("polygon")
    if outline is not None and len(outline) >= 6:
        corners = {part.tag: float(part.text or "") for part in outline}
        return polygon(label, [[corners[f"{axis}{place}"] for place in range(1, len(corners) // 2 + 1) for axis in "xy"]])
    return box(label, [number(entry, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")])


FORMATS = (Format("voc", "Pascal VOC", "an XML file for each picture", _detect, _read),)
