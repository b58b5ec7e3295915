"""Photographs composed with known cut-outs: what each pixel shows is known exactly, and everything in them was photographed.

Grounds: scikit-image's grass, gravel and brick and scikit-learn's view of a palace, cut anywhere. Things: coins and an eye's retina (scikit-image),
a flower (scikit-learn), each cut out along its own edge, turned, resized, lit anew. Clutter: pieces of other photographs in random outlines, which
are background, so that neither an outline nor a seam gives a thing away. Training and test pictures share no coin and no ground place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from engine.data.packaged import inside

__all__ = ["CLASSES", "Scene", "scenes"]

CLASSES = ("coin", "retina", "flower")
SIZE = (256, 192)
LEAST_PIXELS = 60
"""Of a thing that others cover: with fewer it counts as hidden."""
_SOFT_PX, _MARGIN = 0.7, 4
_SEEDS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Scene:
    """A picture, and for each thing in it which of CLASSES it is and the pixels that show it [height, width]."""

    picture: Image.Image
    things: list[tuple[int, NDArray[np.bool_]]]


def scenes(split: str, count: int) -> Iterator[Scene]:
    """Compose pictures of 256 x 192 px for 'train', 'val' or 'test'; the same ones each time."""
    half = int(split == "test")
    things = [kind[half::2] if len(kind) > 1 else kind for kind in (_coins(), _retina(), _flower())]
    grounds, clutter, chance = _grounds(), _clutter(), np.random.default_rng(_SEEDS[split])
    for _ in range(count):
        yield _scene(chance, things, grounds, clutter, half)


def _pixels(package: str, *parts: str) -> NDArray[np.uint8]:
    with Image.open(inside(package, *parts)) as file:
        return np.asarray(file.convert("RGB"))


def _largest(inside_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage  # takes 0.2 s to import, and only making a sample has a use for it

    numbered, count = ndimage.label(inside_HW)
    sizes = ndimage.sum(inside_HW, numbered, range(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(numbered == 1 + int(np.argmax(sizes))))


def _cut(pixels_HW3: NDArray[np.uint8], inside_HW: NDArray[np.bool_]) -> Image.Image:
    """Return a cut-out as RGBA, close round what is inside."""
    rows, columns = np.flatnonzero(inside_HW.any(1)), np.flatnonzero(inside_HW.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Image.fromarray(np.dstack([pixels_HW3[window], inside_HW[window].astype(np.uint8) * 255]))


def _coins() -> list[Image.Image]:
    from scipy import ndimage

    pixels = _pixels("skimage", "data", "coins.png")
    numbered, count = ndimage.label(ndimage.binary_closing(pixels[:, :, 0] > 110, iterations=3))
    regions = [ndimage.binary_fill_holes(numbered == place) for place in range(1, count + 1) if (numbered == place).sum() > 900]
    return [_cut(pixels, region) for region in regions if region.sum() < 8000]


def _retina() -> list[Image.Image]:
    pixels = np.asarray(Image.fromarray(_pixels("skimage", "data", "retina.jpg")).resize((300, 300)))
    return [_cut(pixels, _largest(pixels.max(2) > 25))]


def _flower() -> list[Image.Image]:
    from scipy import ndimage

    pixels = _pixels("sklearn", "datasets", "images", "flower.jpg")
    red, green, blue = (pixels[:, :, place].astype(int) for place in range(3))
    return [_cut(pixels, _largest(ndimage.binary_opening((red > 120) & (red > green + 40) & (blue < red), iterations=2)))]


def _grounds() -> list[NDArray[np.uint8]]:
    photographs = [_pixels("skimage", "data", f"{name}.png") for name in ("grass", "gravel", "brick")]
    return [*photographs, _pixels("sklearn", "datasets", "images", "china.jpg")]


def _clutter() -> list[NDArray[np.uint8]]:
    return [_pixels("skimage", "data", f"{name}.png") for name in ("chelsea", "coffee", "astronaut")]


def _lit(picture: Image.Image, chance: np.random.Generator) -> Image.Image:
    colour = np.asarray(picture.convert("RGBA"), np.float32).copy()
    colour[:, :, :3] = (colour[:, :, :3] * chance.uniform(0.6, 1.3) * chance.uniform(0.85, 1.15, 3)).clip(0, 255)
    return Image.fromarray(colour.astype(np.uint8))


def _piece(sources: list[NDArray[np.uint8]], chance: np.random.Generator) -> Image.Image:
    """Return a piece of a photograph in a random outline: a polygon, or an ellipse as round as a thing."""
    source, side = sources[chance.integers(len(sources))], int(chance.integers(30, 90))
    top, left = (int(chance.integers(0, full - side)) for full in source.shape[:2])
    outline = Image.new("L", (side, side))
    brush = ImageDraw.Draw(outline)
    if chance.random() < 0.5:
        brush.ellipse((1, 1, side - 2, int(side * chance.uniform(0.6, 1)) - 2), fill=255)
    else:
        angles = np.sort(chance.uniform(0, 2 * np.pi, 7))
        brush.polygon([(side / 2 + side / 2.2 * np.cos(a), side / 2 + side / 2.2 * np.sin(a)) for a in angles], fill=255)
    piece = Image.fromarray(source[top : top + side, left : left + side]).convert("RGBA")
    piece.putalpha(outline)
    return piece


def _laid(picture: Image.Image, cut: Image.Image, chance: np.random.Generator) -> NDArray[np.bool_]:
    """Lay a cut-out somewhere on a picture, in place, its edge softened; return which pixels it covers."""
    x, y = (int(chance.integers(-within // 4, max(1, full - 3 * within // 4))) for full, within in zip(picture.size, cut.size, strict=True))
    width, height = cut.size
    soft = Image.new("L", (width + 2 * _MARGIN, height + 2 * _MARGIN))
    soft.paste(cut.getchannel("A"), (_MARGIN, _MARGIN))
    colour = Image.new("RGB", soft.size)
    colour.paste(cut.convert("RGB"), (_MARGIN, _MARGIN))
    picture.paste(colour, (x - _MARGIN, y - _MARGIN), soft.filter(ImageFilter.GaussianBlur(_SOFT_PX)))
    layer = Image.new("L", picture.size)
    layer.paste(cut.getchannel("A"), (x, y))
    return np.asarray(layer) > 127


def _scene(
    chance: np.random.Generator, things: list[list[Image.Image]], grounds: list[NDArray[np.uint8]], clutter: list[NDArray[np.uint8]], half: int
) -> Scene:
    ground = grounds[chance.integers(len(grounds))]
    width, height = SIZE
    left = int(chance.integers(0, ground.shape[1] // 2 - width // 2)) + half * (ground.shape[1] // 2 - width // 2)
    top = int(chance.integers(0, ground.shape[0] - height))
    picture = _lit(Image.fromarray(ground[top : top + height, left : left + width]), chance).convert("RGB")
    owner = np.full((height, width), -1)
    kinds: list[int] = []
    for _ in range(int(chance.integers(2, 6))):
        owner[_laid(picture, _lit(_piece(clutter, chance), chance), chance)] = -1
        kind = int(chance.integers(len(things)))
        cut = things[kind][chance.integers(len(things[kind]))]
        scale = chance.uniform(28, 90) / max(cut.size)
        cut = cut.resize((max(8, round(cut.width * scale)), max(8, round(cut.height * scale))), Image.Resampling.LANCZOS)
        owner[_laid(picture, _lit(cut.rotate(float(chance.uniform(0, 360)), Image.Resampling.BILINEAR, expand=True), chance), chance)] = len(kinds)
        kinds.append(kind)
    masks = [(kind, owner == place) for place, kind in enumerate(kinds)]
    return Scene(picture, [(kind, mask) for kind, mask in masks if mask.sum() > LEAST_PIXELS])
