"""Where pictures come from: a folder or a zip, both as named files that can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from engine.data import tables
from engine.data.archives import Archive
from engine.data.images import SUFFIXES
from engine.data.layouts import Skipped
from engine.errors import StudioError

__all__ = ["Folder", "Source", "opened"]

MAX_FILES = 1_000_000


class Source(Protocol):
    """What an import needs of a folder or zip."""

    path: Path

    @property
    def files(self) -> Mapping[str, Any]:
        """The files by name: relative paths with '/'."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Give a file's content as a stream."""

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""


class Folder:
    """The files below a folder. Linked folders are not followed: they may lead round in circles or out of what was chosen."""

    def __init__(self, path: Path) -> None:
        """List a folder.

        Raises:
            StudioError: if it cannot be read or holds absurdly many files.
        """
        self.path = path
        self.files: dict[str, Path] = {}
        self.skipped: list[Skipped] = []
        try:
            os.scandir(path).close()
        except OSError as error:
            raise StudioError(f"the folder {path} cannot be read ({error.strerror})", "Check that it is there and yours to read.") from error
        self._list(str(path), "")

    def _list(self, top: str, below: str) -> None:
        """List what lies below a folder by os.scandir, which knows what is a file without asking the disk for each."""
        waiting = [below]
        while waiting:
            here = waiting.pop()
            try:
                with os.scandir(f"{top}/{here}") as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.skipped.append(Skipped(_shown(here), f"a folder that cannot be read ({error.strerror})"))
                continue
            for entry in found:
                name = here + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name + "/")
                elif entry.is_symlink() and entry.is_dir():
                    self.skipped.append(Skipped(_shown(name), "a link to a folder, not followed"))
                else:
                    self._take(name, entry)
            if len(self.files) > MAX_FILES:
                raise StudioError(f"{self.path} holds more than {MAX_FILES:,} files", "Choose the folder that holds the pictures.")

    def _take(self, name: str, entry: os.DirEntry[str]) -> None:
        if not name.isascii() and name != _shown(name):
            self.skipped.append(Skipped(_shown(name), "its name is not valid text: rename it"))
        elif not entry.is_file():
            self.skipped.append(Skipped(name, "not a file"))
        else:
            self.files[name] = Path(entry.path)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Give a file's content as a stream."""
        with self.files[name].open("rb") as stream:
            yield stream

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        return self.files[name].stat().st_size


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


@contextmanager
def opened(path: Path) -> Iterator[tuple[Source, str | None]]:
    """Open what the user chose: a folder, a .zip, or a CSV file beside its pictures. Give it and the chosen table's name, if any.

    Raises:
        StudioError: if it is nothing of these.
    """
    suffix = path.suffix.casefold()
    if path.is_dir():
        yield Folder(path), None
    elif not path.exists():
        raise StudioError(f"there is nothing at {path}", "Check the path: it must be on the machine that Graft runs on.")
    elif suffix == ".zip":
        with Archive(path) as archive:
            yield archive, None
    elif suffix in tables.SUFFIXES:
        yield Folder(path.parent), path.name
    else:
        kind = "one picture" if suffix in SUFFIXES else "neither a folder, a .zip nor a .csv"
        raise StudioError(f"{path.name} is {kind}", "Choose a folder of pictures, a .zip of them, or a .csv file beside them.")
