"""How tables say that a picture has several classes: names in one cell with a mark between them, or a column of ones and zeros for each class.

A name that holds such a mark itself stands in double quotes, as in any CSV.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from engine.data.formats.base import DataSet, label_name, one
from engine.data.marks import TAGGING

__all__ = ["PARTING", "joined", "often", "parted", "parting", "recurs", "says_yes", "settle", "ticked"]

PARTING = ("|", ";", ",")
"""What stands between names, the clearest first."""

MOST_LETTERS = 100_000
"""Of a cell: more than any list of classes, and less than what a CSV reader refuses."""

MOST_DOUBTED = 0.1
"""Share of the pictures that can have two classes by mistake."""

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_YES = {"1", "1.0", "true", "yes"}
_NO = {"", "0", "0.0", "-1", "-1.0", "false", "no"}  # -1: the attributes of CelebA


def joined(labels: Iterable[str]) -> str:
    """Write names into one cell.

    >>> joined(["cat", 'a|b "c"', "x"])
    'cat|"a|b ""c\"""|x'
    """
    return "|".join('"' + label.replace('"', '""') + '"' if any(mark in label for mark in (*PARTING, '"')) else label for label in labels)


def parted(cell: str, mark: str) -> tuple[str, ...]:
    """Return the names in a cell, each once, in their order.

    >>> parted('cat | dog|"a|b"||cat', "|")
    ('cat', 'dog', 'a|b')
    """
    row = next(csv.reader([" ".join(cell.split())[:MOST_LETTERS]], delimiter=mark or "|", skipinitialspace=True), [])
    return tuple(dict.fromkeys(label_name(part) for part in row if part.strip()))


def parting(cells: Iterable[str], marks: Sequence[str] = PARTING) -> str:
    """Return what parts the names in these cells: the clearest mark that any holds outside quotes, '' where none does.

    >>> parting(["cat", "cat; dog", 'a, b; c']), parting(["cat", '"a|b"'])
    (';', '')
    """
    found: set[str] = set()
    for cell in cells:
        bare = _QUOTED.sub("", cell) if '"' in cell else cell
        found.update(mark for mark in marks if mark in bare)
    return next((mark for mark in marks if mark in found), "")


def recurs(cells: Collection[str], mark: str) -> bool:
    """Tell whether at least half of the names that this mark parts also stand in other cells: then they are names, and no cell is just one odd name.

    >>> recurs({"a|b", "a", "b|c"}, "|"), recurs({"tench, Tinca tinca", "goldfish, Carassius auratus"}, ",")
    (True, False)
    """
    several: set[str] = set()
    in_cells: Counter[str] = Counter()
    for cell in cells:
        names = parted(cell, mark)
        in_cells.update(names)
        if len(names) > 1:
            several.update(names)
    return bool(several) and 2 * sum(in_cells[name] > 1 for name in several) >= len(several)


def often(several: int, pictures: int) -> bool:
    """Tell whether so many pictures have several classes that it can be no slip: a tenth, and at least five.

    >>> often(4, 20), often(6, 60), often(6, 90)
    (False, True, False)
    """
    return several >= max(5, MOST_DOUBTED * pictures)


def settle(data: DataSet, task: str | None) -> None:
    """Tell whether a data set is for tagging, from how many of its pictures have several classes; where it is not, the first class of each counts.

    Args:
        data: what was read, with all classes that whole pictures have.
        task: what the labels are for, where that is settled.
    """
    several = [at for at, found in enumerate(data.pictures) if found.more]
    whole = data.task == "image-classification"
    if whole and (task == TAGGING or (task is None and often(len(several), sum(found.label is not None for found in data.pictures)))):
        data.task = TAGGING
    elif several:
        data.problems.append(f"{one(len(several), 'picture has', 'pictures have')} several classes; the first counts")
        for at in several:
            data.pictures[at] = replace(data.pictures[at], more=())


def says_yes(cell: str) -> bool | None:
    """Return what a cell of ones and zeros says; None where it is neither.

    >>> says_yes("1.0"), says_yes("-1"), says_yes("cat")
    (True, False, None)
    """
    plain = cell.strip().casefold()
    return True if plain in _YES else False if plain in _NO else None


def ticked(heading: Sequence[str], rows: Sequence[Sequence[str]], taken: Collection[int]) -> tuple[int, ...]:
    """Return which columns hold only ones and zeros, as far as these rows show; columns that are all empty, and those `taken`, do not count."""
    found = []
    for place in range(len(heading)):
        if place in taken or not heading[place].strip():
            continue
        cells = [row[place] if place < len(row) else "" for row in rows]
        if any(cell.strip() for cell in cells) and all(says_yes(cell) is not None for cell in cells):
            found.append(place)
    return tuple(found)
