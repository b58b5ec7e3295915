"""Which variation of a picture is shown when: drawn from (seed, epoch, step) alone, so that there is no random state to save. Torch-free.

`engine.training.augment` applies it to batches of tensors, `engine.training.preview` to one picture for the page.

B pictures. Coordinates are shares of the sides of what is stored (a square, or a frame), 0..1, x to the right and y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.recipe import Recipe

__all__ = ["GRAY", "Blend", "Collage", "Variation", "blend", "collage", "draw", "draw_whole", "random"]

GRAY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

_ASPECT = math.log(4 / 3)
_ERASED = (0.02, 0.25)
_PURPOSES = ("order", "variation", "blend", "dropout", "head", "collage")


def random(purpose: str, *numbers: int) -> np.random.Generator:
    """Return the random numbers of one purpose at one place: (seed, epoch, step)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([_PURPOSES.index(purpose), *numbers])))


@dataclass(frozen=True)
class Variation:
    """How each of B pictures is varied.

    Attributes:
        affine_B23: maps an output point (x, y, 1) in 0..1 to the point of the stored square that is shown there.
        colour_B33: red, green, blue are multiplied by it;
        mean_B: and this share of the picture's mean brightness is added to each.
        erased_B4: left, top, right, bottom of the blanked rectangle of the output; all 0 where none is.
    """

    affine_B23: NDArray[np.float64]
    colour_B33: NDArray[np.float64]
    mean_B: NDArray[np.float64]
    erased_B4: NDArray[np.float64]

    def part(self, some: slice) -> Variation:
        """Return the variations of some of the pictures."""
        return Variation(self.affine_B23[some], self.colour_B33[some], self.mean_B[some], self.erased_B4[some])


def draw(recipe: Recipe, count: int, *numbers: int) -> Variation:
    """Draw the variations of `count` pictures at (seed, epoch, step)."""
    rng = random("variation", *numbers)
    return Variation(_affine(recipe, rng, count), *_colour(recipe, rng, count), _erased(recipe, rng, count))


def _affine(recipe: Recipe, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """A crop of random size, shape and place (Szegedy et al. 2015), turned about its centre and mirrored."""
    area = rng.uniform(recipe.crop_min, 1.0, count)
    aspect = np.exp(rng.uniform(-_ASPECT, _ASPECT, count) * (1 - recipe.crop_min) / (1 - 0.05))
    width, height = np.minimum(1.0, np.sqrt(area * aspect)), np.minimum(1.0, np.sqrt(area / aspect))
    x, y = width / 2 + rng.random(count) * (1 - width), height / 2 + rng.random(count) * (1 - height)
    angle = np.deg2rad(rng.uniform(-1, 1, count) * recipe.rotate_degrees)
    mirror_x = np.where((rng.random(count) < 0.5) & recipe.flip_horizontal, -1.0, 1.0)
    mirror_y = np.where((rng.random(count) < 0.5) & recipe.flip_vertical, -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b, c, d = cos * width * mirror_x, -sin * height * mirror_y, sin * width * mirror_x, cos * height * mirror_y
    return np.stack([np.stack([a, b, x - (a + b) / 2], 1), np.stack([c, d, y - (c + d) / 2], 1)], 1)


def draw_whole(recipe: Recipe, content_B2: NDArray[np.float64], aspect: float, *numbers: int) -> Variation:
    """Draw the variations of pictures that are shown whole: made larger or smaller (Ghiasi et al. 2021), moved, turned and mirrored.

    Args:
        content_B2: the share of the frame's width and height that each picture fills.
        aspect: the frame's width over its height, so that what is turned keeps its shape.
        numbers: seed, epoch, step.
    """
    rng, count = random("variation", *numbers), len(content_B2)
    zoom_B = np.exp(rng.uniform(math.log(recipe.scale_min), math.log(max(recipe.scale_min, recipe.scale_max)), count))
    size_B2 = content_B2 * zoom_B[:, None]
    middle_B2 = size_B2 / 2 + rng.random((count, 2)) * (1 - size_B2)  # inside the frame where it fits, else so that it fills the frame
    angle = np.deg2rad(rng.uniform(-1, 1, count) * recipe.rotate_degrees)
    mirror_x = np.where((rng.random(count) < 0.5) & recipe.flip_horizontal, -1.0, 1.0)
    mirror_y = np.where((rng.random(count) < 0.5) & recipe.flip_vertical, -1.0, 1.0)
    cos, sin = np.cos(angle) / zoom_B, np.sin(angle) / zoom_B
    turn_B22 = np.stack([np.stack([cos * mirror_x, -sin / aspect * mirror_x], 1), np.stack([sin * aspect * mirror_y, cos * mirror_y], 1)], 1)
    moved_B2 = content_B2 / 2 - np.einsum("bij,bj->bi", turn_B22, middle_B2)
    return Variation(np.concatenate([turn_B22, moved_B2[:, :, None]], 2), *_colour(recipe, rng, count), np.zeros((count, 4)))


def _colour(recipe: Recipe, rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    brightness, contrast, saturation = (1 + rng.uniform(-1, 1, count) * strength for strength in (recipe.brightness, recipe.contrast, recipe.saturation))
    colour_B33 = saturation[:, None, None] * np.eye(3) + (1 - saturation)[:, None, None] * GRAY[None, None, :]
    return colour_B33 * (brightness * contrast)[:, None, None], brightness * (1 - contrast)


def _erased(recipe: Recipe, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """A rectangle in some of the pictures (Zhong et al. 2020)."""
    area, aspect = rng.uniform(*_ERASED, count), np.exp(rng.uniform(-1, 1, count))
    width, height = np.minimum(1.0, np.sqrt(area * aspect)), np.minimum(1.0, np.sqrt(area / aspect))
    left, top = rng.random(count) * (1 - width), rng.random(count) * (1 - height)
    return np.stack([left, top, left + width, top + height], 1) * (rng.random(count) < recipe.erase)[:, None]


@dataclass(frozen=True)
class Blend:
    """How the pictures of a batch are blended with each other: each with its partner.

    Attributes:
        partner_B: the partner's place in the batch.
        share: of the own picture that stays.
        box: left, top, right, bottom of the pasted piece (CutMix), or None (mixup).
    """

    partner_B: NDArray[np.int64]
    share: float
    box: tuple[float, float, float, float] | None


def blend(recipe: Recipe, count: int, *numbers: int, among: tuple[str, ...] = ("mixup", "cutmix")) -> Blend | None:
    """Draw the blend of a batch at (seed, epoch, step); None where the recipe wants none. With both on, each has half of the batches."""
    kinds = [kind for kind, strength in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if strength > 0 and kind in among]
    if not kinds or count < 2:
        return None
    rng = random("blend", *numbers)
    kind = kinds[rng.integers(len(kinds))]
    share = float(rng.beta(*[getattr(recipe, kind)] * 2))
    partner_B = rng.permutation(count)
    if kind == "mixup":
        return Blend(partner_B, max(share, 1 - share), None)
    side, x, y = math.sqrt(1 - share), rng.random(), rng.random()
    left, top, right, bottom = max(0.0, x - side / 2), max(0.0, y - side / 2), min(1.0, x + side / 2), min(1.0, y + side / 2)
    return Blend(partner_B, 1 - (right - left) * (bottom - top), (left, top, right, bottom))


@dataclass(frozen=True)
class Collage:
    """Which pictures of a batch are put together of others.

    Attributes:
        quarters_B4: the places in the batch of the four pictures that make up each one at half their size, clockwise from the upper left;
            -1 where a picture stays as it is (Bochkovskiy et al. 2020).
        donor_B: the place of the picture whose things are pasted in (Ghiasi et al. 2021); -1 where none are.
        chosen_B: from which share on, and up to which, a donor's things are taken.
    """

    quarters_B4: NDArray[np.int64]
    donor_B: NDArray[np.int64]
    chosen_B: NDArray[np.float64]


def collage(recipe: Recipe, count: int, *numbers: int, among: tuple[str, ...]) -> Collage | None:
    """Draw the collages of a batch at (seed, epoch, step); None where recipe or task want none."""
    mosaic, paste = (getattr(recipe, kind) if kind in among else 0.0 for kind in ("mosaic", "copy_paste"))
    if count < 2 or not (mosaic or paste):
        return None
    rng = random("collage", *numbers)
    quarters_B4 = np.stack([np.roll(rng.permutation(count), turn) for turn in range(4)], 1)
    donor_B, chosen_B = (np.arange(count) + rng.integers(1, count, count)) % count, rng.uniform(0.25, 1.0, count)
    whole_B, alone_B = rng.random(count) >= mosaic, rng.random(count) >= paste
    return Collage(np.where(whole_B[:, None], -1, quarters_B4), np.where(alone_B, -1, donor_B), chosen_B)
