"""Photographs composed with known cut-outs: what each pixel shows is known exactly, and everything in them was photographed.

Grounds: scikit-image's grass, gravel and brick and scikit-learn's view of a palace, cut anywhere. Things: coins (scikit-image), an eye's retina
(scikit-image), a flower (scikit-learn), each cut out along its own edge, turned, resized, lit anew. Clutter: pieces of other photographs in random
outlines, which are background, so that neither an outline nor a seam gives a thing away. Training and test pictures share no coin and no ground place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_sample_image

from engine.data import shapes

__all__ = ["manifest"]

CLASSES = ("coin", "retina", "flower")
_SIZE = (256, 192)


def _largest(inside_HW: np.ndarray) -> np.ndarray:
    numbered, count = ndimage.label(inside_HW)
    sizes = ndimage.sum(inside_HW, numbered, range(1, count + 1))
    return ndimage.binary_fill_holes(numbered == 1 + int(np.argmax(sizes)))


def _cut(pixels_HW3: np.ndarray, inside_HW: np.ndarray) -> Image.Image:
    """Return a cut-out as RGBA, close round what is inside."""
    rows, columns = np.flatnonzero(inside_HW.any(1)), np.flatnonzero(inside_HW.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Image.fromarray(np.dstack([pixels_HW3[window], inside_HW[window].astype(np.uint8) * 255]))


def _coins() -> list[Image.Image]:
    grey = skimage.data.coins()
    numbered, count = ndimage.label(ndimage.binary_closing(grey > 110, iterations=3))
    regions = [ndimage.binary_fill_holes(numbered == place) for place in range(1, count + 1) if (numbered == place).sum() > 900]
    return [_cut(np.repeat(grey[:, :, None], 3, 2), region) for region in regions if region.sum() < 8000]


def _retina() -> list[Image.Image]:
    pixels = np.asarray(Image.fromarray(skimage.data.retina()).resize((300, 300)))
    return [_cut(pixels, _largest(pixels.max(2) > 25))]


def _flower() -> list[Image.Image]:
    pixels = load_sample_image("flower.jpg")
    red, green, blue = (pixels[:, :, place].astype(int) for place in range(3))
    return [_cut(pixels, _largest(ndimage.binary_opening((red > 120) & (red > green + 40) & (blue < red), iterations=2)))]


def _grounds() -> list[np.ndarray]:
    grey = [np.repeat(getattr(skimage.data, name)()[:, :, None], 3, 2) for name in ("grass", "gravel", "brick")]
    return [*grey, load_sample_image("china.jpg")]


def _clutter() -> list[np.ndarray]:
    return [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut()]


def _lit(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    colour = np.asarray(picture.convert("RGBA"), np.float32).copy()
    colour[:, :, :3] = (colour[:, :, :3] * rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3)).clip(0, 255)
    return Image.fromarray(colour.astype(np.uint8))


def _piece(sources: list[np.ndarray], rng: np.random.Generator) -> Image.Image:
    """Return a piece of a photograph in a random outline: a polygon, or an ellipse as round as a thing."""
    source, side = sources[rng.integers(len(sources))], int(rng.integers(30, 90))
    top, left = (int(rng.integers(0, full - side)) for full in source.shape[:2])
    outline, brush = Image.new("L", (side, side)), None
    brush = ImageDraw.Draw(outline)
    if rng.random() < 0.5:
        brush.ellipse((1, 1, side - 2, int(side * rng.uniform(0.6, 1)) - 2), fill=255)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        brush.polygon([(side / 2 + side / 2.2 * np.cos(a), side / 2 + side / 2.2 * np.sin(a)) for a in angles], fill=255)
    piece = Image.fromarray(source[top : top + side, left : left + side]).convert("RGBA")
    piece.putalpha(outline)
    return piece


def _laid(picture: Image.Image, cut: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Lay a cut-out somewhere on a picture, in place; return which pixels it covers."""
    x, y = (int(rng.integers(-inside // 4, max(1, full - 3 * inside // 4))) for full, inside in zip(picture.size, cut.size, strict=True))
    layer = Image.new("L", picture.size)
    layer.paste(cut.getchannel("A"), (x, y))
    soft = layer.filter(ImageFilter.GaussianBlur(0.7))
    colour = Image.new("RGB", picture.size)
    colour.paste(cut.convert("RGB"), (x, y))
    picture.paste(colour, (0, 0), soft)
    return np.asarray(layer) > 127


def _scene(rng: np.random.Generator, things: list[list[Image.Image]], grounds: list[np.ndarray], half: int) -> tuple[Image.Image, list[dict[str, Any]]]:
    ground = grounds[rng.integers(len(grounds))]
    width, height = _SIZE
    left = int(rng.integers(0, ground.shape[1] // 2 - width // 2)) + half * (ground.shape[1] // 2 - width // 2)
    top = int(rng.integers(0, ground.shape[0] - height))
    picture = _lit(Image.fromarray(ground[top : top + height, left : left + width]), rng).convert("RGB")
    owner, kinds = np.full((height, width), -1), []
    clutter = _clutter()
    for _ in range(int(rng.integers(2, 6))):
        owner[_laid(picture, _lit(_piece(clutter, rng), rng), rng)] = -1
        kind = int(rng.integers(len(things)))
        cut = things[kind][rng.integers(len(things[kind]))]
        scale = rng.uniform(28, 90) / max(cut.size)
        cut = cut.resize((max(8, round(cut.width * scale)), max(8, round(cut.height * scale))), Image.Resampling.LANCZOS)
        owner[_laid(picture, _lit(cut.rotate(float(rng.uniform(0, 360)), Image.Resampling.BILINEAR, expand=True), rng), rng)] = len(kinds)
        kinds.append(kind)
    masks = [(kind, owner == place) for place, kind in enumerate(kinds)]
    return picture, [{"class": kind, "kind": "mask", **shapes.mask_from(mask)} for kind, mask in masks if mask.sum() > 60]


def manifest(folder: Path, task: str, counts: tuple[int, int, int] = (120, 40, 60)) -> dict[str, Any]:
    """Make pictures in a folder and return them as a version of a data set; `counts` for training, validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    makers: tuple[Callable[[], list[Image.Image]], ...] = (_coins, _retina, _flower)
    things, grounds, items = [make() for make in makers], _grounds(), []
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        half = int(split == "test")
        some = [kind[half::2] if len(kind) > 1 else kind for kind in things]
        rng = np.random.default_rng(("train", "val", "test").index(split))
        for _ in range(count):
            picture, marks = _scene(rng, some, grounds, half)
            path = folder / f"{len(items):04}.png"
            picture.save(path)
            row = {"id": len(items) + 1, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "path": str(path), "name": path.name, "split": split}
            items.append({**row, "width": picture.width, "height": picture.height, "marks": marks})
    return {"id": "scenes", "task": task, "classes": list(CLASSES), "items": items}
