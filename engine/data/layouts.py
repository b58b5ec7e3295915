"""Which class and split each picture has, told from nothing but the names in a folder or zip, and a table where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from engine.data import tables
from engine.data.images import SUFFIXES
from engine.errors import StudioError

__all__ = ["Found", "Layout", "Skipped", "read", "split_named"]

_SPLITS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "testset", "test_set"), "test"),
}
_NOT_READABLE = {".heic": "HEIC", ".heif": "HEIC", ".svg": "SVG", ".psd": "PSD", ".raw": "raw", ".cr2": "raw", ".nef": "raw", ".dng": "raw"}


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why, in words."""

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """A picture by its name in the source, with the class, split and group that its place or its row in a table gives it."""

    name: str
    label: str | None = None
    split: str | None = None
    group: str | None = None


@dataclass
class Layout:
    """How a data set is laid out. `kind` is 'class folders', 'split folders', 'csv' or 'flat'."""

    kind: str
    pictures: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(names: list[str], open_table: Callable[[str], bytes], only_table: str | None = None) -> Layout:
    """Tell the layout of a source from the names of its files.

    Args:
        names: relative paths, with '/'.
        open_table: gives the bytes of a CSV file by its name.
        only_table: the CSV file the user chose; then only pictures it lists count.

    Raises:
        StudioError: if there is no picture, or the chosen table cannot be read.
    """
    pictures, skipped = _sorted_out(names)
    if not pictures:
        raise StudioError("no pictures were found", "Choose a folder or zip that holds JPEG, PNG, WebP, GIF, BMP or TIFF files.")
    layout = _by_table(names, pictures, open_table, only_table)
    layout.skipped = skipped + layout.skipped
    return layout


def _sorted_out(names: list[str]) -> tuple[list[str], list[Skipped]]:
    """Part the pictures from what is none, by name alone."""
    pictures, skipped = [], []
    for name in sorted(names):
        path = PurePosixPath(name)
        if any(part.startswith(".") or part == "__MACOSX" for part in path.parts) or path.name.casefold() in ("thumbs.db", "desktop.ini"):
            skipped.append(Skipped(name, "hidden or made by the system"))
        elif path.suffix.casefold() in SUFFIXES:
            pictures.append(name)
        elif path.suffix.casefold() in _NOT_READABLE:
            skipped.append(Skipped(name, f"a {_NOT_READABLE[path.suffix.casefold()]} picture, which cannot be read: save it as JPEG or PNG"))
        elif path.suffix.casefold() not in tables.SUFFIXES:
            skipped.append(Skipped(name, "not a picture"))
    return pictures, skipped


def _by_table(names: list[str], pictures: list[str], open_table: Callable[[str], bytes], only: str | None) -> Layout:
    """Use a CSV file that lists at least half of the pictures, the one nearest to the top first; without one, the folders."""
    hidden = (".", "__MACOSX")
    candidates = [name for name in names if PurePosixPath(name).suffix.casefold() in tables.SUFFIXES and not name.rpartition("/")[2].startswith(hidden)]
    best: tables.Listing | None = None
    odd: list[str] = []
    for name in [only] if only else sorted(candidates, key=lambda name: (name.count("/"), name))[:8]:
        try:
            listing = tables.read(name, open_table(name), pictures)
        except StudioError as error:
            if only:
                raise
            odd.append(f"{error.problem}; it was not used")
            continue
        if listing is None and only:
            raise StudioError(f"{name} does not say which picture has which class", "Give it two columns with the headings path and label.")
        if listing is not None and (only or 2 * len(listing.rows) >= len(pictures)) and (best is None or len(listing.rows) > len(best.rows)):
            best = listing
    if best is None:
        layout = _by_folders(pictures)
        layout.problems += odd
        return layout
    rows = best.rows
    found = [Found(name, rows[name][0], split_named(rows[name][1]), best.groups.get(name)) for name in pictures if name in rows]
    if not only:
        found += [Found(name) for name in pictures if name not in rows]
    skipped = [Skipped(name, f"listed in {best.name} but not there") for name in best.missing]
    return Layout("csv", sorted(found, key=lambda picture: picture.name), skipped, best.problems + odd)


def split_named(word: str | None) -> str | None:
    """Return 'train', 'val' or 'test' for the many names these have, else None."""
    return _SPLITS.get(word.strip().casefold()) if word else None


def _by_folders(pictures: list[str]) -> Layout:
    """Look through wrapping folders, then take what is below them for splits, classes, or both."""
    folders = {name: PurePosixPath(name).parts[:-1] for name in pictures}
    depth = _shared_depth(list(folders.values()))
    places = {name: parts[depth:] for name, parts in folders.items()}
    tops = Counter(parts[0] for parts in places.values() if parts)
    if not tops:
        return Layout("flat", [Found(name) for name in pictures])
    splits_on_top = {top for top in tops if split_named(top)}
    if len({split_named(top) for top in splits_on_top}) > 1 and "train" in {split_named(top) for top in splits_on_top}:
        return _split_folders(places, 0, splits_on_top)
    second = Counter(parts[1] if len(parts) > 1 else "" for parts in places.values())
    if len({split_named(name) for name in second}) > 1 and all(split_named(name) for name in second):
        return _split_folders(places, 1, set(second))
    layout = Layout("class folders", [Found(name, parts[0] if parts else None) for name, parts in places.items()])
    _say_depth(layout, places, 1)
    return layout


def _shared_depth(folders: list[tuple[str, ...]]) -> int:
    """Count the outer folders that all pictures share."""
    first = folders[0]
    shared = len(first)
    for parts in folders:
        shared = min(shared, len(parts))
        while parts[:shared] != first[:shared]:
            shared -= 1
    return shared


def _split_folders(places: dict[str, tuple[str, ...]], at: int, splits: set[str]) -> Layout:
    """Read train/cat/1.jpg (at = 0) or cat/train/1.jpg (at = 1)."""
    layout = Layout("split folders")
    for name, parts in places.items():
        if len(parts) <= at or parts[at] not in splits:
            layout.skipped.append(Skipped(name, "beside the train and test folders, not in one of them"))
            continue
        label = parts[1 - at] if len(parts) > 1 else None
        layout.pictures.append(Found(name, label, split_named(parts[at]) if label else None))
    _say_depth(layout, places, 2)
    return layout


def _say_depth(layout: Layout, places: dict[str, tuple[str, ...]], expected: int) -> None:
    deeper = sorted({"/".join(parts[:expected]) for parts in places.values() if len(parts) > expected})
    if deeper:
        layout.problems.append(f"folders inside '{deeper[0]}'{' and others' if len(deeper) > 1 else ''} were taken as part of that class")
    loose = sum(1 for picture in layout.pictures if picture.label is None)
    if loose:
        layout.problems.append(f"{loose} picture{'s lie' if loose > 1 else ' lies'} in no class folder and will be unlabelled")
