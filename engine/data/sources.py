"""Where pictures come from: a folder, a zip, a tar or one loose picture, all as named files that can be read by several threads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from engine.data import formats
from engine.data.archives import Archive
from engine.data.formats import Skipped
from engine.data.images import SUFFIXES
from engine.data.scan import Place, file_content
from engine.data.tars import SUFFIXES as TAR_SUFFIXES
from engine.data.tars import Tar
from engine.errors import StudioError

__all__ = ["Folder", "Source", "opened"]

MAX_FILES = 1_000_000


class Source(Protocol):
    """What an import needs of a folder or archive."""

    path: Path
    skipped: list[Skipped]

    @property
    def files(self) -> Mapping[str, Any]:
        """The files by name: relative paths with '/'."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Give a file's content as a stream."""

    def content(self, name: str, most: int) -> bytes | None:
        """Return a file's whole content; None where that is more than `most` bytes."""

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""


class Folder:
    """The files below a folder. Linked folders are not followed: they may lead round in circles or out of what was chosen."""

    def __init__(self, path: Path, only: str | None = None) -> None:
        """List a folder; with `only`, take that one file of it.

        Raises:
            StudioError: if it cannot be read or holds absurdly many files.
        """
        self.path = path
        self.files: dict[str, str] = {}
        self.skipped: list[Skipped] = []
        if only is not None:
            self.files[only] = str(path / only)
            return
        try:
            os.scandir(path).close()
        except OSError as error:
            raise StudioError(f"the folder {path} cannot be read ({error.strerror})", "Check that it is there and yours to read.") from error
        waiting = [""]
        while waiting:
            waiting += self._list(waiting.pop())
            if len(self.files) > MAX_FILES:
                raise StudioError(f"{path} holds more than {MAX_FILES:,} files", "Choose the folder that holds the pictures.")

    def _list(self, prefix: str) -> list[str]:
        """Take the files of one folder and return the folders in it."""
        inner: list[str] = []
        try:
            with os.scandir(self.path / prefix if prefix else self.path) as entries:
                for entry in entries:
                    self._take(entry, prefix + entry.name, inner)
        except OSError as error:
            self.skipped.append(Skipped(_shown(prefix), f"a folder that cannot be read ({error.strerror})"))
        return sorted(inner, reverse=True)

    def _take(self, entry: os.DirEntry[str], name: str, inner: list[str]) -> None:
        if _shown(name) != name:
            self.skipped.append(Skipped(_shown(name), "its name is not valid text: rename it"))
        elif entry.is_dir():
            if entry.is_symlink():
                self.skipped.append(Skipped(name, "a link to a folder, not followed"))
            else:
                inner.append(name + "/")
        elif entry.is_file():
            self.files[name] = entry.path
        else:
            self.skipped.append(Skipped(name, "not a file"))

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Give a file's content as a stream."""
        with open(self.files[name], "rb", buffering=0) as stream:  # noqa: PTH123 (twenty thousand times)
            yield stream  # type: ignore[misc]

    def content(self, name: str, most: int) -> bytes | None:
        """Return a file's whole content; None where that is more than `most` bytes."""
        return file_content(self.files[name], most)

    def place(self, name: str) -> Place:
        """Return where a file is."""
        return self.files[name]

    def size(self, name: str) -> int:
        """Return a file's size in bytes, 0 where it is gone."""
        try:
            return os.stat(self.files[name]).st_size  # noqa: PTH116 (twenty thousand times)
        except OSError:
            return 0


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


@contextmanager
def opened(path: Path) -> Iterator[tuple[Source, str | None]]:
    """Open what the user chose: a folder, an archive, a label file beside its pictures, or one picture. Give it and the label file's name, if any.

    Raises:
        StudioError: if it is nothing of these.
    """
    name = path.name.casefold()
    if path.is_dir():
        yield Folder(path), None
    elif not path.exists():
        raise StudioError(f"there is nothing at {path}", "Check the path: it must be on the machine that Graft runs on.")
    elif name.endswith(".zip"):
        with Archive(path) as archive:
            yield archive, None
    elif name.endswith(TAR_SUFFIXES):
        with Tar(path) as tar:
            yield tar, None
    elif name.endswith(tuple(formats.LABEL_FILES)):
        yield Folder(path.parent), path.name
    elif name.endswith(tuple(SUFFIXES)):
        yield Folder(path.parent, path.name), None
    else:
        raise StudioError(
            f"{path.name} is neither a folder, an archive, a picture nor a list of labels",
            "Choose a folder of pictures, a .zip or .tar of them, or the CSV, JSON, YAML or XML file beside them.",
        )
