"""CSV files that say which picture has which class: any delimiter, encoding and heading that people really use."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from engine.errors import StudioError

__all__ = ["SUFFIXES", "Listing", "read"]

SUFFIXES = (".csv", ".tsv")
MAX_BYTES = 64 * 2**20
MAX_COLUMNS = 1000

_PATH = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_name",
    "img",
    "picture",
    "photo",
    "name",
    "image_id",
    "id",
)
_LABEL = ("label", "class", "category", "target", "class_name", "classname", "species", "breed", "label_name", "tag", "y")
_SPLIT = ("split", "set", "subset", "partition", "fold", "data set", "dataset")
_GROUP = (
    "group",
    "group_id",
    "group_name",
    "patient",
    "patient_id",
    "patientid",
    "subject",
    "subject_id",
    "case",
    "case_id",
    "scene",
    "scene_id",
    "site",
    "video",
)


@dataclass
class Listing:
    """What a table says: picture name -> (label, split), both as written, and -> group; files it names that are not there; oddities in words."""

    name: str
    rows: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)


def read(name: str, content: bytes, pictures: list[str]) -> Listing | None:
    """Read a table against the pictures that are really there; None if it is not a table of pictures and classes.

    Paths in it only ever choose among `pictures`: they are never opened.

    Raises:
        StudioError: if it is absurdly large.
    """
    if len(content) > MAX_BYTES:
        raise StudioError(f"{name} has {len(content) / 2**20:.0f} MB, more than {MAX_BYTES / 2**20:.0f}", "Split it.")
    rows = _rows(name, _text(content))
    if not rows:
        return None
    finder = _Finder(name, pictures)
    heading = [cell.strip().strip("\ufeff").casefold() for cell in rows[0]]
    path = next((heading.index(word) for word in _PATH if word in heading), None)
    label = next((heading.index(word) for word in _LABEL if word in heading), None)
    split = next((heading.index(word) for word in _SPLIT if word in heading), None)
    group = next((heading.index(word) for word in _GROUP if word in heading), None)
    if path is not None and label is not None:
        rows = rows[1:]
    elif len(heading) > 1 and finder.find(rows[0][0]):  # no headings: path, label[, split]
        path, label, split, group = 0, 1, 2 if len(heading) > 2 else None, None
    else:
        return None
    return _listed(name, rows, finder, (path, label, split, group))


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _rows(name: str, text: str) -> list[list[str]]:
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t", key=first.count)
    if first.count(delimiter) >= MAX_COLUMNS:
        raise StudioError(f"{name} has more than {MAX_COLUMNS} columns", "Keep the columns path, label and split.")
    try:
        return [row for row in csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise StudioError(f"{name} is not a readable table ({error})", "Save it again as CSV in UTF-8.") from error


class _Finder:
    """Finds the picture that a cell means: by path, by path beside the table, by file name, or by file name without its ending."""

    def __init__(self, table: str, pictures: list[str]) -> None:
        self._folder = PurePosixPath(table).parent
        self._exact = set(pictures)
        self._by_name: dict[str, str | None] = {}
        for picture in pictures:
            path = PurePosixPath(picture)
            for key in {path.name, path.stem}:
                self._by_name[key] = None if key in self._by_name else picture  # None: two of that name, so it says nothing

    def find(self, cell: str) -> str | None:
        wanted = PurePosixPath(cell.strip().replace("\\", "/"))
        for candidate in (str(self._folder / wanted), str(wanted)):
            if candidate in self._exact:
                return candidate
        return self._by_name.get(wanted.name)


def _listed(name: str, rows: list[list[str]], finder: _Finder, columns: tuple[int, int, int | None, int | None]) -> Listing | None:
    path, label, split, group = columns
    listing = Listing(name)
    contradicted = 0
    for row in rows:
        cell = row[path] if path < len(row) else ""
        picture = finder.find(cell) if cell.strip() else None
        if picture is None:
            listing.missing.append(cell.strip()[:200] or "(empty)")
            continue
        values = ((row[label].strip() if label < len(row) else "") or None, (row[split].strip() if split is not None and split < len(row) else "") or None)
        if picture in listing.rows and listing.rows[picture][0] != values[0]:
            contradicted += 1
        listing.rows.setdefault(picture, values)
        if group is not None and group < len(row) and row[group].strip():
            listing.groups.setdefault(picture, row[group].strip()[:200])
    if contradicted:
        listing.problems.append(f"{contradicted} picture{'s have' if contradicted > 1 else ' has'} two different labels in {name}; the first counts")
    return listing if listing.rows else None
