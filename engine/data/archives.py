"""Zip files from anywhere, read safely. Everything hostile is refused before anything is written.

No name inside an archive ever becomes a path on this machine: pictures are kept by their content. The names are checked all the same,
because an archive with such names is no data set, and because they are shown and exported later.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.data.formats import Skipped
from engine.data.scan import ZipPlace
from engine.errors import StudioError

__all__ = ["LIMITS", "Archive", "Limits", "check_name", "room_for", "shown_name"]


@dataclass(frozen=True)
class Limits:
    """How much an archive may claim. Sizes in bytes; ratios are unpacked over packed.

    Deflate reaches 1,032 at most and photographs about 1, so the ratios leave room for drawings saved as BMP and none for bombs.
    """

    entries: int = 300_000
    directory: int = 128 * 2**20
    one: int = 512 * 2**20
    total: int = 200 * 2**30
    name: int = 400
    ratio: float = 200.0
    ratio_from: int = 10 * 2**20


LIMITS = Limits()

_KINDS = {
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
}
_DEVICES = "(?:con|prn|aux|nul|com[0-9]|lpt[0-9])"
_RESERVED = re.compile(rf"{_DEVICES}(\..*)?", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .()-]*(?:/[A-Za-z0-9_][A-Za-z0-9_ .()-]*)*")
_DEVICE = re.compile(rf"(?:^|/){_DEVICES}[. ]*(?:\.|/|$)", re.IGNORECASE)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error, ValueError, NotImplementedError)


class Archive:
    """An open zip whose whole directory was checked. `files` are its entries by name, folders left out."""

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        """Open and check an archive.

        Raises:
            StudioError: if it is no whole zip, or holds anything unsafe.
        """
        self.path = path
        self.skipped: list[Skipped] = []
        _check_end(path, limits)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise _broken(path, str(error)) from error
        try:
            self.files = _checked(self._zip.infolist(), path, limits)
        except StudioError:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def size(self, name: str) -> int:
        """Return how many bytes an entry claims to unpack to."""
        return self.files[name].file_size

    def place(self, name: str) -> ZipPlace:
        """Return where an entry is."""
        info = self.files[name]
        return info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type, info.flag_bits, info.orig_filename

    def content(self, name: str, most: int) -> bytes | None:
        """Return an entry's whole content; None where that is more than `most` bytes.

        Raises:
            StudioError: if it is damaged, or its size is not as claimed.
        """
        size = self.size(name)
        if size > most:
            return None
        with self.open(name) as stream:
            return stream.read(size + 1)  # without a bound, what claims little and unpacks to much would be unpacked

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Give an entry's content as a stream that ends at the size the directory claims.

        Raises:
            StudioError: if the content is damaged, or its size is not as claimed.
        """
        info = self.files[name]
        try:
            with self._zip.open(info) as stream:
                yield stream  # type: ignore[misc]
                if stream.tell() != info.file_size and not stream.read(1):  # at its end, and too early
                    raise zipfile.BadZipFile("its size is not as the zip says")
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the archive's
                raise
            raise StudioError(f"'{shown_name(name)}' in {self.path.name} is damaged, or not as large as the zip says", "Make the zip again.") from error


def shown_name(name: str) -> str:
    """Make a hostile name fit to be read: one line, at most 60 letters."""
    plain = name if name.isprintable() else "".join(mark if mark.isprintable() else "?" for mark in name)
    return plain if len(plain) <= 60 else plain[:57] + "…"


def _broken(path: Path, reason: str) -> StudioError:
    return StudioError(f"{path.name} is not a whole zip file ({reason[:80]})", "Make the zip again, or copy it again.")


def _check_end(path: Path, limits: Limits) -> None:
    """Read the record at the end of a zip, so that a directory of a million entries is refused before it is loaded.

    Raises:
        StudioError: if the file is no zip, cut short, in parts, or its directory too large.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65_557 - 20))
            tail = file.read()
    except OSError as error:
        raise StudioError(f"{path.name} cannot be read ({error.strerror})", "Check that it is there and yours to read.") from error
    kind = next((words for magic, words in _KINDS.items() if head.startswith(magic)), None)
    if kind:
        raise StudioError(f"{path.name} is {kind}, not a zip", "Pack the pictures as a .zip, or choose their folder.")
    place = tail.rfind(b"PK\x05\x06")
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or place < 0 or len(tail) < place + 22:
        raise _broken(path, "empty" if not size else "its end is missing" if head.startswith(b"PK") else "it does not begin like one")
    _, _, _, entries, directory, _, _ = struct.unpack("<4H2LH", tail[place + 4 : place + 22])
    if place >= 20 and tail[place - 20 : place - 16] == b"PK\x06\x07":
        entries, directory = _zip64_end(path, struct.unpack("<Q", tail[place - 12 : place - 4])[0])
    if entries > limits.entries or directory > limits.directory:
        raise StudioError(f"{path.name} claims {entries:,} entries, more than {limits.entries:,}", "Split it into several zips, or choose the unpacked folder.")


def _zip64_end(path: Path, offset: int) -> tuple[int, int]:
    with path.open("rb") as file:
        file.seek(min(offset, 2**62))
        record = file.read(56)
    if len(record) < 56 or record[:4] != b"PK\x06\x06":
        raise _broken(path, "its end is damaged")
    entries, directory = struct.unpack("<2Q", record[32:48])
    return entries, directory


def _checked(infos: list[zipfile.ZipInfo], path: Path, limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """Check every entry and return the files by their normal name."""
    if len(infos) > limits.entries:
        raise StudioError(f"{path.name} holds {len(infos):,} entries, more than {limits.entries:,}", "Split it into several zips.")
    files: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for info in infos:
        name = check_name(info.orig_filename, info.is_dir(), limits)  # `filename` is already cut at a NUL and has its separators changed
        if info.is_dir():
            continue
        same = name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
        if same in seen:
            raise StudioError(f"'{shown_name(name)}' is in the zip twice, or differs from another name only in capitals", "Rename one of them and zip again.")
        seen.add(same)
        _check_entry(info, name, limits)
        files[name] = info
    _check_together(list(files.values()), path, limits)
    return files


def check_name(raw: str, folder: bool, limits: Limits, kind: str = "zip") -> str:
    """Return an entry's name in its normal form.

    Raises:
        StudioError: if it is not one that a data set would have.
    """
    if len(raw) <= min(limits.name, 255) and _PLAIN.fullmatch(raw) and not _DEVICE.search(raw):  # none of what follows
        return raw
    faults = {
        "is an absolute path": raw.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", raw) is not None,
        "leads out of the archive": ".." in re.split(r"[/\\]", raw),
        "holds a backslash": "\\" in raw,
        "holds a control character": any(unicodedata.category(mark) in ("Cc", "Cs") for mark in raw),
        "is too long": len(raw) > limits.name or any(len(part.encode("utf-8", "replace")) > 255 for part in raw.split("/")),
        "is a name that Windows keeps for devices": any(_RESERVED.fullmatch(part.rstrip(". ")) for part in raw.split("/")),
        "is empty": not raw.strip("/. "),
    }
    fault = next((words for words, found in faults.items() if found and not (words == "is empty" and folder)), None)
    if fault:
        raise StudioError(
            f"the name '{shown_name(raw)}' in the {kind} {fault}; nothing was unpacked",
            f"Do not use this {kind} unless you trust its maker; pack the pictures anew.",
        )
    return "/".join(part for part in raw.split("/") if part not in ("", "."))


def _check_entry(info: zipfile.ZipInfo, name: str, limits: Limits) -> None:
    form = info.external_attr >> 16
    if info.create_system == 3 and stat.S_IFMT(form) not in (0, stat.S_IFREG):
        raise StudioError(f"'{shown_name(name)}' in the zip is a link or a device, not a file; nothing was unpacked", "Zip the pictures themselves.")
    if info.flag_bits & 0x41:
        raise StudioError(f"'{shown_name(name)}' in the zip is encrypted", "Unpack it with its password, then choose the folder.")
    if info.compress_type not in _METHODS:
        raise StudioError(f"'{shown_name(name)}' is packed by a method ({info.compress_type}) that cannot be read here", "Unpack it, then choose the folder.")
    if info.file_size > limits.one:
        claimed = f"'{shown_name(name)}' in the zip claims {info.file_size / 2**20:,.0f} MB"
        raise StudioError(f"{claimed}, more than {limits.one / 2**20:,.0f}", "Leave it out.")
    if info.file_size > limits.ratio_from and info.file_size > limits.ratio * max(info.compress_size, 1):
        raise StudioError(
            f"'{shown_name(name)}' unpacks to more than {limits.ratio:g} times its size: a zip bomb; nothing was unpacked", "Do not use this zip."
        )


def _check_together(infos: list[zipfile.ZipInfo], path: Path, limits: Limits) -> None:
    total = sum(info.file_size for info in infos)
    size = path.stat().st_size
    if total > limits.total or (total > limits.ratio_from and total > limits.ratio * size):
        raise StudioError(
            f"{path.name} ({size / 2**20:,.1f} MB) unpacks to {total / 2**30:,.1f} GB: too much, or a zip bomb; nothing was unpacked",
            "Split it into several zips, or choose the unpacked folder.",
        )
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise StudioError(f"entries of {path.name} overlap: a zip bomb; nothing was unpacked", "Do not use this zip.")
        end = info.header_offset + 30 + len(info.orig_filename.encode("utf-8", "replace")) * (info.flag_bits >> 11 & 1) + info.compress_size


def room_for(total: int, folder: Path) -> None:
    """Make sure that `total` bytes fit into a folder's disk.

    Raises:
        StudioError: if they do not.
    """
    free = shutil.disk_usage(folder).free
    if total > free:
        raise StudioError(f"the pictures need {total / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB left", "Free some space, then import again.")
