"""What the header reader says is what Pillow says, of files of every kind and of damaged ones; where it is not sure it says nothing."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from engine.data import headers, images
from engine.data.measured import Checked
from engine.errors import StudioError

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8))


def saved(form: str, mode: str = "RGB", **options: Any) -> bytes:
    memory = io.BytesIO()
    NOISE.convert(mode).save(memory, form, **options)
    return memory.getvalue()


def exif(turn: object, order: str = "<", before: int = 2) -> bytes:
    """An EXIF block with some texts before the orientation and one number after it."""
    count = before + 2
    texts, entries = b"", b""
    for number in range(before):
        text = b"some camera\0"
        entries += struct.pack(order + "HHII", 0x010E + number, 2, len(text), 8 + 2 + 12 * count + 4 + len(texts))
        texts += text
    entries += struct.pack(order + "HHIHH", 0x0112, 3, 1, turn, 0) + struct.pack(order + "HHIHH", 0x0128, 3, 1, 2, 0)
    begin = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + begin + struct.pack(order + "IH", 8, count) + entries + struct.pack(order + "I", 0) + texts


def by_pillow(content: bytes) -> Checked:
    return images.check_and_shade(io.BytesIO(content), 128, "it")[0]


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


def texts(**keywords: str) -> PngImagePlugin.PngInfo:
    found = PngImagePlugin.PngInfo()
    for key, value in keywords.items():
        found.add_text(key.replace("_", " "), value)
    return found


SETTLED = {
    "baseline": saved("JPEG"),
    "progressive": saved("JPEG", progressive=True),
    "grey": saved("JPEG", "L"),
    "cmyk": saved("JPEG", "CMYK"),
    "comment": saved("JPEG", comment=b"hello"),
    "restarts": saved("JPEG", restart_marker_blocks=2),
    "colour profile": saved("JPEG", icc_profile=b"p" * 100_000),
    "thumbnail inside exif": saved("JPEG", exif=exif(1) + saved("JPEG", quality=5)),
    "filled up with zeros": saved("JPEG") + bytes(600),
    "xmp beside exif": saved("JPEG", exif=exif(3), xmp=XMP),
    **{f"turned {turn}, {order}": saved("JPEG", exif=exif(turn, order)) for turn in range(10) for order in "<>"},
    **{f"png {mode}": saved("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")},
    "png with texts": saved("PNG", pnginfo=texts(Software="x", Comment="y")),
    "png with more behind": saved("PNG") + b"more",
    **{f"png turned {turn}": saved("PNG", exif=exif(turn)) for turn in range(1, 9)},
}


@pytest.mark.parametrize("name", SETTLED)
def test_ordinary_files_are_settled_as_pillow_would(name: str) -> None:
    assert headers.plain(SETTLED[name]) == by_pillow(SETTLED[name])


def _mpo() -> bytes:
    return saved("MPO", save_all=True, append_images=[NOISE.rotate(90)], exif=exif(6))


def _two_parts() -> bytes:
    whole, block = saved("JPEG"), exif(6)
    return whole[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in (block[:60], b"Exif\0\0" + block[60:])) + whole[2:]


LEFT_TO_PILLOW = {
    "mpo": _mpo(),
    "exif in two parts": _two_parts(),
    "turned by xmp": saved("JPEG", xmp=XMP),
    "exif that points out of itself": saved("JPEG", exif=exif(6)[:-10]),
    "png turned by xmp": saved("PNG", pnginfo=texts(**{"XML:com.adobe.xmp": XMP.decode()})),
    "png turned by a raw profile": saved("PNG", pnginfo=texts(Raw_profile_type_exif=f"\nexif\n{len(exif(8))}\n{exif(8).hex()}\n")),
    "gif": saved("GIF"),
    "bmp": saved("BMP"),
    "webp": saved("WEBP", exif=exif(6)),
    "tiff": saved("TIFF"),
    "jpeg with a film behind": saved("JPEG") + b"ftypmp42",
}


@pytest.mark.parametrize("name", LEFT_TO_PILLOW)
def test_odd_files_are_left_to_pillow_which_can_read_them(name: str) -> None:
    assert headers.plain(LEFT_TO_PILLOW[name]) is None
    assert by_pillow(LEFT_TO_PILLOW[name]).width > 0


@pytest.mark.parametrize("name", ["mpo", "gif", "bmp", "webp"])
def test_formats_whose_header_pillow_reads_need_no_decoding(name: str) -> None:
    content = LEFT_TO_PILLOW[name]
    form, found = images.from_header(io.BytesIO(content), "it") or ("", None)
    assert found == by_pillow(content)
    assert headers.ends_whole(form, content, content, len(content))
    short = content[: len(content) - 3]
    assert not headers.ends_whole(form, short, short, len(short))


def test_a_tiff_is_turned_while_it_is_decoded() -> None:
    assert images.from_header(io.BytesIO(saved("TIFF")), "it") is None
    assert not headers.ends_whole("TIFF", b"", b"", 0)


@pytest.mark.parametrize("name", ["baseline", "progressive", "png RGB"])
def test_what_is_cut_short_is_not_settled(name: str) -> None:
    whole = SETTLED[name]
    assert [length for length in range(len(whole)) if headers.plain(whole[:length]) is not None] == []


def test_the_beginning_and_the_end_of_a_large_jpeg_are_enough() -> None:
    whole = SETTLED["turned 6, <"]
    assert headers.plain(whole[:1500], whole[-64:]) == by_pillow(whole)
    assert headers.plain(whole[:1500], whole[-64:-1]) is None
    assert headers.plain(SETTLED["png RGB"][:1500], SETTLED["png RGB"][-64:]) is None


def test_a_picture_that_claims_too_much_is_left_to_pillow() -> None:
    huge = bytearray(SETTLED["png RGB"])
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    assert headers.plain(bytes(huge)) is None


@pytest.mark.parametrize("name", ["turned 6, <", "turned 8, >", "xmp beside exif", "progressive"])
def test_of_damaged_headers_it_says_what_pillow_says_or_nothing(name: str) -> None:
    """Where Pillow refuses a file the header may be settled: looking at it finds that."""
    whole, chance = SETTLED[name], np.random.default_rng(7)
    read = differ = 0
    for _ in range(1500):
        content = bytearray(whole)
        for place in chance.integers(2, 500, chance.integers(1, 4)):
            content[place] = chance.integers(256)
        found = headers.plain(bytes(content))
        if found is None:
            continue
        try:
            differ += found != by_pillow(bytes(content))
            read += 1
        except StudioError:
            continue
    assert differ == 0
    assert read > 50
