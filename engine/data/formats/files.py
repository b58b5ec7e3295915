"""A source as formats see it: its pictures, its other files by their ending, and a way from a path written in a label file to a picture."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from engine.data.formats.base import Skipped, split_in
from engine.data.images import SUFFIXES
from engine.errors import StudioError

__all__ = ["Files", "Finder", "text_of"]

MOST_BYTES = 64 * 2**20
"""Of a label file that is read whole."""

_NOT_READABLE = {".heic": "HEIC", ".heif": "HEIC", ".svg": "SVG", ".psd": "PSD", ".raw": "raw", ".cr2": "raw", ".nef": "raw", ".dng": "raw"}
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}

Opener = Callable[[str], AbstractContextManager[BinaryIO]]


class Files:
    """The files of a source, sorted out by their names alone.

    Attributes:
        pictures: names of pictures, sorted; mask pictures too.
        others: suffix -> names of files that are no pictures, those nearest to the top first.
        skipped: hidden files, and pictures of a kind that cannot be read.
        only: the label file the user chose, if it was one.
        task: what the labels are for, where that is settled already; None where they decide.
    """

    def __init__(self, names: Sequence[str], opener: Opener, only: str | None = None, task: str | None = None) -> None:
        self.only = only
        self.task = task
        self.pictures: list[str] = []
        self.others: dict[str, list[str]] = defaultdict(list)
        self.skipped: list[Skipped] = []
        self._open = opener
        self._finder: Finder | None = None
        for name in sorted(names):
            self._take(name)
        for listed in self.others.values():
            listed.sort(key=lambda name: (name.count("/"), name))

    def _take(self, name: str) -> None:
        file = name.rpartition("/")[2]
        dot = file.rfind(".")
        suffix = file[dot:].casefold() if dot > 0 else ""
        if name.startswith(".") or "/." in name or "__MACOSX/" in name or file.casefold() in ("thumbs.db", "desktop.ini"):
            self.skipped.append(Skipped(name, "hidden or made by the system"))
        elif suffix in SUFFIXES:
            self.pictures.append(name)
        elif suffix in _NOT_READABLE:
            self.skipped.append(Skipped(name, f"a {_NOT_READABLE[suffix]} picture, which cannot be read: save it as JPEG or PNG"))
        elif suffix in _ARCHIVES:
            self.skipped.append(Skipped(name, "an archive inside: unpack it first"))
        else:
            self.others[suffix].append(name)

    def named(self, *suffixes: str) -> list[str]:
        """Return the files with these endings, or the one among them that the user chose."""
        found = [name for suffix in suffixes for name in self.others.get(suffix, ())]
        return [name for name in found if name == self.only] if self.only else found

    def left_out(self, used: set[str]) -> list[Skipped]:
        """List the files that are no pictures and were not read for labels either."""
        return [Skipped(name, "not a picture") for listed in self.others.values() for name in listed if name not in used]

    @property
    def finder(self) -> Finder:
        """Finds pictures by what label files call them."""
        if self._finder is None:
            self._finder = Finder(self.pictures)
        return self._finder

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Give a file's content as a stream."""
        return self._open(name)

    def head(self, name: str, count: int = 4096) -> bytes:
        """Return the beginning of a file; nothing where it cannot be read."""
        try:
            with self._open(name) as stream:
                return stream.read(count)
        except (StudioError, OSError):
            return b""

    def content(self, name: str, most: int = MOST_BYTES) -> bytes:
        """Return a whole label file.

        Raises:
            StudioError: if it is absurdly large, or cannot be read.
        """
        try:
            with self._open(name) as stream:
                found = stream.read(most + 1)
        except OSError as error:
            raise StudioError(f"{name} cannot be read ({error.strerror})", "Check that it is yours to read.") from error
        if len(found) > most:
            raise StudioError(f"{name} is larger than {most / 2**20:,.0f} MB", "Split it.")
        return found

    def text(self, name: str, most: int = MOST_BYTES) -> str:
        """Return a whole label file as text, whatever its encoding."""
        return text_of(self.content(name, most))


def text_of(content: bytes) -> str:
    """Decode text as people really save it: UTF-8 with or without a mark, UTF-16, else Latin 1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _folded(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


_ONE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What is written of most pictures: a file's name in plain letters, without its folder."""


def _stem(file: str) -> str:
    dot = file.rfind(".")
    return file[:dot] if dot > 0 else file


class Finder:
    """Finds the picture that a written path means: relative, absolute, from Windows, an address, or a bare name with or without its ending.

    What is written only ever chooses among the pictures that are there; it is never opened.
    """

    def __init__(self, pictures: Sequence[str]) -> None:
        self._exact = set(pictures)
        self._by_file: dict[str, list[str]] = defaultdict(list)
        for picture in pictures:
            self._by_file[_folded(picture.rpartition("/")[2])].append(picture)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for file, pictures in self._by_file.items():
            found[_stem(file)] += pictures
        return found

    def find(self, written: str, beside: str = "", split: str | None = None) -> str | None:
        """Return the picture, or None if there is none or several fit equally.

        Args:
            written: what the label file says.
            beside: the label file's own name.
            split: the split it speaks of, which decides between two of one name.
        """
        folder = beside.rpartition("/")[0]
        if (plain := f"{folder}/{written}" if folder else written) in self._exact:  # as it mostly is: nothing about it need be understood
            return plain
        if _ONE_NAME.fullmatch(written) and written not in self._exact and len(alone := self._by_file.get(written.lower(), [])) == 1:
            return alone[0]
        wanted = _path_of(written)
        if not wanted:
            return None
        for candidate in (f"{folder}/{wanted}" if folder else wanted, wanted):
            if candidate in self._exact:
                return candidate
        file = _folded(wanted.rpartition("/")[2])
        found = self._by_file.get(file) or self._by_stem.get(file) or self._by_file.get(re.sub(r"^[0-9a-f]{8}-", "", file)) or []
        return self._best(found, wanted, folder, split)

    def same_stem(self, name: str, folders: Sequence[str] = (), split: str | None = None) -> str | None:
        """Return the picture called like a label file but for the ending, in one of these folders before all others."""
        folder, _, file = name.rpartition("/")
        found = self._by_stem.get(_folded(_stem(file))) or []
        for wanted in folders:
            inside = [picture for picture in found if picture.rpartition("/")[0] == wanted]
            if inside:
                return inside[0] if len(inside) == 1 else None
        return self._best(found, name, folder, split)

    def _best(self, found: list[str], wanted: str, folder: str, split: str | None) -> str | None:
        if len(found) < 2:
            return found[0] if found else None
        scored = [(self._score(picture, wanted, folder, split), picture) for picture in found[:1000]]
        top = max(score for score, _ in scored)
        best = [picture for score, picture in scored if score == top]
        return best[0] if len(best) == 1 else None

    @staticmethod
    def _score(picture: str, wanted: str, folder: str, split: str | None) -> tuple[int, int, int]:
        have, want = _folded(picture).split("/"), _folded(wanted).split("/")
        tail = 0
        while tail < min(len(have), len(want)) and have[-1 - tail] == want[-1 - tail]:
            tail += 1
        near = 0
        for mine, theirs in zip(have, _folded(folder).split("/"), strict=False):
            if mine != theirs:
                break
            near += 1
        return int(split is not None and split_in(picture.rpartition("/")[0]) == split), tail, near


def _path_of(written: str) -> str:
    """Bring what is written into the form of a relative path with '/'."""
    text = written.strip().strip("\ufeff")[:2000]
    if "://" in text[:12] or text.startswith("/data/"):
        try:
            address = urlsplit(text)
            inner = parse_qs(address.query).get("d", [""])[0]
        except ValueError:
            return ""
        text = unquote(inner or address.path)
    path = text.replace("\\", "/")
    path = re.sub(r"^[A-Za-z]:", "", path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        parts.pop(0)
    return "/".join(parts) if parts and ".." not in parts else (parts[-1] if parts and parts[-1] != ".." else "")
