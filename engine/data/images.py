"""Reading pictures: whatever a user's file holds becomes plain RGB, or a sentence saying why not.

Also the one geometry that evaluation, Try and the exported model share (`for_model`), and thumbnails for the pages.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from engine import workspace
from engine.data import arrivals, geometry
from engine.data.measured import MAX_PIXELS, Checked, as_shown
from engine.errors import StudioError

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "THUMBNAIL_SIZES",
    "UNREADABLE",
    "check",
    "check_and_open",
    "check_and_shade",
    "fit_of",
    "for_model",
    "from_header",
    "is_plain_jpeg",
    "looked_at",
    "open_rgb",
    "opened",
    "store_px_of",
    "stored",
    "stored_hw",
    "stored_square",
    "thumbnail",
]

FORMATS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif", "PPM": ".ppm", "AVIF": ".avif"}
"""What Pillow may decode here, by its own name, and the suffix a copy gets. Others (EPS runs a program) are never tried."""

SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"])
"""Endings by which a file is taken for a picture at all; its content then decides."""

THUMBNAIL_SIZES = (96, 192, 384, 768, 2048, 4096)
"""Longest sides in pixels; the two largest are for drawing on, the others for looking at."""

Image.MAX_IMAGE_PIXELS = 2 * MAX_PIXELS  # Pillow's own fence, behind ours: it warns from here and refuses from twice this

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    RuntimeError,
    MemoryError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files, by their sources and by fuzzing."""

_TURNED_BY_EXIF = frozenset(["JPEG", "MPO", "GIF", "BMP", "WEBP"])
"""Formats whose header has it all: a PNG's EXIF may stand behind its pixels, and Pillow turns a TIFF while it decodes it."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def _name(source: Path | BinaryIO, name: str | None) -> str:
    return name or (source.name if isinstance(source, Path) else "the picture")


def _opened(source: Path | BinaryIO, name: str) -> Image.Image:
    """Read the header only.

    Raises:
        StudioError: if it is gone, no picture, or too large.
    """
    try:
        picture = Image.open(source, formats=[known for known in FORMATS if known != "MPO"])  # Pillow finds MPO by itself, in JPEG
    except FileNotFoundError as error:
        if isinstance(source, Path) and arrivals.bring(source):
            return _opened(source, name)
        raise StudioError(f"the picture {name} is gone", "Put it back where it was, or remove it from the project.") from error
    except Image.DecompressionBombError as error:
        raise StudioError(f"{name} claims more than {MAX_PIXELS // 1_000_000} megapixels", "Save it smaller, then import it again.") from error
    except UNREADABLE as error:
        raise StudioError(f"{name} is not a picture that can be read", "Save it as JPEG or PNG, then import it again.") from error
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise StudioError(
            f"{name} has {picture.width * picture.height // 1_000_000} megapixels, more than {MAX_PIXELS // 1_000_000}",
            "Save it smaller, then import it again.",
        )
    return picture


def _damaged(name: str, error: BaseException) -> StudioError:
    return StudioError(f"{name} is damaged or cut short ({str(error)[:80] or type(error).__name__})", "Replace it by a whole copy, or remove it.")


def from_header(source: Path | BinaryIO, name: str) -> tuple[str, Checked] | None:
    """Return Pillow's name of a picture's format and how it is shown, without decoding; None where only decoding tells.

    Raises:
        StudioError: if it is no picture, or too large.
    """
    with _opened(source, name) as picture:
        form = picture.format or "PNG"
        if form not in _TURNED_BY_EXIF:
            return None
        try:
            return form, as_shown(FORMATS[form], picture.width, picture.height, picture.getexif().get(0x0112, 1))
        except UNREADABLE as error:
            raise _damaged(name, error) from error


def check(source: Path | BinaryIO, name: str | None = None) -> Checked:
    """Decode a picture as cheaply as finding damage allows (a JPEG at an eighth of its size), and measure it.

    Raises:
        StudioError: if it is not a whole picture.
    """
    called = _name(source, name)
    with _opened(source, called) as picture:
        width, height, suffix = picture.width, picture.height, FORMATS[picture.format or "PNG"]
        try:
            picture.draft(None, (1, 1))
            picture.load()
            turn = picture.getexif().get(0x0112, 1)
        except UNREADABLE as error:
            raise _damaged(called, error) from error
    return as_shown(suffix, width, height, turn)


def open_rgb(source: Path | BinaryIO, size_px: int | None = None, name: str | None = None) -> Image.Image:
    """Decode a picture to RGB as a viewer shows it: turned by EXIF, the first frame, transparency on white, 16 bits scaled to 8.

    Args:
        source: a file's path, or an open binary file.
        size_px: the short side, in pixels, that the picture will be resized to. A JPEG at least four times as large is decoded
            at a half, quarter or eighth, never below twice this: several times faster, by 1 to 2 of 255 different.
        name: what to call it in an error.

    Raises:
        StudioError: if it is gone, damaged, no picture, or larger than MAX_PIXELS.
    """
    return check_and_open(source, size_px, name)[1]


def check_and_open(source: Path | BinaryIO, size_px: int | None = None, name: str | None = None) -> tuple[Checked, Image.Image]:
    """Do what `check` and `open_rgb` do, decoding once."""
    return _checked_and_opened(source, size_px, name, _to_rgb, "RGB")


def check_and_shade(source: Path | BinaryIO, size_px: int | None = None, name: str | None = None) -> tuple[Checked, Image.Image]:
    """Do what `check_and_open` does where only brightness is looked at: the picture comes in grey, a JPEG without its colours being decoded."""
    return _checked_and_opened(source, size_px, name, _to_shade, "L")


def _checked_and_opened(
    source: Path | BinaryIO, size_px: int | None, name: str | None, converted: Callable[[Image.Image], Image.Image], mode: str
) -> tuple[Checked, Image.Image]:
    called = _name(source, name)
    with _opened(source, called) as picture:
        width, height, suffix = picture.width, picture.height, FORMATS[picture.format or "PNG"]
        try:
            if size_px is not None:
                picture.draft(mode, (2 * size_px, 2 * size_px))
            picture.load()
            turn = picture.getexif().get(0x0112, 1)
            if turn != 1:
                ImageOps.exif_transpose(picture, in_place=True)
            return as_shown(suffix, width, height, turn), converted(picture)
        except UNREADABLE as error:
            raise _damaged(called, error) from error


def opened(source: Path | BinaryIO, preprocessing: Mapping[str, Any], name: str | None = None) -> Image.Image:
    """Decode a picture to RGB as a model's preprocessing wants it: a large JPEG reduced where only a part of it is looked at.

    Raises:
        StudioError: as `open_rgb`.
    """
    return open_rgb(source, None if fit_of(preprocessing) == "whole" else store_px_of(preprocessing), name)


def is_plain_jpeg(source: Path | BinaryIO, preprocessing: Mapping[str, Any], name: str | None = None) -> bool:
    """Tell from the header whether `opened` would only decode: a JPEG in RGB that is neither turned nor reduced.

    Raises:
        StudioError: if it is gone, no picture, or larger than MAX_PIXELS.
    """
    with _opened(source, _name(source, name)) as picture:
        if picture.format != "JPEG" or picture.mode != "RGB":
            return False
        whole = picture.size
        try:
            if fit_of(preprocessing) != "whole":
                picture.draft(None, (2 * store_px_of(preprocessing),) * 2)
            return picture.size == whole and picture.getexif().get(0x0112, 1) == 1
        except UNREADABLE:
            return False


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        return _scaled_to_8_bit(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()


def _to_shade(picture: Image.Image) -> Image.Image:
    plain = picture.mode in ("L", "RGB") and "transparency" not in picture.info
    return picture.convert("L") if plain else _to_rgb(picture).convert("L")


def _scaled_to_8_bit(picture: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey: Pillow's own conversion would clip them to white."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float32))
    high = float(values.max(initial=0.0))
    full = 1.0 if high <= 1.0 and picture.mode == "F" else 255.0 if high <= 255.0 else 65535.0 if high <= 65535.0 else high
    return Image.fromarray((np.clip(values / full, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)).convert("RGB")


def fit_of(preprocessing: Mapping[str, Any]) -> str:
    """Return what of a picture a model sees: 'crop', the centre of its central square; 'stretch', all of it pressed into a square; 'whole', in a frame."""
    return str(preprocessing.get("fit", "crop"))


def looked_at(width: int, height: int, fit: str) -> tuple[int, int, int, int]:
    """Return the part (left, top, right, bottom) of a picture that becomes the stored square.

    >>> looked_at(60, 40, "crop"), looked_at(60, 40, "stretch")
    ((10, 0, 50, 40), (0, 0, 60, 40))
    """
    across, down = (width, height) if fit == "stretch" else (min(width, height),) * 2
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def store_px_of(preprocessing: Mapping[str, Any]) -> int:
    """Return the side, in pixels, of the square from whose centre the model's input is cut.

    >>> store_px_of({"image_size": 224, "crop_share": 0.875})
    256
    """
    return max(int(preprocessing["image_size"]), round(preprocessing["image_size"] / preprocessing["crop_share"]))


def stored_hw(preprocessing: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width, in pixels, in which a picture is kept decoded: the square above, or where it is shown whole the model's input.

    >>> stored_hw({"fit": "whole", "image_size": 320, "height": 256, "width": 320})
    (256, 320)
    """
    if fit_of(preprocessing) != "whole":
        return (store_px_of(preprocessing),) * 2
    return tuple(int(preprocessing.get(side) or preprocessing["image_size"]) for side in ("height", "width"))  # type: ignore[return-value]


def stored(picture: Image.Image, preprocessing: Mapping[str, Any]) -> np.ndarray:
    """Bring an RGB picture into the form in which it is kept decoded: uint8 [height, width, 3]."""
    height, width = stored_hw(preprocessing)
    if fit_of(preprocessing) != "whole":
        return np.asarray(stored_square(picture, height, preprocessing["interpolation"], fit_of(preprocessing)))
    return geometry.shown_whole(picture, geometry.placed(*picture.size, (height, width)), (height, width), _FILTERS[preprocessing["interpolation"]])


def stored_square(picture: Image.Image, store_px: int, interpolation: str, fit: str = "crop") -> Image.Image:
    """Cut what is looked at out of a picture, its central square by default, and resize it to store_px, antialiased."""
    return picture.crop(looked_at(*picture.size, fit)).resize((store_px, store_px), _FILTERS[interpolation])


def for_model(picture: Image.Image, preprocessing: Mapping[str, Any]) -> np.ndarray:
    """Bring a picture into the form the model was made for: the central square, resized, and its centre; all of it pressed into a
    square ('stretch'); or the whole in a frame (`engine.data.geometry`).

    `preprocessing` holds image_size, crop_share, interpolation ('bilinear' or 'bicubic'), mean and std; the last two are applied
    inside the model. Where the whole is shown it also holds fit, height and width. Open files with `opened(path, preprocessing)` to get
    exactly what evaluation saw.

    Returns:
        uint8, image_size x image_size x 3, or height x width x 3.
    """
    if fit_of(preprocessing) == "whole":
        return stored(picture if picture.mode == "RGB" else _to_rgb(picture), preprocessing)
    store_px, size_px = store_px_of(preprocessing), int(preprocessing["image_size"])
    edge = (store_px - size_px) // 2
    rgb = picture if picture.mode == "RGB" else _to_rgb(picture)
    return np.asarray(stored_square(rgb, store_px, preprocessing["interpolation"], fit_of(preprocessing)))[edge : edge + size_px, edge : edge + size_px]


def thumbnail(item_id: int, size_px: int) -> Path:
    """Return a JPEG of a picture whose longer side is at most size_px, made on first use.

    Raises:
        StudioError: if size_px is none of THUMBNAIL_SIZES, or the picture is gone or damaged.
    """
    if size_px not in THUMBNAIL_SIZES:
        raise StudioError(f"there are no thumbnails of {size_px} pixels", f"Choose one of {', '.join(map(str, THUMBNAIL_SIZES))}.")
    from engine.data import items  # the database is slow to import, and the processes that decode pictures have no use for it

    item = items.get_item(item_id)
    path = workspace.cache("thumbs") / item.sha256[:2] / f"{item.sha256}-{size_px}.jpg"
    if not path.exists():
        picture = open_rgb(item.path, size_px, item.name)
        picture.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        _put(path, picture)
    return path


def _put(path: Path, picture: Image.Image) -> None:
    """Write beside, then replace; not flushed, since a thumbnail lost to a power cut is made again."""
    path.parent.mkdir(exist_ok=True)
    descriptor, beside = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            picture.save(file, "JPEG", quality=86)
        Path(beside).replace(path)
    except OSError as error:
        Path(beside).unlink(missing_ok=True)
        raise workspace.disk_error(error, path) from error
