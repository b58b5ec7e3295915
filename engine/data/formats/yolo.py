"""YOLO: a text file a picture, a line a label, in shares of the picture (https://docs.ultralytics.com/datasets/detect/).

Read with or without data.yaml; `classes.txt`, `obj.names` and the like give names too. Box lines have 5 numbers, 6 with a confidence;
outline lines have a class and three corners or more.
"""

from __future__ import annotations

from typing import Any

from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Tally, box, label_name, one, polygon, split_in
from engine.data.formats.files import Files
from engine.errors import StudioError

__all__ = ["FORMATS"]

MOST_BYTES = 16 * 2**20
_SLACK = 1.01
"""Rounding may push an edge this far out of the picture; anything more is not a share."""

_LISTS = ("classes.txt", "obj.names", "labels.names", "names.txt", "label.names", "predefined_classes.txt")


def _settings(files: Files) -> tuple[str, dict[str, Any]] | None:
    """Return the name and content of the data.yaml, if there is one."""
    import yaml

    for name in files.named(".yaml", ".yml")[:8]:
        try:
            found = yaml.load(files.text(name, MOST_BYTES), Loader=yaml.CBaseLoader)  # noqa: S506 (a loader that makes nothing but text, lists and dicts)
        except (StudioError, yaml.YAMLError, *DAMAGE):
            continue
        if isinstance(found, dict) and isinstance(found.get("names"), list | dict):
            return name, found
    return None


def _label_of(picture: str) -> list[str]:
    """Return where the label file of a picture may lie: the last 'images' in its path says 'labels' there; or beside it."""
    stem = picture[: picture.rfind(".")]
    parts = stem.split("/")
    places = [place for place, part in enumerate(parts[:-1]) if part.casefold() in ("images", "jpegimages", "image")]
    elsewhere = [["/".join([*parts[: places[-1]], "labels", *parts[places[-1] + 1 :]])] if places else []][0]
    return [f"{one_}.txt" for one_ in [*elsewhere, stem]]


def _pairs(files: Files) -> dict[str, str]:
    """Return picture -> label file, for those that have one."""
    texts = set(files.others.get(".txt", ()))
    pairs = {}
    for picture in files.pictures if texts else ():
        for name in _label_of(picture):
            if name in texts:
                pairs[picture] = name
                break
    return pairs or _by_stem(files, texts)


def _by_stem(files: Files, texts: set[str]) -> dict[str, str]:
    """Pair by name alone where the folders say nothing, such as pictures/1.jpg with annotations/1.txt."""
    pairs: dict[str, str] = {}
    for name in sorted(texts):
        picture = files.finder.same_stem(name)
        if picture is not None:
            pairs.setdefault(picture, name)
    return pairs


def _numeric(line: str) -> bool:
    cells = line.split()
    try:
        return len(cells) >= 5 and [float(cell) for cell in cells][0] >= 0
    except ValueError:
        return False


def _detect(files: Files) -> float:
    if files.only and not files.only.casefold().endswith((".yaml", ".yml")):
        return 0.0
    pairs = _pairs(files)
    if not pairs:
        return 0.0
    some = list(pairs.values())
    lines = [line for name in some[:: max(1, len(some) // 40)][:60] for line in files.head(name).decode("latin-1").splitlines()[:3] if line.strip()]
    good = sum(_numeric(line) for line in lines)
    if _settings(files):
        return 0.93
    return 0.9 if good and 2 * good >= len(lines) else 0.0


def _names(files: Files, settings: dict[str, Any] | None) -> tuple[dict[int, str], str]:
    """Return class number -> name and the file that says so."""
    if settings is not None:
        listed = settings["names"]
        pairs = enumerate(listed) if isinstance(listed, list) else listed.items()
        named: dict[int, str] = {}
        for key, name in pairs:
            try:
                named[int(key)] = label_name(name, f"class {int(key)}")
            except DAMAGE:
                continue
        return named, ""
    for wanted in _LISTS:
        for name in files.others.get("." + wanted.rpartition(".")[2], ()):
            if name.rpartition("/")[2].casefold() == wanted:
                lines = files.text(name, MOST_BYTES).splitlines()
                while lines and not lines[-1].strip():
                    lines.pop()
                return {number: label_name(line, f"class {number}") for number, line in enumerate(lines)}, name
    return {}, ""


def _read(files: Files) -> DataSet | None:
    settings = _settings(files)
    pairs = _pairs(files)
    if not pairs:
        return None
    names, names_file = _names(files, settings[1] if settings else None)
    tally = Tally()
    data = DataSet("yolo", task="object-detection", classes=list(dict.fromkeys(names.values())))
    data.used = {*pairs.values(), *([settings[0]] if settings else []), *([names_file] if names_file else [])}
    reader = _Rows(names, tally, poses=bool(settings and "kpt_shape" in settings[1]))
    places = _Splits(files, settings, data.used)
    unlabelled = 0
    for picture in files.pictures:
        name = pairs.get(picture)
        split = places.of(picture)
        if name is None:
            data.pictures.append(Found(picture, None, split))
            unlabelled += 1
            continue
        try:
            marks = reader.read(files.text(name, MOST_BYTES), name)
        except StudioError as error:
            tally.add(f"a label file was not used: {error.problem}")
            data.pictures.append(Found(picture, None, split))
            continue
        data.pictures.append(Found(picture, None, split, None, tuple(marks), True))
    if unlabelled:
        data.problems.append(f"{one(unlabelled, 'picture has', 'pictures have')} no label file and come{'s' if unlabelled == 1 else ''} without labels")
    data.problems += tally.sentences()
    if any(mark.kind == "polygon" for found in data.pictures for mark in found.marks):
        data.task = "instance-segmentation"
    return data


class _Rows:
    """Reads label files line by line."""

    def __init__(self, names: dict[int, str], tally: Tally, *, poses: bool) -> None:
        self._names, self._tally, self._poses = names, tally, poses

    def read(self, text: str, name: str) -> list[Drawn]:
        """Return the labels of one file; damaged lines are counted and left out."""
        marks = []
        for number, line in enumerate(text.splitlines(), 1):
            cells = line.split()
            if not cells:
                continue
            where = f"{name}, line {number}"
            try:
                marks.append(self._drawn(cells, where))
            except DAMAGE as error:
                words = str(error)
                self._tally.add(words if words.startswith(("a box", "a polygon", "a line")) else "a line is damaged and was left out", where)
        return marks

    def _drawn(self, cells: list[str], where: str) -> Drawn:
        values = [float(cell) for cell in cells]
        if not values[0].is_integer() or values[0] < 0:
            raise ValueError("a line does not begin with the number of a class and was left out")
        label = self._label(int(values[0]), where)
        if self._poses and len(values) > 6:
            self._tally.add("keypoints are not kept", where)
            values = values[:5]
        shares = values[1:5] if len(values) == 6 else values[1:]
        if not all(-_SLACK + 1 <= value <= _SLACK for value in shares):
            raise ValueError("a line has values that are not shares of the picture in 0..1 and was left out")
        if len(shares) == 4:
            x, y, width, height = shares
            return box(label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), relative=True)
        if len(shares) < 6 or len(shares) % 2:
            raise ValueError("a line has neither the four numbers of a box nor the corners of an outline and was left out")
        return polygon(label, [shares], relative=True)

    def _label(self, number: int, where: str) -> str:
        found = self._names.get(number)
        if found is None:
            found = f"class {number}"
            if self._names:
                self._tally.add(f"a label has a class number beyond the {one(len(self._names), 'name')} given; its class is named by the number", where)
        return found


class _Splits:
    """Tells a picture's split: by what data.yaml says, else by the words in its path."""

    def __init__(self, files: Files, settings: tuple[str, dict[str, Any]] | None, used: set[str]) -> None:
        self._folders: list[tuple[tuple[str, ...], str]] = []
        self._listed: dict[str, str] = {}
        for key in ("train", "val", "test") if settings else ():
            given = settings[1].get(key) if settings else None
            for value in given if isinstance(given, list) else [given]:
                if isinstance(value, str) and value.strip():
                    self._take(files, settings[0] if settings else "", value, key, used)

    def _take(self, files: Files, yaml_name: str, value: str, key: str, used: set[str]) -> None:
        parts = tuple(part for part in value.strip().replace("\\", "/").split("/") if part not in ("", ".", ".."))
        if value.casefold().endswith(".txt"):
            for name in files.others.get(".txt", ()):
                if parts and name.endswith(parts[-1]) and name.split("/")[-1] == parts[-1]:
                    used.add(name)
                    for line in files.text(name).splitlines():
                        picture = files.finder.find(line, yaml_name, key)
                        if picture:
                            self._listed.setdefault(picture, key)
        elif parts:
            self._folders.append((parts, key))

    def of(self, picture: str) -> str | None:
        if picture in self._listed:
            return self._listed[picture]
        folders = tuple(picture.split("/")[:-1])
        best: tuple[int, str] | None = None
        for parts, key in self._folders:
            tail = next((parts[start:] for start in range(len(parts)) if _holds(folders, parts[start:])), ())
            if tail and (best is None or len(tail) > best[0]) and (len(tail) == len(parts) or split_in("/".join(tail))):
                best = (len(tail), key)
        return best[1] if best else split_in("/".join(folders[-2:]))


def _holds(folders: tuple[str, ...], tail: tuple[str, ...]) -> bool:
    return any(folders[start : start + len(tail)] == tail for start in range(len(folders) - len(tail) + 1))


FORMATS = (Format("yolo", "YOLO", "a text file for each picture, and perhaps a data.yaml", _detect, _read),)
