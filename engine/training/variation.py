"""Which variation of a picture is shown when: drawn from (seed, epoch, step) alone, so that there is no random state to save. Torch-free.

`engine.training.augment` applies it to batches of tensors, `engine.training.preview` to one picture for the page.

B pictures. Coordinates are shares of the stored square's side, 0..1, x to the right and y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.recipe import Recipe

__all__ = ["GRAY", "Blend", "Variation", "blend", "draw", "random"]

GRAY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

_ASPECT = math.log(4 / 3)
_ERASED = (0.02, 0.25)
_PURPOSES = ("order", "variation", "blend", "dropout", "head")


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


def blend(recipe: Recipe, count: int, *numbers: int) -> Blend | None:
    """Draw the blend of a batch at (seed, epoch, step); None where the recipe wants none. With both on, each has half of the batches."""
    kinds = [kind for kind, strength in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if strength > 0]
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
