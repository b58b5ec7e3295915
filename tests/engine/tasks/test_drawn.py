"""Drawn labels follow their pictures: through frames, variations, mosaics and pastes, and answers find the way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import geometry, shapes
from engine.models.build import ModelSpec
from engine.recipe import recipe_from
from engine.tasks import TASKS
from engine.tasks.drawn import Drawn, Labelled, in_picture, repeat_factors
from engine.training import collage
from engine.training.variation import Collage, draw_whole
from tests.composed import manifest

CPU = torch.device("cpu")
HW = (64, 96)


def entry(number: int, marks: list[dict[str, object]], width: int = 192, height: int = 128) -> dict[str, object]:
    return {"id": number, "split": "train", "width": width, "height": height, "marks": marks}


def mask_mark(kind: int, window: tuple[slice, slice], width: int = 192, height: int = 128, **more: object) -> dict[str, object]:
    mask = np.zeros((height, width), bool)
    mask[window] = True
    return {"class": kind, "kind": "mask", **shapes.mask_from(mask), **more}


TWO = {
    "items": [
        entry(1, [mask_mark(0, np.s_[20:60, 40:100]), mask_mark(1, np.s_[40:80, 80:140])]),  # they overlap
        entry(2, [{"class": 1, "kind": "box", "box": [10.0, 20.0, 50.0, 70.0]}, {"class": 0, "kind": "box", "box": [0.0, 0.0, 192.0, 128.0], "crowd": True}]),
        entry(3, []),
    ]
}


def test_boxes_lie_in_the_frame_and_crowds_are_left_out() -> None:
    drawn = Drawn(TWO, HW)
    boxes, labels = drawn.boxes(1, None)
    np.testing.assert_allclose(boxes, [[5, 10, 25, 35]])
    assert labels.tolist() == [1]
    assert drawn.boxes(2, None)[0].shape == (0, 4)


def test_overlapping_things_keep_all_their_pixels() -> None:
    drawn = Drawn(TWO, HW)
    assert len(drawn.layers(0)) == 2
    boxes, labels, masks = drawn.masked(0, None)
    assert labels.tolist() == [0, 1]
    np.testing.assert_allclose(boxes, [[20, 10, 50, 30], [40, 20, 70, 40]])
    assert [int(mask.sum()) for mask in masks] == [20 * 30, 20 * 30]
    assert (masks[0] & masks[1]).sum() == 10 * 10


def test_in_a_class_map_later_marks_lie_on_top_and_the_margin_counts_neither_way() -> None:
    drawn = Drawn({"items": [entry(1, [mask_mark(0, np.s_[0:64, 0:64], 128, 128), mask_mark(1, np.s_[32:64, 32:64], 128, 128)], 128, 128)]}, HW)
    found = drawn.class_map(0)
    assert (found[:, 64:] == 255).all()
    assert found[5, 5] == 1
    assert found[20, 20] == 2
    assert found[50, 50] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_varied_boxes_and_masks_stay_together(seed: int, turned: bool) -> None:
    drawn = Drawn(TWO, HW)
    recipe = recipe_from({"task": "instance-segmentation", "rotate_degrees": 30 if turned else 0, "scale_min": 0.5, "scale_max": 2.0, "flip_vertical": True})
    affine = draw_whole(recipe, np.ones((1, 2)), HW[1] / HW[0], seed, 0, 0).affine_B23[0]
    boxes, labels = drawn.boxes(0, affine)
    tight, seen, masks = drawn.masked(0, affine)
    assert masks.shape[1:] == HW
    for place, label in enumerate(seen):
        rows, columns = np.flatnonzero(masks[place].any(1)), np.flatnonzero(masks[place].any(0))
        assert tight[place].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        if label in labels:
            whole = boxes[labels.tolist().index(label)]
            assert (tight[place][:2] >= whole[:2] - 1.5).all()
            assert (tight[place][2:] <= whole[2:] + 1.5).all()
            if not turned:
                assert np.abs(tight[place] - whole).max() <= 1.5


def test_a_mosaic_puts_four_pictures_and_their_things_side_by_side() -> None:
    drawn, rows = Drawn(TWO, HW), np.array([0, 1, 2, 0])
    targets = Labelled.of(drawn, rows, CPU, None, masks=True)
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, *HW).clone()
    how = Collage(np.array([[1, 2, 0, 3], [-1] * 4, [-1] * 4, [-1] * 4]), np.full(4, -1), np.ones(4))
    shown, together = collage.joined(images, targets, how)
    assert [float(shown[0, 0, y, x]) for y, x in ((5, 5), (5, 90), (60, 90), (60, 5))] == [1, 2, 0, 3]
    assert (shown[1:] == images[1:]).all()
    first = together[0]
    assert first["labels_N"].tolist() == [1, 0, 1, 0, 1]
    np.testing.assert_allclose(first["boxes_N4"][0], [2.5, 5, 12.5, 17.5])
    np.testing.assert_allclose(first["boxes_N4"][1], [10 + 48, 5 + 32, 25 + 48, 15 + 32])
    for box, mask in zip(first["boxes_N4"], first["masks_NHW"], strict=True):
        x1, y1, x2, y2 = box.round().int().tolist()
        assert mask[y1 : y2 - 1, x1 : x2 - 1].any()
        assert not mask[:, : max(0, x1 - 1)].any()
        assert not mask[: max(0, y1 - 1)].any()
    assert together[1]["labels_N"].tolist() == targets[1]["labels_N"].tolist()


def test_pasted_things_cover_what_lies_below() -> None:
    drawn = Drawn(TWO, HW)
    targets = Labelled.of(drawn, np.array([0, 1]), CPU, None, masks=True)
    images = torch.arange(2.0)[:, None, None, None].expand(2, 3, *HW).clone()
    shown, together = collage.joined(images, targets, Collage(np.full((2, 4), -1), np.array([-1, 0]), np.array([1.0, 0.5])))
    over = targets[0]["masks_NHW"][0]  # half of two things is the first
    assert (shown[1, 0] == torch.where(over, 0.0, 1.0)).all()
    assert together[1]["labels_N"].tolist() == [1, 0]
    assert not (together[1]["masks_NHW"][0] & over).any()
    assert together[0]["labels_N"].tolist() == [0, 1]


def test_rare_classes_are_shown_more_often() -> None:
    labels = [np.array([0])] * 9 + [np.array([0, 1])]
    factors = repeat_factors(labels, np.arange(10), 2)
    assert factors.mean() == pytest.approx(1)
    assert factors[9] / factors[0] == pytest.approx(np.sqrt(0.5 / 0.1))


def test_perfect_answers_score_one(tmp_path: Path) -> None:
    spec = ModelSpec("x", image_size=96, height=HW[0], width=HW[1], fit="whole")
    for name, metric in (("object-detection", "map"), ("instance-segmentation", "map"), ("semantic-segmentation", "miou")):
        task, version = TASKS[name], manifest(tmp_path / name, name)
        targets, rows = task.targets(version, spec), np.arange(18)
        if name == "semantic-segmentation":
            maps = np.stack([np.where(targets.class_map(row) == 255, 0, targets.class_map(row)) for row in rows])
            found = np.stack([maps, np.full_like(maps, 255)])
        elif name == "object-detection":
            parts = [np.concatenate([targets.boxes(row, None)[0], np.ones((len(targets.labels[row]), 1)), targets.labels[row][:, None]], 1) for row in rows]
            found = task.joined(targets, rows, [[part] for part in parts])
        else:
            parts = []
            for row in rows:
                boxes, labels, masks = targets.masked(row, None)
                parts.append([(np.concatenate([boxes, np.ones((len(boxes), 1)), labels[:, None]], 1), np.packbits(masks, axis=-1))])
            found = task.joined(targets, rows, parts)
        assert task.metrics(targets, rows, found)[metric] == pytest.approx(1.0)
        report = task.report(version, targets, {"test": rows}, "test", {"test": found})
        assert report["metrics"][metric] > 0.9  # in the pictures' own pixels, masks of a smaller frame are a little coarse


def test_answers_on_a_frame_come_back_to_the_picture() -> None:
    drawn = Drawn(TWO, HW)
    boxes, labels, masks = drawn.masked(0, None)
    where = drawn.placed[0]
    kept = tuple(shapes.mask_from(mask[: where.content_height, : where.content_width]) for mask in masks)
    from engine.evaluation.answers import Answer

    answer = in_picture(Answer(where.content_width, where.content_height, boxes, np.ones(2, np.float32), labels, kept), where)
    assert (answer.width, answer.height) == (192, 128)
    for place, mark in enumerate(TWO["items"][0]["marks"]):
        np.testing.assert_array_equal(shapes.mask_of(answer.masks[place]), shapes.mask_of(mark))
        np.testing.assert_allclose(answer.boxes_D4[place], shapes.bounds("mask", mark))
    assert geometry.placed(192, 128, HW) == where
