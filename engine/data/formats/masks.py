"""Mask pictures: every pixel says its class, by an index or a colour. images/ beside masks/, SegmentationClass of VOC, 1.jpg beside 1_mask.png."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.data import shapes
from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, label_name, one, split_in
from engine.data.formats.files import Files
from engine.data.formats.voc import listed_splits
from engine.data.images import UNREADABLE
from engine.data.measured import MAX_PIXELS
from engine.errors import StudioError

__all__ = ["FORMATS", "Palette", "drawn_in", "voc_colours"]

MOST_VALUES = 256
SAMPLE = 60
_FEW = 64
"""A picture with more different values than this is a photograph, not a mask."""

_FOLDER = re.compile(r"(^|[_\- ])(masks?|segmentationclass(?:raw)?|segmentation|labels?|annotations?|gt|ground_?truth|seg)($|[_\- ])", re.IGNORECASE)
_ENDING = re.compile(r"[_\-](mask|masks|seg|segmentation|label|labels|gt)$", re.IGNORECASE)
_SURE = re.compile(r"(^|/)(masks?|SegmentationClass)/", re.IGNORECASE)
_MAPPED = re.compile(r"(.+):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::[^:]*){0,2}")
_LISTED = re.compile(r"(.+?)[,;]\s*(\d{1,3})\s*[,;]\s*(\d{1,3})\s*[,;]\s*(\d{1,3})\s*")
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")
_NOTHING = ("background", "_background_", "unlabelled", "unlabeled", "none", "bg", "ignore", "void", "__ignore__")
_VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]


@dataclass
class Palette:
    """What the values of mask pictures mean. Colours are 0xRRGGBB.

    Attributes:
        values: index -> class, '' for nothing.
        colours: colour -> class, '' for nothing.
        binary: a mask is black with 255 where the one class is.
    """

    values: dict[int, str] = field(default_factory=dict)
    colours: dict[int, str] = field(default_factory=dict)
    binary: bool = False

    def of_value(self, value: int) -> str:
        """Return the class of an index, '' where it is nothing."""
        if value in self.values:
            return self.values[value]
        if self.binary:
            return "foreground" if value else ""
        return "" if value in (0, 255) else f"class {value}"

    def of_colour(self, colour: int) -> str:
        """Return the class of a colour, '' where it is nothing."""
        if colour in self.colours:
            return self.colours[colour]
        return "" if colour == 0 else f"#{colour:06x}"


def voc_colours(count: int = 256) -> NDArray[np.uint8]:
    """Return the colour map of the VOC development kit [count, 3]: neighbours differ clearly.

    >>> voc_colours(3).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
    made = np.zeros((count, 3), np.uint8)
    for index in range(count):
        for bit in range(8):
            for channel in range(3):
                made[index, channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return made


def _key(name: str) -> tuple[str, bool]:
    """Return a name without what makes it a mask, and whether it looks like one."""
    folder, _, file = name.rpartition("/")
    stem, suffix = file[: file.rfind(".")], file[file.rfind(".") :].casefold()
    bare = _ENDING.sub("", stem)
    return bare.casefold(), suffix in _LOSSLESS and (bare != stem or _in_mask_folder(folder))


@lru_cache(maxsize=256)
def _in_mask_folder(folder: str) -> bool:
    return any(_FOLDER.search(part) for part in folder.split("/"))


def _pairs(files: Files) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return picture -> (mask, instance mask or ''), and pictures that have none."""
    masks: dict[str, list[str]] = {}
    objects: dict[str, str] = {}
    photos: list[str] = []
    for name in files.pictures:
        folded = name.casefold()
        if "segmentationobject" in folded:
            objects[_key(name)[0]] = name
            continue
        key, looks = _key(name) if folded.endswith(_LOSSLESS) else ("", False)
        if looks:
            masks.setdefault(key, []).append(name)
        else:
            photos.append(name)
    if not masks:  # as in most data sets
        return {}, photos
    pairs: dict[str, tuple[str, str]] = {}
    rest = []
    for photo in photos:
        key = _key(photo)[0]
        found = _nearest(photo, masks.get(key, []))
        if found:
            pairs[photo] = (found, objects.get(key, ""))
        else:
            rest.append(photo)
    return pairs, rest


def _nearest(photo: str, found: list[str]) -> str | None:
    """Choose among masks of one name the one whose folders are most like the picture's: train/masks for train/images."""
    if len(found) < 2:
        return found[0] if found else None
    words = set(re.split(r"[/_\-.]", photo.casefold()))
    return max(found, key=lambda name: (len(words & set(re.split(r"[/_\-.]", name.casefold()))), name))


def _opened(stream: BinaryIO) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return a mask's values [height, width], colours as 0xRRGGBB, and the colours of its indices [n, 3] if it has a palette.

    Raises:
        ValueError: if it is no picture or too large.
    """
    try:
        with Image.open(stream, formats=["PNG", "BMP", "TIFF", "GIF"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError("too large")
            picture.load()
            if picture.mode == "P":
                raw = picture.getpalette() or []
                return np.asarray(picture), np.asarray(raw[: len(raw) // 3 * 3], np.uint8).reshape(-1, 3)
            if picture.mode in ("RGB", "RGBA"):
                rgb = np.asarray(picture.convert("RGB")).astype(np.int64)
                return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], None
            grey = picture.convert("L") if picture.mode in ("1", "LA") else picture
            values = np.asarray(grey)
    except UNREADABLE as error:
        raise ValueError("it is no picture") from error
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise ValueError(f"its form ({grey.mode}) is none of a mask")
    return values, None


def _is_colour(values: NDArray[Any]) -> bool:
    return values.dtype == np.int64


def _named(values: NDArray[Any], colours: NDArray[np.uint8] | None, palette: Palette) -> Callable[[int], str]:
    """Return what tells the class of a value in this mask: by its colour where the colours have names, else by its index."""
    if _is_colour(values):
        return palette.of_colour
    if colours is not None and palette.colours:

        def by_colour(value: int) -> str:
            red, green, blue = (int(part) for part in colours[value]) if value < len(colours) else (-1, -1, -1)
            named = palette.colours.get(red << 16 | green << 8 | blue)
            return palette.of_value(value) if named is None else named

        return by_colour
    return palette.of_value


def _distinct(values: NDArray[Any]) -> list[int]:
    found = np.unique(values)
    if len(found) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} different values: a photograph, or blurred by JPEG")
    return [int(value) for value in found]


def drawn_in(palette: Palette, files_open: Callable[[str], Any], masks: tuple[str, str]) -> list[Drawn]:
    """Return the labels that a mask picture holds: one for each class, or for each thing where a second picture tells things apart.

    Raises:
        StudioError: if it cannot be read as a mask.
    """
    try:
        with files_open(masks[0]) as stream:
            values, colours = _opened(stream)
        name_of = _named(values, colours, palette)
        if masks[1]:
            with files_open(masks[1]) as stream:
                return _things(values, _opened(stream)[0], name_of)
        together: dict[str, NDArray[np.bool_]] = {}
        for value in _distinct(values):
            label = name_of(value)
            if label:
                inside = values == value
                together[label] = together[label] | inside if label in together else inside
        return [_mask(label, inside) for label, inside in together.items()]
    except DAMAGE as error:
        raise StudioError(f"the mask {masks[0]} cannot be used ({str(error)[:80]})", "Save it as PNG with one value a class.") from error


def _things(values: NDArray[Any], objects: NDArray[Any], name_of: Callable[[int], str]) -> list[Drawn]:
    if objects.shape != values.shape:
        raise ValueError("the masks of classes and of things differ in size")
    made = []
    for thing in _distinct(objects):
        inside = objects == thing
        if thing == 0 or (thing == 255 and objects.dtype == np.uint8):
            continue
        found = Counter({int(value): int(count) for value, count in zip(*np.unique(values[inside], return_counts=True), strict=True)})
        label = next((name for value, _ in found.most_common() if (name := name_of(value))), "")
        if label:
            made.append(_mask(label, inside))
    return made


def _mask(label: str, inside: NDArray[np.bool_]) -> Drawn:
    kept = shapes.mask_from(inside)
    return Drawn(label, "mask", (*kept["size"], kept["counts"]))


def _sampled(files: Files, pairs: dict[str, tuple[str, str]], count: int) -> list[tuple[NDArray[Any], NDArray[np.uint8] | None]]:
    names = [mask for mask, _ in pairs.values()]
    opened = []
    for name in names[:: max(1, len(names) // count)][:count]:
        try:
            with files.open(name) as stream:
                opened.append(_opened(stream))
        except (StudioError, OSError, *DAMAGE):
            continue
    return opened


def _detect(files: Files) -> float:
    if files.only:
        return 0.0
    pairs, rest = _pairs(files)
    if not pairs or (2 * len(pairs) < len(rest) and not any(_SURE.search(mask) for mask, _ in pairs.values())):
        return 0.0
    some = _sampled(files, pairs, 4)
    few = [len(np.unique(values)) <= _FEW for values, _ in some]
    return 0.85 if few and all(few) else 0.0


def _read(files: Files) -> DataSet | None:
    pairs, rest = _pairs(files)
    if not pairs:
        return None
    data = DataSet("masks", task="instance-segmentation" if any(thing for _, thing in pairs.values()) else "semantic-segmentation")
    data.used.update(name for both in pairs.values() for name in both if name)
    splits = listed_splits(files, data.used)
    data.palette, data.classes = _palette(files, pairs, data.used)
    for photo in sorted(pairs):
        data.pictures.append(Found(photo, None, _split(photo, splits), reviewed=True, masks=pairs[photo]))
    data.pictures += [Found(photo, None, _split(photo, splits)) for photo in rest]
    if rest:
        data.problems.append(f"{one(len(rest), 'picture has', 'pictures have')} no mask and come{'s' if len(rest) == 1 else ''} without labels")
    taken = {mask for both in pairs.values() for mask in both}
    alone = [name for name in files.pictures if name not in taken and _key(name)[1]]
    if alone:
        data.problems.append(f"{one(len(alone), 'mask has', 'masks have')} no picture of the same name (first: {alone[0][:100]})")
    return data


def _split(photo: str, splits: dict[str, str]) -> str | None:
    file = photo.rpartition("/")[2]
    return splits.get(file[: file.rfind(".")]) or (None if splits else split_in(photo.rpartition("/")[0]))


def _palette(files: Files, pairs: dict[str, tuple[str, str]], used: set[str]) -> tuple[Palette, list[str]]:
    """Find out what the values mean: a list of names beside them, VOC's own classes, or nothing but numbers and colours."""
    palette = Palette()
    some = _sampled(files, pairs, SAMPLE)
    greys = {int(value) for values, _ in some if not _is_colour(values) for value in np.unique(values)[: 2 * MOST_VALUES]}
    palette.binary = bool(greys) and greys <= {0, 255}
    named = _listed(files, palette, used, max(greys - {255}, default=0))
    if not named and any("SegmentationClass" in mask for mask, _ in pairs.values()) and max(greys - {255}, default=0) <= len(_VOC):
        palette.values = dict(enumerate(["", *_VOC]))
        palette.colours = {_packed(colour): name for colour, name in zip(voc_colours(len(_VOC) + 1), ["", *_VOC], strict=True)}
    found: dict[str, None] = dict.fromkeys(named)
    for values, colours in some:
        name_of = _named(values, colours, palette)
        found.update((name, None) for value in np.unique(values)[:MOST_VALUES] if (name := name_of(int(value))))
    return palette, list(found)


def _packed(colour: NDArray[np.uint8]) -> int:
    red, green, blue = (int(part) for part in colour)
    return red << 16 | green << 8 | blue


def _listed(files: Files, palette: Palette, used: set[str], highest: int) -> list[str]:
    """Read labelmap.txt (name:r,g,b), class_dict.csv (name,r,g,b) or a plain list of names, and return the names."""
    for name in [*files.others.get(".txt", ()), *files.others.get(".csv", ())][:200]:
        file = name.rpartition("/")[2].casefold()
        if file not in ("labelmap.txt", "label_map.txt", "labels.txt", "classes.txt", "class_names.txt", "class_dict.csv", "classes.csv", "labels.csv"):
            continue
        lines = [line.strip() for line in files.text(name).splitlines() if line.strip() and not line.startswith("#")]
        coloured = [_MAPPED.fullmatch(line) or _LISTED.fullmatch(line) for line in lines]
        if any(coloured):
            used.add(name)
            for number, match in enumerate(match for match in coloured if match):
                label = label_name(match[1])
                meant = "" if label.casefold() in _NOTHING else label
                palette.colours[int(match[2]) << 16 | int(match[3]) << 8 | int(match[4])] = meant
                palette.values[number] = meant
            return [label for label in palette.colours.values() if label]
        if file.endswith(".txt") and 0 < len(lines) <= MOST_VALUES:
            used.add(name)
            names = [label_name(line) for line in lines]
            first = 0 if names[0].casefold() in _NOTHING or len(names) > highest else 1
            palette.values = {0: "", **{number: "" if label.casefold() in _NOTHING else label for number, label in enumerate(names, first)}}
            return [label for label in palette.values.values() if label]
    return []


FORMATS = (Format("masks", "Mask pictures", "a picture and, beside it, a picture of its classes", _detect, _read),)
