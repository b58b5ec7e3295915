"""The helper process of an import: reads, hashes and measures small pictures while the import enters others.

`scanner` starts it and is the other end of its pipes. Both speak in frames: four bytes that give the length, then JSON. The first frame is the
path of a zip, or '' for plain files; each further one holds where some pictures are, and is answered by the seconds they took and what was
found of each. Nothing heavy is imported here: a process of this takes some 20 ms to start.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib

from engine.data import headers

TYPE_CHECKING = False  # `typing` itself would double the time this takes to start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

__all__ = ["WHOLE_BYTES", "Place", "Scanned", "ZipPlace", "entry_content", "file_content", "receive", "scan", "send", "serve"]

WHOLE_BYTES = 8 << 20
"""Pictures up to this size are read in one piece."""

ZipPlace = tuple[int, int, int, int, int, int, str]
"""Of a zip's entry: its offset, packed and whole size in bytes, CRC-32, method, flags, and name as the directory has it."""

Place = str | ZipPlace
"""Where a picture is: a file's path, or an entry of a zip."""

Scanned = tuple[str, str, int, int, int]
"""A picture's sha256, suffix, width, height and turn, as `measured.Checked` has them."""

_BLOCK = 1 << 16
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_DISK = 4
"""A helper that took so many times what it worked has waited for a disk, not for a processor that others had."""

_LOCAL = struct.Struct("<4s2xHH16xHH")
_STORED, _DEFLATED = 0, 8
_UTF_8 = 0x800
_MOST_BETWEEN = 512
"""Of a zip, in bytes, what mostly lies at most before an entry's content: its name and what programs add."""


def file_content(path: str, most: int) -> bytes | None:
    """Return a file's whole content; None where that is more than `most` bytes. A third of the cost of a stream.

    Raises:
        OSError: if it cannot be read.
    """
    file = os.open(path, _READ)
    try:
        size = os.fstat(file).st_size
        if size > most:
            return None
        found = os.read(file, size + 1)
        while len(found) != size and len(found) <= most and (more := os.read(file, _BLOCK)):  # it grows, or came in parts
            found += more
        return found if len(found) <= most else None
    finally:
        os.close(file)


def entry_content(archive: BinaryIO, place: ZipPlace, most: int) -> bytes | None:
    """Return a zip entry's whole content; None where it is larger, packed in a rare way, damaged, or not what the zip's directory says.

    Raises:
        OSError: if the zip cannot be read.
    """
    offset, packed, size, crc, method, told, name = place
    if max(packed, size) > most:
        return None
    archive.seek(offset)
    found = archive.read(_LOCAL.size + _MOST_BETWEEN + packed)
    if len(found) < _LOCAL.size:
        return None
    mark, flags, local_method, name_bytes, extra_bytes = _LOCAL.unpack_from(found)
    begin = _LOCAL.size + name_bytes
    if mark != b"PK\x03\x04" or flags & 1 or local_method != method or found[_LOCAL.size : begin] != name.encode("utf-8" if told & _UTF_8 else "cp437"):
        return None
    begin += extra_bytes
    content = found[begin : begin + packed]
    while len(content) < packed and (more := archive.read(packed - len(content))):
        content += more
    if method == _DEFLATED:
        unpacker = zlib.decompressobj(-15)
        try:
            content = unpacker.decompress(content, size + 1)  # never more than it claims
        except zlib.error:
            return None
    elif method != _STORED:
        return None
    return content if len(content) == size and zlib.crc32(content) == crc else None


def scan(place: Place, archive: BinaryIO | None) -> Scanned | None:
    """Return what is found of a picture; None where it is no small, whole, ordinary JPEG or PNG, or cannot be read: then others look closer."""
    try:
        if isinstance(place, str):
            content = file_content(place, WHOLE_BYTES)
        else:
            content = entry_content(archive, place, WHOLE_BYTES) if archive is not None else None
    except OSError:
        return None
    checked = headers.plain(content) if content is not None else None
    if content is None or checked is None:
        return None
    return hashlib.sha256(content).hexdigest(), checked.suffix, checked.width, checked.height, checked.turn


def send(stream: BinaryIO, value: Any) -> None:
    """Write a frame."""
    content = json.dumps(value).encode()
    stream.write(len(content).to_bytes(4, "little") + content)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read a frame.

    Raises:
        EOFError: if there are no more.
    """
    length = int.from_bytes(stream.read(4), "little")
    content = stream.read(length)
    if not length or len(content) < length:
        raise EOFError
    return json.loads(content)


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer frames until there are no more."""
    path = receive(asked)
    archive = open(path, "rb", buffering=_BLOCK) if path else None  # noqa: PTH123, SIM115 (pathlib takes 10 ms to import; it is open until the end)
    while True:
        try:
            places: Sequence[Place] = receive(asked)
        except EOFError:
            return
        began, worked = time.perf_counter(), time.process_time()
        found = [scan(place, archive) for place in places]  # type: ignore[arg-type]
        took, worked = time.perf_counter() - began, time.process_time() - worked
        send(answers, (took if took > _DISK * worked else worked, found))
