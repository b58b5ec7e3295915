from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.data import images, importing, items, measured
from engine.data.projects import Project
from engine.errors import StudioError

PREPROCESSING = {"image_size": 224, "crop_share": 0.875, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 9))
        + chunk(b"IEND", b"")
    )


def _jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("empty.jpg", b"", "not a picture"),
        ("text.png", b"hello, I am no picture", "not a picture"),
        ("vector.png", SVG, "not a picture"),
        ("postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        ("half.jpg", _jpeg()[: len(_jpeg()) // 2], "damaged or cut short"),
        ("header.jpg", _jpeg()[:200], "not a picture|damaged"),
        ("bomb.png", _png_header(100_000, 100_000), "megapixels"),
        ("big.png", _png_header(12_001, 10_000), "120 megapixels, more than 120"),
        ("short.png", _png_header(100, 100), "damaged or cut short"),
    ],
)
@pytest.mark.parametrize("read", [images.open_rgb, images.check])
def test_what_cannot_be_read_is_said(tmp_path: Path, read: Callable[[Path], object], name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StudioError, match=problem) as caught:
        read(path)
    assert name in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="gone.jpg is gone"):
        images.open_rgb(tmp_path / "gone.jpg")


def _shade(picture: Image.Image) -> tuple[int, ...]:
    return tuple(int(value) for value in np.asarray(picture)[5, 5])


def _transparent_palette() -> Image.Image:
    picture = Image.new("P", (10, 10), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.info["transparency"] = 1
    return picture


@pytest.mark.parametrize(
    ("make", "suffix", "expected"),
    [
        (lambda: Image.new("L", (10, 10), 77), ".png", (77, 77, 77)),
        (lambda: Image.new("1", (10, 10), 1), ".png", (255, 255, 255)),
        (lambda: Image.new("RGBA", (10, 10), (255, 0, 0, 0)), ".png", (255, 255, 255)),
        (lambda: Image.new("LA", (10, 10), (0, 0)), ".png", (255, 255, 255)),
        (_transparent_palette, ".png", (255, 255, 255)),
        (_transparent_palette, ".gif", (255, 255, 255)),
        (lambda: Image.new("CMYK", (10, 10), (0, 255, 255, 0)), ".tif", (255, 0, 0)),
        (lambda: Image.fromarray(np.full((10, 10), 32896, np.uint16)), ".png", (128, 128, 128)),
        (lambda: Image.fromarray(np.full((10, 10), 0.5, np.float32)), ".tif", (128, 128, 128)),
        (lambda: Image.fromarray(np.full((10, 10), 200, np.int32)), ".tif", (200, 200, 200)),
        (lambda: Image.fromarray(np.full((10, 10), np.nan, np.float32)), ".tif", (0, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, make: Callable[[], Image.Image], suffix: str, expected: tuple[int, ...]) -> None:
    path = tmp_path / f"picture{suffix}"
    make().save(path)
    opened = images.open_rgb(path)
    assert opened.mode == "RGB"
    assert _shade(opened) == expected


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    assert np.abs(np.array(_shade(images.open_rgb(path))) - (255, 0, 0)).max() < 8


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    first, second = Image.new("RGB", (10, 10), (0, 128, 0)), Image.new("RGB", (10, 10), (128, 0, 0))
    first.save(path, save_all=True, append_images=[second])
    assert _shade(images.open_rgb(path)) == (0, 128, 0)


def test_a_picture_is_turned_as_the_camera_was(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20] = 255  # white on the left; turned by 90 degrees clockwise it is on top
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    opened = np.asarray(images.open_rgb(path))
    assert opened.shape == (80, 40, 3)
    assert opened[:15].min() > 240
    assert opened[30:].max() < 15
    assert images.check(path) == measured.Checked(".jpg", 40, 80, 6)


def test_broken_colour_profile_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "profile.jpg"
    Image.new("RGB", (16, 16), (10, 200, 30)).save(path, icc_profile=b"rubbish" * 9)
    assert images.open_rgb(path).size == (16, 16)


def test_suffix_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    Image.new("RGB", (16, 12)).save(path, "PNG")
    assert images.check(path) == measured.Checked(".png", 16, 12)


def test_large_jpeg_is_decoded_small_but_never_below_twice_the_need(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.effect_noise((2400, 1800), 20).convert("RGB").resize((2400, 1800)).save(path)
    assert images.open_rgb(path).size == (2400, 1800)
    assert images.open_rgb(path, 224).size == (600, 450)
    assert images.open_rgb(path, 1000).size == (2400, 1800)


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (64, 64), (1, 50), (999, 17)])
@pytest.mark.parametrize(("image_size", "crop_share", "stored"), [(224, 0.875, 256), (96, 1.0, 96), (33, 0.9, 37)])
def test_the_models_input_is_the_centre_of_the_stored_square(size: tuple[int, int], image_size: int, crop_share: float, stored: int) -> None:
    preprocessing = {**PREPROCESSING, "image_size": image_size, "crop_share": crop_share}
    picture = Image.effect_noise(size, 90).convert("RGB")
    assert images.store_px_of(preprocessing) == stored
    square = np.asarray(images.stored_square(picture, stored, "bicubic"))
    edge = (stored - image_size) // 2
    given = images.for_model(picture, preprocessing)
    assert given.shape == (image_size, image_size, 3)
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given, square[edge : edge + image_size, edge : edge + image_size])


def test_for_model_looks_at_the_middle() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 255
    assert images.for_model(Image.fromarray(pixels), PREPROCESSING).min() > 250


def test_pressed_into_a_square_a_picture_keeps_its_edges() -> None:
    pixels = np.zeros((60, 180, 3), np.uint8)
    pixels[:, :30], pixels[:, 150:] = (250, 0, 0), (0, 0, 250)
    form = {**PREPROCESSING, "image_size": 48, "crop_share": 1.0, "fit": "stretch"}
    view = images.for_model(Image.fromarray(pixels), form)
    assert view.shape == (48, 48, 3)
    assert (view[:, :6, 0] > 240).all()
    assert (view[:, -6:, 2] > 240).all()
    assert view[:, 12:-12].max() == 0


def _encoded(format: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((24, 18), 80).convert("RGB").save(file, format)
    return file.getvalue()


WHOLE = {name: _encoded(name) for name in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")}


@settings(max_examples=300, deadline=None)
@given(format=st.sampled_from(sorted(WHOLE)), place=st.floats(0, 1), change=st.binary(min_size=1, max_size=6), cut=st.booleans())
def test_damage_anywhere_is_a_sentence_or_a_picture(format: str, place: float, change: bytes, cut: bool) -> None:
    content = bytearray(WHOLE[format])
    at = int(place**2 * (len(content) - 1))  # headers are where it matters
    content[at : at + len(change)] = change
    for read in (images.open_rgb, images.check):
        with contextlib.suppress(StudioError):  # any other error fails the test
            found = read(io.BytesIO(bytes(content[:at] if cut else content)))
            assert found.width * found.height <= measured.MAX_PIXELS


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_every_header_byte_may_be_wrong(name: str) -> None:
    for at in range(min(220, len(WHOLE[name]))):
        content = bytearray(WHOLE[name])
        content[at] ^= 0xFF
        for read in (images.open_rgb, images.check):
            with contextlib.suppress(StudioError):
                read(io.BytesIO(bytes(content)))


def test_thumbnails(project: Project, folder: Path, home: Path) -> None:
    importing.import_path(project.id, folder)
    item = items.list_items(project.id)[0]
    path = images.thumbnail(item.id, 96)
    with Image.open(path) as small:
        assert small.format == "JPEG"
        assert max(small.size) == 40  # never larger than the picture
    assert home in path.parents
    stamp = path.stat().st_mtime_ns
    assert images.thumbnail(item.id, 96) == path
    assert path.stat().st_mtime_ns == stamp, "made once"
    with pytest.raises(StudioError, match="no thumbnails of 97"):
        images.thumbnail(item.id, 97)
    item.path.unlink()
    with pytest.raises(StudioError, match="is gone"):
        images.thumbnail(item.id, 192)
