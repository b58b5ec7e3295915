"""What every import form gives: pictures with the labels that a data set says they have, and what was odd about it, in words.

Labels are as the data set has them. Whether they fit their picture is checked when it is read (`engine.data.placing`).
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.data.formats.files import Files
    from engine.data.formats.masks import Palette

__all__ = [
    "DAMAGE",
    "DataSet",
    "Drawn",
    "Format",
    "Found",
    "Skipped",
    "Tally",
    "box",
    "label_name",
    "mask",
    "one",
    "point",
    "polygon",
    "split_in",
    "split_named",
]

DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading a damaged label raises: it is counted and left out."""

_SPLITS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "testset", "test_set"), "test"),
}
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why, in words."""

    name: str
    reason: str


@dataclass(slots=True, unsafe_hash=True)  # frozen, each would take five times as long to make; nobody changes one
class Drawn:
    """A label with a shape, not yet checked against its picture; kept small, because data sets have millions.

    Attributes:
        label: the class.
        kind: 'box', 'polygon', 'mask' or 'point'.
        shape: x1 y1 x2 y2; or a tuple of rings, each x1 y1 x2 y2 ...; or (height, width, counts); or x y.
        relative: coordinates are shares of the picture's width and height, not pixels.
        crowd: COCO's iscrowd.
    """

    label: str
    kind: str
    shape: Any
    relative: bool = False
    crowd: bool = False


@dataclass(slots=True, unsafe_hash=True)  # as `Drawn` is
class Found:
    """A picture by its name in the source, with what the data set says about it.

    Attributes:
        name: its relative path in the source.
        label: the class of the whole picture.
        split: 'train', 'val' or 'test'.
        group: pictures of one group belong together.
        marks: labels with a shape.
        reviewed: the labels are complete, even where there are none.
        size: width and height that the coordinates are meant for, where the data set says so.
        masks: the name of a mask picture that holds the labels, and of one that tells things of one class apart ('' for none).
        more: further classes of the whole picture, where it shows several things.
    """

    name: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    marks: tuple[Drawn, ...] = ()
    reviewed: bool = False
    size: tuple[int, int] | None = None
    masks: tuple[str, str] | None = None
    more: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes of the whole picture."""
        return self.more if self.label is None else (self.label, *self.more)


@dataclass
class DataSet:
    """What a format's reader found.

    Attributes:
        kind: the format's key.
        pictures: in the order in which they are taken.
        skipped: files left out, or named and not there.
        problems: oddities in words.
        task: what the data set is for.
        classes: names that the data set lists, whether or not a picture has them.
        used: files that were read for their labels, so they are not "left out".
        palette: how to read mask pictures.
    """

    kind: str
    pictures: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    task: str = "image-classification"
    classes: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    palette: Palette | None = None


@dataclass(frozen=True)
class Format:
    """One row of the table of formats.

    Attributes:
        key: its short name, as `DataSet.kind`.
        title: what it is called.
        words: how a person would know it.
        detect: how sure it is that a source has this format, 0..1, from names and the beginnings of a few files.
        read: reads it; None if it turns out to be something else.
    """

    key: str
    title: str
    words: str
    detect: Callable[[Files], float]
    read: Callable[[Files], DataSet | None]


class Tally:
    """Counts what is wrong with labels by reason, remembering where each was met first."""

    __slots__ = ("_counts", "_first")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}  # a plain one takes a third of the time to make, and each picture has one
        self._first: dict[str, str] = {}

    def add(self, reason: str, where: str = "", count: int = 1) -> None:
        """Count a reason, such as 'a box has no inside'."""
        self._counts[reason] = self._counts.get(reason, 0) + count
        self._first.setdefault(reason, where)

    @property
    def total(self) -> int:
        """How many there were, all reasons together."""
        return sum(self._counts.values())

    @staticmethod
    def of(several: Iterable[Tally | None]) -> Tally:
        """Return several tallies as one; None counts nothing."""
        found = Tally()
        for one in several:
            if one is not None:
                found.update(one)
        return found

    def update(self, other: Tally) -> None:
        """Add another tally to this one."""
        for reason, count in other._counts.items():
            self.add(reason, other._first[reason], count)

    def sentences(self) -> list[str]:
        """Say each reason with its count, the most frequent first."""
        return [
            f"{count:,} × {reason}" + (f" (first: {self._first[reason][:120]})" if self._first[reason] else "")
            for reason, count in sorted(self._counts.items(), key=lambda pair: -pair[1])
        ]


def label_name(raw: Any, otherwise: str = "unnamed") -> str:
    """Return a class name fit to be kept, whatever a file holds.

    >>> label_name("  red\\tcar "), label_name(None, "class 3"), label_name(7)
    ('red car', 'class 3', '7')
    """
    return _name_of(str(raw) if isinstance(raw, str | int | float) and not isinstance(raw, bool) else "") or otherwise


@lru_cache(maxsize=4096)
def _name_of(text: str) -> str:
    """Do the work of `label_name`, once a name: a data set says few of them often."""
    plain = "".join(" " if mark in "\t\n\r" else mark for mark in text[:1000] if unicodedata.category(mark) not in ("Cc", "Cs", "Cf") or mark in "\t\n\r\u200d")
    kept = " ".join(unicodedata.normalize("NFC", plain).split())
    return unicodedata.normalize("NFC", kept[:_LONGEST]).strip()


def box(label: str, corners: Sequence[Any], *, relative: bool = False, crowd: bool = False) -> Drawn:
    """Return a box from x1 y1 x2 y2.

    Raises:
        ValueError, TypeError: if these are not four numbers, or its sides are negative.
    """
    x1, y1, x2, y2 = map(float, corners)
    if x2 < x1 or y2 < y1:
        raise ValueError("a box has a negative width or height")
    return Drawn(label, "box", array("d", (x1, y1, x2, y2)), relative, crowd)


def polygon(label: str, rings: Sequence[Sequence[Any]], *, relative: bool = False, crowd: bool = False) -> Drawn:
    """Return a polygon of one or several rings, each x1 y1 x2 y2 ... .

    Raises:
        ValueError, TypeError: if they are not numbers, or there is no ring.
    """
    if not rings:
        raise ValueError("a polygon has no corners")
    return Drawn(label, "polygon", tuple(array("f", [float(value) for value in ring]) for ring in rings), relative, crowd)


def mask(label: str, height: Any, width: Any, counts: Any, *, crowd: bool = False) -> Drawn:
    """Return a mask from COCO run lengths, packed (text) or not (a list).

    Raises:
        ValueError, TypeError: if the run lengths are neither.
    """
    if not isinstance(counts, str | list):
        raise ValueError("run lengths are neither text nor a list")
    if isinstance(counts, list):
        counts = array("q", counts)
    return Drawn(label, "mask", (int(height), int(width), counts), False, crowd)


def point(label: str, x: Any, y: Any, *, relative: bool = False) -> Drawn:
    """Return a point.

    Raises:
        ValueError, TypeError: if these are not numbers.
    """
    return Drawn(label, "point", array("d", (float(x), float(y))), relative)


def one(count: int, thing: str, things: str = "") -> str:
    """Say how many.

    >>> one(1, "picture"), one(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def split_named(word: str | None) -> str | None:
    """Return 'train', 'val' or 'test' for the many names these have, else None."""
    return _SPLITS.get(word.strip().casefold()) if word else None


def split_in(text: str) -> str | None:
    """Return the split that a file name or path speaks of, if it is exactly one.

    >>> split_in("instances_val2017"), split_in("images/train"), split_in("contest"), split_in("train_and_val")
    ('val', 'train', None, None)
    """
    found = {_SPLITS[word] for word in re.split(r"[^a-z]+", text.casefold()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None
