"""Tar archives from anywhere, packed or not, read safely and never as a whole in memory.

A packed one is unpacked into one plain tar in the workspace's cache, block by block, under the same limits as a zip; then both are read in
place by where their files begin. No name in it ever becomes a path on this machine.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import time
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from engine import workspace
from engine.data.archives import LIMITS, Limits, check_name, shown_name
from engine.data.formats import Skipped
from engine.errors import StudioError

__all__ = ["SUFFIXES", "Tar"]

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_BLOCK = 1 << 20
_LONGEST_HEADER = 1 << 20
"""Of a name or a list of attributes that stands before an entry: tarfile reads it whole."""

_KEPT_SECONDS = 6 * 3600
"""How long an unpacked archive may lie in the cache between the look and the import."""

_DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, zlib.error, lzma.LZMAError, UnicodeError)


class _Entry(tarfile.TarInfo):
    """An entry whose long headers are refused before they are read."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in (*tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"x", b"g") and self.size > _LONGEST_HEADER:
            raise tarfile.ReadError("a header is absurdly long")
        return super()._proc_member(archive)  # type: ignore[misc]


class Tar:
    """An open tar whose whole list of entries was checked. `files` are where they begin and how long they are, by name."""

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        """Open and check an archive.

        Raises:
            StudioError: if it is no whole tar, or holds anything unsafe.
        """
        self.path = path
        self.skipped: list[Skipped] = []
        self.files: dict[str, tuple[int, int]] = {}
        self._plain = _plain(path, limits)
        self._file = self._plain.open("rb")
        try:
            self._list(limits)
        except StudioError:
            self._close(remove=True)
            raise
        except _DAMAGE as error:
            self._close(remove=True)
            raise _broken(path, str(error)) from error

    def __enter__(self) -> Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(remove=False)

    def _close(self, *, remove: bool) -> None:
        self._file.close()
        if remove and self._plain != self.path:
            self._plain.unlink(missing_ok=True)

    def _list(self, limits: Limits) -> None:
        total = count = 0
        seen: dict[str, str] = {}
        size = self._plain.stat().st_size
        with tarfile.open(fileobj=self._file, mode="r:", tarinfo=_Entry, errors="surrogateescape") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would remember every one
                count += 1
                if count > limits.entries:
                    raise StudioError(
                        f"{self.path.name} holds more than {limits.entries:,} entries", "Split it into several archives, or choose the unpacked folder."
                    )
                name = check_name(entry.name, entry.isdir(), limits, "tar")
                if entry.isdir():
                    continue
                reason = _not_taken(entry)
                if reason:
                    self.skipped.append(Skipped(shown_name(entry.name), reason))
                    continue
                if entry.size > limits.one:
                    raise StudioError(f"'{shown_name(name)}' claims {entry.size / 2**20:,.0f} MB, more than {limits.one / 2**20:,.0f}", "Leave it out.")
                total += entry.size
                if total > limits.total or entry.offset_data + entry.size > size:
                    raise StudioError(f"{self.path.name} claims more than it holds, or more than {limits.total / 2**30:,.0f} GB", "Make the archive again.")
                same = unicodedata.normalize("NFC", name).casefold()
                if same in seen:  # tar appends: the later one replaces the earlier
                    self.files.pop(seen[same], None)
                    self.skipped.append(Skipped(seen[same], "in the archive twice: the later one counts"))
                seen[same] = name
                self.files[name] = (entry.offset_data, entry.size)
            self._file.seek(min(archive.offset, size))  # type: ignore[attr-defined]
            if self._file.read(512).strip(b"\0"):
                self.skipped.append(Skipped(self.path.name, "damaged: what comes after its first damage was not read"))

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        return self.files[name][1]

    def content(self, name: str, most: int) -> bytes | None:
        """Return an entry's whole content; None where that is more than `most` bytes.

        Raises:
            StudioError: if it is damaged, or its size is not as claimed.
        """
        if self.size(name) > most:
            return None
        with self.open(name) as stream:
            return stream.read()

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Give an entry's content as a stream; several may be read at once."""
        offset, size = self.files[name]
        with self._plain.open("rb") as file:
            yield _Part(file, offset, size)  # type: ignore[misc]


class _Part(io.RawIOBase):
    """A part of a file as a stream of its own."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be sought in."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the part's own beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the present place."""
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._file.seek(self._offset + self._at)
        found = self._file.read(wanted)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or all that is left."""
        left = max(0, self._size - self._at)
        self._file.seek(self._offset + self._at)
        found = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(found)
        return found


def _not_taken(entry: tarfile.TarInfo) -> str:
    if entry.issym():
        return "a link, not followed"
    if entry.islnk():
        return "a hard link, not followed"
    if not entry.isreg():
        return "a device or a pipe, not a file"
    return "a file with holes (sparse), which is not read" if entry.issparse() else ""


def _broken(path: Path, reason: str) -> StudioError:
    return StudioError(f"{path.name} is not a whole tar file ({reason[:80]})", "Make the archive again, or copy it again.")


def _plain(path: Path, limits: Limits) -> Path:
    """Return a tar that is not packed: the file itself, or what it unpacks to, in the cache."""
    try:
        with path.open("rb") as file:
            head = file.read(6)
        state = path.stat()
    except OSError as error:
        raise StudioError(f"{path.name} cannot be read ({error.strerror})", "Check that it is there and yours to read.") from error
    opener = next((opener for magic, opener in _PACKED if head.startswith(magic)), None)
    if opener is None:
        return path
    folder = workspace.cache("unpacked")
    _prune(folder)
    identity = hashlib.sha256(f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()[:32]
    plain = folder / f"{identity}.tar"
    if plain.exists():
        os.utime(plain)
        return plain
    beside = folder / f"{identity}-{os.getpid()}.part"
    try:
        _unpack(path, opener, beside, limits, state.st_size)
        beside.replace(plain)
    finally:
        beside.unlink(missing_ok=True)
    return plain


_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))


def _unpack(path: Path, opener: Any, into: Path, limits: Limits, size: int) -> None:
    written = 0
    try:
        with opener(path, "rb") as stream, into.open("wb") as file:
            while block := stream.read(_BLOCK):
                written += len(block)
                if written > limits.total or (written > limits.ratio_from and written > limits.ratio * size):
                    raise StudioError(
                        f"{path.name} ({size / 2**20:,.1f} MB) unpacks to more than {written / 2**20:,.0f} MB: too much, or a bomb; nothing was taken",
                        "Do not use this archive unless you trust its maker.",
                    )
                file.write(block)
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise workspace.disk_error(error, into) from error
        raise _broken(path, str(error)) from error


def _prune(folder: Path) -> None:
    for old in folder.iterdir():
        with suppress(OSError):  # another process was faster
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink()
