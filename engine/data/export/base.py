"""What every export form is given: pictures with their labels, safe names for them, and a zip to write into."""

from __future__ import annotations

import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.data.formats.base import Tally
from engine.data.images import SUFFIXES
from engine.data.marks import TAGGING, TASK_KINDS, Mark
from engine.errors import StudioError

__all__ = ["DRAWN", "Bundle", "Entry", "Exporter", "Namer", "nothing_to_write", "number"]

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LONGEST = 80

DRAWN = tuple(task for task, kinds in TASK_KINDS.items() if "class" not in kinds)
"""The tasks whose labels have shapes."""


@dataclass(frozen=True)
class Entry:
    """One picture as it goes out. `name` is its file name in the export, without folder, unique even without its ending."""

    name: str
    path: Path
    width: int
    height: int
    split: str | None
    group: str | None
    labels: tuple[str, ...]
    reviewed: bool
    marks: Sequence[Mark]

    @property
    def label(self) -> str | None:
        """The class of the whole picture, the first where it has several."""
        return self.labels[0] if self.labels else None

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name[: self.name.rfind(".")]

    @property
    def labelled(self) -> bool:
        """Whether its labels are complete, perhaps none, so that a label file belongs to it."""
        return self.reviewed or bool(self.marks)


@dataclass(frozen=True)
class Exporter:
    """One row of the table of export forms.

    Attributes:
        key: its name in a shell.
        title: what it is called.
        words: what it is for.
        tasks: whose labels it holds.
        write: writes the pictures; `lost` counts what the form cannot hold.
    """

    key: str
    title: str
    words: str
    tasks: tuple[str, ...]
    write: Callable[[Iterator[Entry], Sequence[str], str, Bundle, Tally], None]


class Bundle:
    """The zip that is being written. Pictures are stored as they are, texts packed."""

    def __init__(self, file: zipfile.ZipFile, *, pictures: bool, done: Callable[[], None]) -> None:
        self._file, self._pictures, self._done = file, pictures, done
        self.missing = 0

    def picture(self, name: str, entry: Entry) -> None:
        """Add a picture, if pictures go in at all."""
        if self._pictures:
            try:
                self._file.write(entry.path, name, zipfile.ZIP_STORED)
            except FileNotFoundError:
                self.missing += 1
        self._done()

    def text(self, name: str, content: str) -> None:
        """Add a text."""
        self._file.writestr(name, content, zipfile.ZIP_DEFLATED)

    def data(self, name: str, content: bytes) -> None:
        """Add bytes that are packed already."""
        self._file.writestr(name, content, zipfile.ZIP_STORED)


class Namer:
    """Gives every picture a file name that any system takes, unique in any folder, whatever capitals and endings count there."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, wanted: str, path: Path) -> str:
        """Return a name for a picture that the project knows as `wanted`.

        >>> namer = Namer()
        >>> namer.name("a/b/CON.jpg", Path("x.jpg")), namer.name("1.png", Path("x.png")), namer.name("c/1.PNG", Path("x.png"))
        ('_CON.jpg', '1.png', '1-2.PNG')
        """
        file = PurePosixPath(wanted)
        suffix = file.suffix if file.suffix.casefold() in SUFFIXES else path.suffix
        raw = file.name[: len(file.name) - len(file.suffix)] if file.suffix.casefold() in SUFFIXES else file.name
        stem = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", raw))[:_LONGEST].strip(" .") or "picture"
        if _RESERVED.fullmatch(stem) or stem.startswith("."):
            stem = f"_{stem}"
        number, unique = 2, stem
        while unicodedata.normalize("NFC", unique).casefold() in self._taken:
            unique, number = f"{stem}-{number}", number + 1
        self._taken.add(unicodedata.normalize("NFC", unique).casefold())
        return unique + suffix


def number(value: float, digits: int = 2) -> str:
    """Write a number as short as it can be.

    >>> number(12.0), number(12.345), number(0.125, 8)
    ('12', '12.35', '0.125')
    """
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def nothing_to_write(title: str, task: str) -> StudioError:
    """Say that a form does not hold what a project has."""
    if task == TAGGING:
        return StudioError(f"{title} cannot say that a picture has several classes, or none, as those of this project can", "Export it as CSV.")
    if title == "CSV":
        return StudioError("this CSV is for pictures that can have several classes, or none", "Export it as folders, COCO, YOLO, VOC or masks.")
    if task == "image-classification":
        return StudioError(f"{title} holds shapes in pictures, and this project has classes of whole pictures", "Export it as folders.")
    return StudioError(f"{title} hold one class a picture, and this project has labels drawn in pictures", "Export it as COCO, YOLO, VOC or masks.")
