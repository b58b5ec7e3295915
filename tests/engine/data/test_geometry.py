"""Boxes, outlines and masks go into a frame, through its variations, and back to where they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.data import geometry, images
from engine.recipe import recipe_from
from engine.training.variation import draw_whole

sides = st.integers(1, 900)
frames = st.tuples(st.sampled_from((32, 64, 96, 256)), st.sampled_from((32, 64, 160, 320)))
seeds = st.integers(0, 2**32 - 1)


def boxes_in(rng: np.random.Generator, count: int, width: float, height: float) -> np.ndarray:
    return np.sort(rng.random((count, 2, 2)), 1).reshape(count, 4) * np.tile((width, height), 2)


@given(sides, sides, frames, seeds)
def test_boxes_go_into_a_frame_and_back(width: int, height: int, frame_hw: tuple[int, int], seed: int) -> None:
    where = geometry.placed(width, height, frame_hw)
    assert 1 <= where.content_width <= frame_hw[1]
    assert 1 <= where.content_height <= frame_hw[0]
    boxes = boxes_in(np.random.default_rng(seed), 20, width, height)
    inside = where.to_frame(boxes)
    assert (inside >= 0).all()
    assert (inside <= np.tile((where.content_width, where.content_height), 2) + 1e-9).all()
    np.testing.assert_allclose(where.to_picture(inside), boxes, atol=1e-9)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 4), seeds)
def test_masks_that_are_made_larger_come_back_the_same(height: int, width: int, across: int, down: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    larger = geometry.resized_mask(mask, height * down, width * across)
    np.testing.assert_array_equal(larger, np.kron(mask, np.ones((down, across), bool)))
    np.testing.assert_array_equal(geometry.resized_mask(larger, height, width), mask)


@given(st.integers(1, 64), st.integers(1, 64), seeds)
def test_masks_go_into_a_frame_that_is_larger_and_back(width: int, height: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    where = geometry.placed(width, height, (128, 128))
    inside = where.mask_to_frame(mask, (128, 128))
    assert not inside[where.content_height :].any()
    assert not inside[:, where.content_width :].any()
    np.testing.assert_array_equal(where.mask_to_picture(inside), mask)


def inverse(affine_23: np.ndarray) -> np.ndarray:
    turned = np.linalg.inv(affine_23[:, :2])
    return np.concatenate([turned, -(turned @ affine_23[:, 2:])], 1)


@given(seeds, st.floats(0, 180), st.booleans(), st.booleans(), frames)
def test_points_go_through_any_variation_and_back(seed: int, degrees: float, across: bool, down: bool, frame_hw: tuple[int, int]) -> None:
    recipe = recipe_from({"task": "object-detection", "rotate_degrees": degrees, "flip_horizontal": across, "flip_vertical": down})
    drawn = draw_whole(recipe, np.array([[1.0, 0.75], [0.4, 1.0]]), frame_hw[1] / frame_hw[0], seed, 0, 0)
    points = np.random.default_rng(seed).random((30, 2)) * frame_hw[::-1]
    for affine_23 in drawn.affine_B23:
        varied = geometry.warped_points(points, affine_23, frame_hw)
        np.testing.assert_allclose(geometry.warped_points(varied, inverse(affine_23), frame_hw), points, atol=1e-6)


@given(seeds, st.booleans(), st.booleans(), st.integers(-10, 10), st.integers(-10, 10))
def test_masks_go_through_flips_and_shifts_and_back_exactly(seed: int, across: bool, down: bool, right: int, below: int) -> None:
    rng, hw = np.random.default_rng(seed), (32, 48)
    mask = np.zeros(hw, np.uint8)
    mask[10:22, 10:38] = rng.integers(0, 5, (12, 28))  # stays inside however it is shifted
    flip_x, flip_y = (-1.0 if across else 1.0), (-1.0 if down else 1.0)
    affine = np.array([[flip_x, 0, float(across) - flip_x * right / hw[1]], [0, flip_y, float(down) - flip_y * below / hw[0]]])
    varied = geometry.warped_map(mask, affine)
    expected = np.roll(mask[:: -1 if down else 1, :: -1 if across else 1], (below, right), (0, 1))
    np.testing.assert_array_equal(varied, expected)
    np.testing.assert_array_equal(geometry.warped_map(varied, inverse(affine)), mask)


@settings(max_examples=40)
@given(seeds, st.floats(0.0, 40.0))
def test_a_box_and_its_mask_are_varied_alike(seed: int, degrees: float) -> None:
    hw, box = (96, 128), np.array([30.0, 20.0, 90.0, 70.0])
    recipe = recipe_from({"task": "object-detection", "rotate_degrees": degrees, "scale_min": 0.7, "scale_max": 1.2})
    affine_23 = draw_whole(recipe, np.ones((1, 2)), hw[1] / hw[0], seed, 0, 0).affine_B23[0]
    mask = np.zeros(hw, bool)
    mask[20:70, 30:90] = True
    seen = geometry.warped_map(mask, affine_23)
    corners = geometry.warped_points(np.array([(30, 20), (90, 20), (90, 70), (30, 70)], float), affine_23, hw)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    around = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    expected = np.concatenate([corners.min(0), corners.max(0)]).clip(0, np.tile(hw[::-1], 2))
    assert np.abs(around - expected).max() <= 1.5, box


@pytest.mark.parametrize(("size", "frame_hw"), [((60, 40), (32, 64)), ((40, 60), (32, 64)), ((300, 200), (64, 96))])
def test_a_picture_shown_whole_fills_its_place_and_the_rest_is_grey(size: tuple[int, int], frame_hw: tuple[int, int]) -> None:
    row = {"fit": "whole", "image_size": max(frame_hw), "height": frame_hw[0], "width": frame_hw[1], "crop_share": 1.0, "interpolation": "bilinear"}
    shown = images.for_model(Image.new("RGB", size, (250, 10, 10)), row)
    where = geometry.placed(*size, frame_hw)
    assert shown.shape == (*frame_hw, 3)
    assert (shown[: where.content_height, : where.content_width] == (250, 10, 10)).all()
    assert (shown[where.content_height :] == geometry.FILL).all()
    assert (shown[:, where.content_width :] == geometry.FILL).all()


@pytest.mark.parametrize(
    ("longer", "aspect", "frame_hw"), [(320, 1.0, (320, 320)), (320, 4 / 3, (256, 320)), (320, 3 / 4, (320, 256)), (640, 16 / 9, (352, 640))]
)
def test_frames_have_the_pictures_shape(longer: int, aspect: float, frame_hw: tuple[int, int]) -> None:
    assert geometry.frame_of(longer, aspect) == frame_hw
