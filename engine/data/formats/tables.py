"""Tables that say which picture has which class, or which boxes: CSV, TSV and Parquet, with the headings people really use."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Skipped, Tally, box, label_name, one, split_named
from engine.data.formats.files import Files, text_of
from engine.errors import StudioError

__all__ = ["FORMATS", "SUFFIXES"]

SUFFIXES = (".csv", ".tsv", ".parquet")
MAX_BYTES = 64 * 2**20
MAX_COLUMNS = 1000
MAX_ROWS = 5_000_000
MOST_TABLES = 8

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
_GROUP = ("group", "group_name", "patient", "patient_id", "scene", "series")
_CORNERS = (("xmin", "x_min", "x1"), ("ymin", "y_min", "y1"), ("xmax", "x_max", "x2"), ("ymax", "y_max", "y2"))


@dataclass
class _Columns:
    """Where in a row the path, class, split, group and the four edges of a box stand."""

    path: int
    label: int
    split: int | None = None
    group: int | None = None
    corners: tuple[int, ...] = ()


@dataclass
class _Listing:
    """What a table says of the pictures that are there, files it names that are not, and oddities."""

    name: str
    label: dict[str, str | None] = field(default_factory=dict)
    split: dict[str, str | None] = field(default_factory=dict)
    group: dict[str, str | None] = field(default_factory=dict)
    marks: dict[str, list[Drawn]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    boxes: bool = False


def _detect(files: Files) -> float:
    return 0.5 if files.named(*SUFFIXES) else 0.0


def _read(files: Files) -> DataSet | None:
    """Use the table that lists at least half of the pictures, the one nearest to the top first."""
    best: _Listing | None = None
    odd: list[str] = []
    for name in files.named(*SUFFIXES)[:MOST_TABLES]:
        try:
            listing = _listing(files, name)
        except StudioError as error:
            if files.only:
                raise
            odd.append(f"{error.problem}; it was not used")
            continue
        if listing is None and files.only:
            raise StudioError(f"{name} does not say which picture has which class", "Give it two columns with the headings path and label.")
        if listing is not None and (files.only or 2 * len(listing.label) >= len(files.pictures)) and (best is None or len(listing.label) > len(best.label)):
            best = listing
    if best is None:
        if odd:
            raise StudioError("; ".join(odd), "Save it again as CSV in UTF-8.")
        return None
    return _data(files, best, odd)


def _data(files: Files, best: _Listing, odd: list[str]) -> DataSet:
    wanted = sorted(best.label) if files.only else files.pictures
    pictures = [
        Found(
            name, None if best.boxes else best.label[name], split_named(best.split.get(name)), best.group.get(name), tuple(best.marks.get(name, ())), best.boxes
        )
        if name in best.label
        else Found(name)
        for name in wanted
    ]
    skipped = [Skipped(name, f"listed in {best.name} but not there") for name in best.missing]
    return DataSet("table", pictures, skipped, best.problems + odd, "object-detection" if best.boxes else "image-classification", used={best.name})


def _listing(files: Files, name: str) -> _Listing | None:
    """Read one table; None if it is not one of pictures and classes.

    Raises:
        StudioError: if it is absurdly large or damaged.
    """
    if name.casefold().endswith(".parquet"):
        return _parquet(files, name)
    content = files.content(name, MAX_BYTES)
    rows = _rows(name, text_of(content))
    first = next(rows, None)
    if not first:
        return None
    columns = _columns(first)
    if columns is not None:
        return _listed(files, name, rows, columns)
    if len(first) > 1 and files.finder.find(first[0], name):  # no headings: path, label[, split]
        return _listed(files, name, (row for part in ([first], rows) for row in part), _Columns(0, 1, 2 if len(first) > 2 else None))
    return None


def _columns(heading: list[str]) -> _Columns | None:
    words = [str(cell).strip().strip("\ufeff").casefold() for cell in heading]

    def place(known: Iterable[str]) -> int | None:
        return next((words.index(word) for word in known if word in words), None)

    path, label = place(_PATH), place(_LABEL)
    if path is None or label is None:
        return None
    corners = [place(edge) for edge in _CORNERS]
    return _Columns(path, label, place(_SPLIT), place(_GROUP), tuple(corner for corner in corners if corner is not None) if None not in corners else ())


def _rows(name: str, text: str) -> Iterator[list[str]]:
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t", key=first.count)
    if first.count(delimiter) >= MAX_COLUMNS:
        raise StudioError(f"{name} has more than {MAX_COLUMNS} columns", "Keep the columns path, label and split.")
    try:
        for row in csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter):
            if any(cell.strip() for cell in row):
                yield row
    except csv.Error as error:
        raise StudioError(f"{name} is not a readable table ({error})", "Save it again as CSV in UTF-8.") from error


def _parquet(files: Files, name: str) -> _Listing | None:
    import pyarrow
    from pyarrow import parquet

    content = files.content(name, 8 * MAX_BYTES)
    try:
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as table:
            heading = list(table.schema_arrow.names)
            columns = _columns(heading)
            if columns is None:
                return None
            if table.metadata.num_rows > MAX_ROWS:
                raise StudioError(f"{name} has more than {MAX_ROWS:,} rows", "Split it.")
            places = [columns.path, columns.label, columns.split, columns.group, *columns.corners]
            wanted = [place for place in places if place is not None]
            new = {place: number for number, place in enumerate(wanted)}
            inner = _Columns(0, 1, new.get(columns.split), new.get(columns.group), tuple(new[corner] for corner in columns.corners))  # type: ignore[arg-type]
            batches = table.iter_batches(batch_size=4096, columns=[heading[place] for place in wanted])
            rows = ([_cell(value) for value in row.values()] for batch in batches for row in batch.to_pylist())
            return _listed(files, name, rows, inner)
    except (pyarrow.ArrowException, OSError, *DAMAGE, MemoryError) as error:
        raise StudioError(f"{name} is not a readable table ({str(error)[:80]})", "Save it again as Parquet or CSV.") from error


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # the way data sets of the Hugging Face hub keep pictures
        value = value.get("path")
    return "" if value is None or isinstance(value, bytes | list) else str(value)


def _listed(files: Files, name: str, rows: Iterable[list[str]], columns: _Columns) -> _Listing | None:
    listing = _Listing(name, boxes=bool(columns.corners))
    tally, contradicted = Tally(), Counter[str]()
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise StudioError(f"{name} has more than {MAX_ROWS:,} rows", "Split it.")
        cell = row[columns.path] if columns.path < len(row) else ""
        picture = files.finder.find(cell, name) if cell.strip() else None
        if picture is None:
            listing.missing.append(cell.strip()[:200] or "(empty)")
            continue
        label = _at(row, columns.label)
        named = label_name(label) if label else None
        if columns.corners:
            _add_box(listing, tally, picture, named, row, columns.corners)
        elif picture in listing.label and listing.label[picture] != named:
            contradicted[picture] += 1
        listing.label.setdefault(picture, named)
        listing.split.setdefault(picture, _at(row, columns.split))
        listing.group.setdefault(picture, _at(row, columns.group))
    if contradicted:
        listing.problems.append(f"{one(len(contradicted), 'picture has', 'pictures have')} two different labels in {name}; the first counts")
    listing.problems += tally.sentences()
    return listing if listing.label else None


def _add_box(listing: _Listing, tally: Tally, picture: str, label: str | None, row: list[str], corners: tuple[int, ...]) -> None:
    cells = [_at(row, corner) for corner in corners]
    if not any(cells):
        return  # a picture without anything in it
    try:
        listing.marks.setdefault(picture, []).append(box(label or "unnamed", cells))
    except DAMAGE:
        tally.add("a box whose edges are no numbers, or in the wrong order, was left out", picture)


def _at(row: list[str], place: int | None) -> str | None:
    return (row[place].strip() or None) if place is not None and place < len(row) else None


FORMATS = (Format("table", "A table that says which picture has which class", "labels.csv with the columns path, label and split", _detect, _read),)
