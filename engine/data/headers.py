"""What the beginning and the end of a file say of its picture, without decoding it: size, EXIF turn, and whether it was cut short.

Everything here answers None where it is not sure, and never guesses: then Pillow reads the header, or the picture is decoded. What it does answer
is what Pillow would (a test compares them). It does not say that what lies between is whole: that takes decoding (`looking`).
"""

from __future__ import annotations

import struct

from engine.data.measured import MAX_PIXELS, Checked, as_shown

__all__ = ["ends_whole", "plain"]

_SEGMENT = struct.Struct(">BBH").unpack_from
_FRAME = struct.Struct(">BHHB").unpack_from
_CHUNK = struct.Struct(">I4s").unpack_from
_TWO_SIDES = struct.Struct(">II").unpack_from

_FRAMES = frozenset([0xC0, 0xC1, 0xC2])
"""Baseline, extended and progressive: all that libjpeg decodes of what is met in practice."""

_PASSED = frozenset([0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)])
"""Tables, comments and what programs add: of these only EXIF and XMP (in E1) and MPO's index (in E2) say how a picture is shown."""

_SCAN = 0xDA
_HARMLESS = frozenset([b"IDAT", b"IEND", b"PLTE", b"tRNS", b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"sBIT", b"bKGD", b"tIME", b"iCCP", b"hIST"])
_TEXTS = frozenset([b"tEXt", b"iTXt"])
_XMP = b"XML:com.adobe.xmp\0"
_TELLING = (b"exif", b"Raw profile", b"XML:", b"xmp")
"""Keywords of a PNG's texts in which a turn may be hidden."""

_PADDING = 4096
_ORIENTATION = 0x0112
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of one value of each EXIF type."""


def plain(head: bytes, end: bytes | None = None) -> Checked | None:
    """Return how a whole, ordinary JPEG or PNG is shown, from its header alone; None for all others.

    Args:
        head: the file, or its beginning.
        end: its last bytes, where `head` is not all of it.
    """
    try:
        if head.startswith(b"\xff\xd8\xff"):
            found = _jpeg(head) if _jpeg_ends(head if end is None else end) else None
        elif end is None and head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
            found = _png(head)
        else:
            return None
    except (struct.error, IndexError):  # it ends before its header does
        return None
    return found if found is not None and 0 < found.width * found.height <= MAX_PIXELS else None


def ends_whole(form: str, head: bytes, end: bytes, size: int) -> bool:
    """Tell whether a file of a format that says so (JPEG, GIF, WebP, BMP by Pillow's names) is as long as it should be.

    Args:
        form: Pillow's name of the format; for others than these the answer is False.
        head: the first bytes.
        end: the last bytes.
        size: of the file, in bytes.
    """
    if form in ("JPEG", "MPO"):
        return _jpeg_ends(end)
    if form == "GIF":
        return end[-_PADDING:].rstrip(b"\0").endswith(b";")
    if form == "WEBP":
        return size >= 8 + int.from_bytes(head[4:8], "little")
    return form == "BMP" and size >= int.from_bytes(head[2:6], "little") > 26


def _jpeg_ends(end: bytes) -> bool:
    """Tell whether a JPEG ends as it should; some cameras and disks fill up with zeros."""
    return end.endswith(b"\xff\xd9") or end[-_PADDING:].rstrip(b"\0").endswith(b"\xff\xd9")


def _jpeg(head: bytes) -> Checked | None:
    place, size, exif, described = 2, None, b"", False
    while True:
        mark, kind, length = _SEGMENT(head, place)
        if mark != 0xFF or length < 2:
            return None
        if kind in _FRAMES:
            bits, height, width, layers = _FRAME(head, place + 4)
            if bits != 8 or layers not in (1, 3, 4) or size is not None:
                return None
            size = width, height
        elif kind == _SCAN:
            break
        elif kind not in _PASSED:
            return None
        elif kind == 0xE1:
            if head.startswith(b"Exif\0\0", place + 4):
                if exif:  # in several parts
                    return None
                exif = head[place + 10 : place + 2 + length]
            elif head.startswith(b"http://ns.adobe.com/xap/", place + 4):
                described = True
        elif kind == 0xE2 and head.startswith(b"MPF\0", place + 4):
            return None
        place += 2 + length
    turn = _turn(exif) if exif else 0
    if size is None or turn is None or (described and not turn):
        return None
    return as_shown(".jpg", *size, turn)


def _turn(exif: bytes) -> int | None:
    """Return the orientation that an EXIF block holds, 0 if it holds none, None if it is damaged or odd."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    place = struct.unpack_from(order + "I", exif, 4)[0]
    count = struct.unpack_from(order + "H", exif, place)[0]
    found = 0
    for number in range(count):
        tag, kind, values, inside = struct.unpack_from(order + "HHI4s", exif, place + 2 + 12 * number)
        size = _SIZES.get(kind)
        if size is None or (size * values > 4 and struct.unpack(order + "I", inside)[0] + size * values > len(exif)):
            return None  # Pillow may stop reading here
        if tag == _ORIENTATION:
            if found or kind != 3 or values != 1:
                return None
            found = int(struct.unpack_from(order + "H", inside)[0])
    return found


def _png(content: bytes) -> Checked | None:
    width, height = _TWO_SIDES(content, 16)
    place, kind, exif, described = 33, b"", b"", False
    while kind != b"IEND":
        length, kind = _CHUNK(content, place)
        if kind == b"eXIf":
            if exif:
                return None
            exif = content[place + 8 : place + 8 + length]
        elif kind == b"iTXt" and content.startswith(_XMP, place + 8):
            described = True
        elif kind in _TEXTS:
            if content.startswith(_TELLING, place + 8):
                return None
        elif kind not in _HARMLESS:
            return None
        place += 12 + length
    turn = _turn(exif) if exif else 0
    if place > len(content) or turn is None or (described and not turn):
        return None
    return as_shown(".png", width, height, turn)
