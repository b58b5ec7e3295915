"""Variations: drawn from numbers alone, and the same to the tensor code, the preview and a plain reading of what they mean."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from engine.models.build import ModelSpec
from engine.recipe import recipe_from
from engine.tasks import TASKS
from engine.training import augment, preview, variation

PLAIN = {"rotate_degrees": 0, "crop_min": 1.0, "flip_horizontal": False, "brightness": 0, "contrast": 0, "saturation": 0}
SPEC = ModelSpec("x", image_size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), crop_share=1.0)


def photo(size: int = 32, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def shown(pictures: np.ndarray, **settings: object) -> np.ndarray:
    """Return what training shows, as 0..255 [B, H, W, 3]."""
    recipe = recipe_from({**PLAIN, **settings})
    out = augment.varied(torch.from_numpy(pictures.copy()), variation.draw(recipe, len(pictures), 0, 0, 0), SPEC)
    mean, std = (torch.tensor(row).view(1, 3, 1, 1) for row in (SPEC.mean, SPEC.std))
    return ((out * std + mean) * 255).permute(0, 2, 3, 1).numpy()


def test_no_variation_shows_the_picture_itself():
    pictures = np.stack([photo(seed=0), photo(seed=1)])
    assert np.abs(shown(pictures) - pictures).max() < 0.01


def test_mirrors():
    pictures = np.stack([photo(seed=number) for number in range(16)])
    for axis, setting in ((2, "flip_horizontal"), (1, "flip_vertical")):
        out = shown(pictures, **{setting: True})
        mirrored = [np.abs(a - np.flip(b, axis - 1)).max() < 0.01 for a, b in zip(out, pictures, strict=True)]
        straight = [np.abs(a - b).max() < 0.01 for a, b in zip(out, pictures, strict=True)]
        assert 0 < sum(mirrored) < 16
        assert sum(mirrored) + sum(straight) == 16


def test_brightness_is_a_factor():
    pictures = np.stack([photo(seed=number) for number in range(4)])
    factors = shown(pictures, brightness=0.5) / np.maximum(pictures, 1)
    for factor, picture in zip(factors, pictures, strict=True):
        bright = picture > 40
        assert factor[bright].std() < 0.01
        assert 0.5 <= factor[bright].mean() <= 1.5


def test_no_colour_left_makes_gray():
    out = shown(np.stack([photo(seed=number) for number in range(64)]), saturation=1.0)
    spread = (out.max(-1) - out.min(-1)).mean((1, 2))
    assert spread.min() < 0.3 * spread.max()


def test_erasing_blanks_a_rectangle():
    out = shown(np.stack([photo()] * 8), erase=1.0)
    mean = np.array(SPEC.mean) * 255
    blank = (np.abs(out - mean) < 0.01).all(-1).mean((1, 2))
    assert (blank > 0.01).all()
    assert (blank < 0.3).all()


@pytest.mark.parametrize("fit", ["crop", "whole"])
def test_memory_that_is_used_again_changes_no_bit(fit):
    spec = ModelSpec(
        "x", image_size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), crop_share=1.0, fit=fit, **({"height": 32, "width": 32} if fit == "whole" else {})
    )
    recipe, scratch = recipe_from({"rotate_degrees": 20, "erase": 0.5}), augment.Scratch()
    for step in range(3):
        pictures = torch.from_numpy(np.stack([photo(seed=4 * step + number) for number in range(4)]))
        drawn = variation.draw(recipe, 4, 0, 0, step)
        fresh = augment.varied(pictures, drawn, spec)
        assert torch.equal(augment.varied(pictures, drawn, spec, scratch), fresh)


@pytest.mark.parametrize("settings", [{"rotate_degrees": 30, "crop_min": 0.5}, {"brightness": 0.3, "contrast": 0.3, "saturation": 0.5}, {"erase": 1.0}])
def test_the_preview_shows_what_training_shows(settings):
    square, recipe = photo(64), recipe_from({**PLAIN, **settings})
    spec = ModelSpec("x", image_size=64, mean=(0.5, 0.5, 0.5), std=(1, 1, 1), crop_share=1.0)
    drawn = variation.draw(recipe, 6, recipe.seed, 0, 0)
    ours = ((augment.varied(torch.from_numpy(np.stack([square] * 6)), drawn, spec) + 0.5) * 255).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    theirs = np.stack([np.asarray(picture) for picture in preview.variations(Image.fromarray(square), recipe, 6, 64)])
    assert np.abs(ours - theirs).mean() < 3


def test_the_preview_needs_no_torch():
    code = "import sys; import engine.training.preview; sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'torchvision')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_drawn_depends_on_its_place_alone():
    recipe = recipe_from({})
    one, again, other = (variation.draw(recipe, 4, 0, *place) for place in ((1, 2), (1, 2), (2, 1)))
    assert np.array_equal(one.affine_B23, again.affine_B23)
    assert not np.array_equal(one.affine_B23, other.affine_B23)
    assert np.array_equal(one.part(slice(1, 3)).affine_B23, one.affine_B23[1:3])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_blending_mixes_labels_as_much_as_pictures(kind):
    images = torch.zeros(4, 3, 40, 40)
    images[2:] = 1.0
    how = variation.blend(recipe_from({kind: 1.0}), 4, 0, 0, 3)
    blended, targets = augment.blended(images, torch.tensor([0, 0, 1, 1]), how, TASKS["image-classification"], 2)
    assert torch.allclose(targets.sum(1), torch.ones(4))
    assert torch.allclose(blended.mean((1, 2, 3)), targets[:, 1], atol=1e-5)
    assert torch.equal(images[0], torch.zeros(3, 40, 40))
    assert variation.blend(recipe_from({}), 4, 0, 0, 0) is None
