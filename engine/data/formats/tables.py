"""Tables that say which picture has which class, which classes, or which boxes: CSV, TSV and Parquet, with the headings people really use.

How one row says several classes is for `tags`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from engine.data.formats import tags
from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Skipped, Tally, box, label_name, one, split_named
from engine.data.formats.files import Files, text_of
from engine.data.marks import TAGGING
from engine.errors import StudioError

__all__ = ["FORMATS", "SUFFIXES"]

SUFFIXES = (".csv", ".tsv", ".parquet")
MAX_BYTES = 64 * 2**20
MAX_COLUMNS = 1000
MAX_ROWS = 5_000_000
MOST_TABLES = 8
LOOKED_AT = 500
"""Rows from which it is told whether a table has a column of ones and zeros for each class."""

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
    "image index",
    "id",
)
_LABEL = ("label", "class", "category", "target", "class_name", "classname", "species", "breed", "label_name", "tag", "y")
_LABELS = ("labels", "tags", "classes", "categories", "class_names", "label_names", "targets", "attributes", "finding labels")
_REVIEWED = ("reviewed",)
_SPLIT = ("split", "set", "subset", "partition", "fold", "data set", "dataset")
_GROUP = ("group", "group_name", "patient", "patient_id", "scene", "series")
_CORNERS = (("xmin", "x_min", "x1"), ("ymin", "y_min", "y1"), ("xmax", "x_max", "x2"), ("ymax", "y_max", "y2"))


@dataclass
class _Columns:
    """Where in a row the path, class, split, group and the four edges of a box stand.

    Attributes:
        label: None where `ticked` has a column of ones and zeros for each class of `classes`.
        several: its heading says that a cell holds several classes.
        commas: whether a comma can part names: only where a cell with a comma was quoted.
        reviewed: says of pictures without a class whether that is known.
    """

    path: int
    label: int | None
    split: int | None = None
    group: int | None = None
    corners: tuple[int, ...] = ()
    several: bool = False
    commas: bool = False
    reviewed: int | None = None
    ticked: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()

    def places(self) -> list[int]:
        """All columns that are used."""
        return [place for place in (self.path, self.label, self.split, self.group, self.reviewed, *self.corners, *self.ticked) if place is not None]

    def moved(self) -> _Columns:
        """The same where only the used columns are there, in the order of `places`."""
        new = {place: number for number, place in enumerate(self.places())}

        def at(place: int | None) -> int | None:
            return None if place is None else new[place]

        corners, ticked = tuple(new[place] for place in self.corners), tuple(new[place] for place in self.ticked)
        return _Columns(0, at(self.label), at(self.split), at(self.group), corners, self.several, self.commas, at(self.reviewed), ticked, self.classes)


@dataclass
class _Listing:
    """What a table says of the pictures that are there, files it names that are not, and oddities. `labels` are as told in the end, `cells` as they stand."""

    name: str
    cells: dict[str, str | None] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reviewed: set[str] = field(default_factory=set)
    split: dict[str, str | None] = field(default_factory=dict)
    group: dict[str, str | None] = field(default_factory=dict)
    marks: dict[str, list[Drawn]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    boxes: bool = False
    several: bool = False
    classes: tuple[str, ...] = ()


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
        if listing is not None and (files.only or 2 * len(listing.cells) >= len(files.pictures)) and (best is None or len(listing.cells) > len(best.cells)):
            best = listing
    if best is None:
        if odd:
            raise StudioError("; ".join(odd), "Save it again as CSV in UTF-8.")
        return None
    return _data(files, best, odd)


def _data(files: Files, best: _Listing, odd: list[str]) -> DataSet:
    pictures = [_found(best, name) if name in best.cells else Found(name) for name in (sorted(best.cells) if files.only else files.pictures)]
    skipped = [Skipped(name, f"listed in {best.name} but not there") for name in best.missing]
    task = "object-detection" if best.boxes else TAGGING if best.several else "image-classification"
    return DataSet("table", pictures, skipped, best.problems + odd, task, list(best.classes), used={best.name})


def _found(best: _Listing, name: str) -> Found:
    split, group = split_named(best.split.get(name)), best.group.get(name)
    if best.boxes:
        return Found(name, None, split, group, tuple(best.marks.get(name, ())), True)
    label, *more = best.labels[name] or (None,)
    return Found(name, label, split, group, reviewed=name in best.reviewed, more=tuple(map(str, more)))


def _listing(files: Files, name: str) -> _Listing | None:
    """Read one table; None if it is not one of pictures and classes.

    Raises:
        StudioError: if it is absurdly large or damaged.
    """
    if name.casefold().endswith(".parquet"):
        return _parquet(files, name)
    content = files.content(name, MAX_BYTES)
    text = text_of(content)
    rows = _rows(name, text)
    first = next(rows, None)
    if not first:
        return None
    begun = list(islice(rows, LOOKED_AT))
    columns = _columns(files, first, begun)
    commas = _delimiter(text) == ","
    if columns is not None:
        return _listed(files, name, chain(begun, rows), replace(columns, commas=commas))
    if len(first) > 1 and files.finder.find(first[0], name):  # no headings: path, label[, split]
        return _listed(files, name, chain([first], begun, rows), _Columns(0, 1, 2 if len(first) > 2 else None, commas=commas))
    return None


def _columns(files: Files, heading: Sequence[str], begun: Sequence[Sequence[str]]) -> _Columns | None:
    words = [str(cell).strip().strip("\ufeff").casefold() for cell in heading]

    def place(known: Iterable[str]) -> int | None:
        return next((words.index(word) for word in known if word in words), None)

    path, one_label, several = place(_PATH), place(_LABEL), place(_LABELS)
    label = several if one_label is None else one_label
    if path is None:
        return None
    edges = [place(edge) for edge in _CORNERS]
    corners = tuple(edge for edge in edges if edge is not None) if label is not None and None not in edges else ()
    found = _Columns(path, label, place(_SPLIT), place(_GROUP), corners, one_label is None, False, place(_REVIEWED))
    if one_label is not None:
        return found
    if not files.only and files.task != TAGGING and _in_class_folders(files):
        return None  # notes and flags beside pictures whose folders say what they show
    if label is not None:
        return found
    ticked = tags.ticked(heading, begun, found.places())
    return replace(found, ticked=ticked, classes=tuple(label_name(heading[at].strip("\ufeff")) for at in ticked)) if len(ticked) > 1 else None


def _in_class_folders(files: Files) -> bool:
    folders = {name.rpartition("/")[0].rpartition("/")[2] for name in files.pictures}
    return len({folder for folder in folders if folder and not split_named(folder)}) > 1


def _delimiter(text: str) -> str:
    first = text[: text.find("\n")] if "\n" in text else text
    return max(",;\t", key=first.count)


def _rows(name: str, text: str) -> Iterator[list[str]]:
    first, delimiter = text[: text.find("\n")] if "\n" in text else text, _delimiter(text)
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
            begun = _begun(table, heading)
            columns = _columns(files, heading, begun)
            if columns is None:
                return None
            if table.metadata.num_rows > MAX_ROWS:
                raise StudioError(f"{name} has more than {MAX_ROWS:,} rows", "Split it.")
            batches = table.iter_batches(batch_size=4096, columns=[heading[place] for place in columns.places()])
            rows = ([_cell(value) for value in row.values()] for batch in batches for row in batch.to_pylist())
            return _listed(files, name, rows, replace(columns.moved(), commas=True))
    except (pyarrow.ArrowException, OSError, *DAMAGE, MemoryError) as error:
        raise StudioError(f"{name} is not a readable table ({str(error)[:80]})", "Save it again as Parquet or CSV.") from error


def _begun(table: Any, heading: Sequence[str]) -> list[list[str]]:
    """Return the first rows, only columns of numbers and truths read: others can hold whole pictures."""
    from pyarrow import types

    plain = (types.is_boolean, types.is_integer, types.is_floating)
    numbers = {place: name for place, name in enumerate(heading) if any(test(table.schema_arrow.field(place).type) for test in plain)}
    batch = next(table.iter_batches(batch_size=LOOKED_AT, columns=list(numbers.values())), None)
    rows = batch.to_pylist() if batch is not None and numbers else []
    return [[_cell(row[numbers[place]]) if place in numbers else "?" for place in range(len(heading))] for row in rows]


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # the way data sets of the Hugging Face hub keep pictures
        value = value.get("path")
    if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
        return tags.joined(label_name(each) for each in value)
    return "" if value is None or isinstance(value, bytes | list) else str(value)


def _listed(files: Files, name: str, rows: Iterable[list[str]], columns: _Columns) -> _Listing | None:
    listing = _Listing(name, boxes=bool(columns.corners), classes=columns.classes)
    tally = Tally()
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise StudioError(f"{name} has more than {MAX_ROWS:,} rows", "Split it.")
        cell = row[columns.path] if columns.path < len(row) else ""
        picture = files.finder.find(cell, name) if cell.strip() else None
        if picture is None:
            listing.missing.append(cell.strip()[:200] or "(empty)")
            continue
        label = _at(row, columns.label) if columns.label is not None else _ticked(row, columns, tally, picture)
        if columns.corners:
            _add_box(listing, tally, picture, label_name(label) if label else None, row, columns.corners)
        elif label and picture in listing.cells and listing.cells[picture] != label:
            listing.others.setdefault(picture, []).append(label)
        listing.cells.setdefault(picture, label)
        listing.split.setdefault(picture, _at(row, columns.split))
        listing.group.setdefault(picture, _at(row, columns.group))
        if columns.ticked or tags.says_yes(_at(row, columns.reviewed) or ""):
            listing.reviewed.add(picture)
    if listing.cells and not listing.boxes:
        _tell_labels(files, listing, columns)
    listing.problems += tally.sentences()
    return listing if listing.cells else None


def _ticked(row: Sequence[str], columns: _Columns, tally: Tally, picture: str) -> str | None:
    """Return the names of the columns that say yes, as one cell."""
    names = []
    for place, name in zip(columns.ticked, columns.classes, strict=True):
        said = tags.says_yes(row[place] if place < len(row) else "")
        if said is None:
            tally.add(f"a cell of the column '{name}' is neither 1 nor 0, and was taken as 0", picture)
        elif said:
            names.append(name)
    return tags.joined(names) or None


def _tell_labels(files: Files, listing: _Listing, columns: _Columns) -> None:
    """Tell whether pictures have one class or several here, and which."""
    asked, settled = files.task == TAGGING, files.task not in (None, TAGGING)
    distinct = {cell for cell in listing.cells.values() if cell}
    distinct.update(cell for cells in listing.others.values() for cell in cells)
    mark = "" if settled and not columns.ticked else tags.parting(distinct, tags.PARTING if columns.commas else tags.PARTING[:2])
    if mark and not (asked or columns.several or columns.ticked or tags.recurs(distinct, mark)):
        mark = ""
    quoted = (columns.several and not settled) or columns.ticked or mark
    names = {cell: tags.parted(cell, mark) if quoted else (label_name(cell),) for cell in distinct}
    listing.labels = {picture: names[cell] if cell else () for picture, cell in listing.cells.items()}
    both = [picture for picture, cells in listing.others.items() if any(names[cell] != listing.labels[picture] for cell in cells)]
    in_rows = asked or (not settled and tags.often(len(both), len(listing.cells)))
    if in_rows:
        for picture in both:
            listing.labels[picture] = tuple(dict.fromkeys([*listing.labels[picture], *(name for cell in listing.others[picture] for name in names[cell])]))
    listing.several = not settled and (asked or columns.reviewed is not None or any(len(labels) > 1 for labels in listing.labels.values()))
    if not listing.several:
        listing.reviewed.clear()
    elif columns.reviewed is None:
        listing.reviewed.update(picture for picture, labels in listing.labels.items() if labels)
    _say_how(listing, columns, mark, both, in_rows)


def _say_how(listing: _Listing, columns: _Columns, mark: str, both: list[str], in_rows: bool) -> None:
    name, said = listing.name, listing.problems
    if columns.ticked:
        shown = ", ".join(columns.classes[:6]) + (" and others" if len(columns.classes) > 6 else "")
        said.append(f"{len(columns.ticked)} columns of {name} hold ones and zeros, and were taken as classes: {shown}")
    elif mark:
        said.append(f"a cell of {name} can hold several classes, parted by '{mark}'")
    if in_rows and both:
        said.append(f"{one(len(both), 'picture has', 'pictures have')} several rows in {name}, and the classes of all of them")
    elif both:
        said.append(f"{one(len(both), 'picture has', 'pictures have')} two different labels in {name}; the first counts")
    if listing.several and (bare := sum(not labels and picture not in listing.reviewed for picture, labels in listing.labels.items())):
        said.append(
            f"{one(bare, 'picture has', 'pictures have')} no class in {name}, and {'waits' if bare == 1 else 'wait'} for somebody to say what they show"
        )


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
