"""Pictures sorted by folders: one a class, or one for training and one for testing, or just pictures."""

from __future__ import annotations

from collections import Counter

from engine.data.formats.base import DataSet, Format, Found, Skipped, label_name, split_named
from engine.data.formats.files import Files

__all__ = ["FORMATS"]


def _detect(_files: Files) -> float:
    return 0.1  # what everything else is not


def _read(files: Files) -> DataSet:
    """Look through wrapping folders, then take what is below them for splits, classes, or both."""
    folders = {name: tuple(name.split("/")[:-1]) for name in files.pictures}
    depth = _shared_depth(list(folders.values()))
    places = {name: parts[depth:] for name, parts in folders.items()}
    tops = Counter(parts[0] for parts in places.values() if parts)
    if not tops:
        return DataSet("flat", [Found(name) for name in files.pictures])
    splits_on_top = {top for top in tops if split_named(top)}
    if len({split_named(top) for top in splits_on_top}) > 1 and "train" in {split_named(top) for top in splits_on_top}:
        return _split_folders(places, 0, splits_on_top)
    second = Counter(parts[1] if len(parts) > 1 else "" for parts in places.values())
    if len({split_named(name) for name in second}) > 1 and all(split_named(name) for name in second):
        return _split_folders(places, 1, set(second))
    data = DataSet("class folders", [Found(name, label_name(parts[0]) if parts else None) for name, parts in places.items()])
    _say_depth(data, places, 1)
    return data


def _shared_depth(folders: list[tuple[str, ...]]) -> int:
    """Count the outer folders that all pictures share."""
    first = folders[0]
    shared = len(first)
    for parts in folders:
        shared = min(shared, len(parts))
        while parts[:shared] != first[:shared]:
            shared -= 1
    return shared


def _split_folders(places: dict[str, tuple[str, ...]], at: int, splits: set[str]) -> DataSet:
    """Read train/cat/1.jpg (at = 0) or cat/train/1.jpg (at = 1)."""
    data = DataSet("split folders")
    for name, parts in places.items():
        if len(parts) <= at or parts[at] not in splits:
            data.skipped.append(Skipped(name, "beside the train and test folders, not in one of them"))
            continue
        label = label_name(parts[1 - at]) if len(parts) > 1 else None
        data.pictures.append(Found(name, label, split_named(parts[at]) if label else None))
    _say_depth(data, places, 2)
    return data


def _say_depth(data: DataSet, places: dict[str, tuple[str, ...]], expected: int) -> None:
    deeper = sorted({"/".join(parts[:expected]) for parts in places.values() if len(parts) > expected})
    if deeper:
        data.problems.append(f"folders inside '{deeper[0]}'{' and others' if len(deeper) > 1 else ''} were taken as part of that class")
    loose = sum(1 for picture in data.pictures if picture.label is None)
    if loose:
        data.problems.append(f"{loose} picture{'s lie' if loose > 1 else ' lies'} in no class folder and will be unlabelled")


FORMATS = (
    Format("class folders", "One folder a class", "cat/1.jpg, dog/7.jpg", _detect, _read),
    Format("split folders", "Folders for training and testing, with one folder a class in them", "train/cat/1.jpg, test/dog/7.jpg", lambda _: 0.0, _read),
    Format("flat", "Pictures without classes: you label them after the import", "1.jpg, 2.jpg", lambda _: 0.0, _read),
)
