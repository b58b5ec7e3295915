from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.detection import PanopticQuality
from torchmetrics.functional.segmentation import dice_score

from engine.data import shapes
from engine.evaluation import segmentation
from engine.evaluation.boxes import Things

K = 4


def maps(seed: int, pictures: int = 5, side: int = 48) -> list[tuple[Any, Any]]:
    """Blobs and blobs a little off."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(pictures):
        true, said = np.zeros((side, side), np.int64), np.zeros((side, side), np.int64)
        for _ in range(4):
            y, x, h, w, label = *rng.integers(0, side - 12, 2), *rng.integers(4, 12, 2), rng.integers(1, K)
            dy, dx = rng.integers(0, 3, 2)
            true[y : y + h, x : x + w] = label
            said[y + dy : y + h + dy, x + dx : x + w + dx] = label if rng.random() < 0.8 else rng.integers(0, K)
        true[rng.random((side, side)) < 0.02] = segmentation.IGNORED
        found.append((said, true))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_the_field_s(seed: int) -> None:
    pairs = maps(seed)
    table = sum((segmentation.counts(said, true, K) for said, true in pairs), np.zeros((K, K), np.int64))
    ours = segmentation.figures(table, ["background", "a", "b", "c"])
    said, true = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    kept = true != segmentation.IGNORED
    jaccard = MulticlassJaccardIndex(K, average=None, ignore_index=segmentation.IGNORED)(said, true)
    assert [row["iou"] for row in ours["per_class"]] == pytest.approx(jaccard.tolist(), abs=1e-6)
    assert ours["miou"] == pytest.approx(float(jaccard.mean()), abs=1e-6)
    assert ours["pixel_accuracy"] == pytest.approx(float((said == true)[kept].double().mean()), abs=1e-9)
    flat = (torch.nn.functional.one_hot(labels[kept], K).T[None] for labels in (said, true))
    dice = dice_score(*flat, num_classes=K, average="none", input_format="one-hot")
    assert [row["dice"] for row in ours["per_class"]] == pytest.approx(dice[0].tolist(), abs=1e-6)


def test_a_class_that_never_occurs_says_nothing() -> None:
    table = segmentation.counts(np.zeros((4, 4), np.int64), np.zeros((4, 4), np.int64), 3)
    ours = segmentation.figures(table, ["background", "a", "b"])
    assert (ours["miou"], ours["miou_things"], ours["per_class"][1]["iou"]) == (1.0, None, None)


@pytest.mark.parametrize("seed", range(3))
def test_boundaries_are_counted_as_by_hand(seed: int) -> None:
    (said, true), *_ = maps(seed, 1, 24)
    ours = segmentation.boundary_counts(said, true, K, within_px=1.5)

    def edge(labels: Any, label: int) -> set[tuple[int, int]]:
        inside = {(y, x) for y, x in np.argwhere((labels == label) & (true != segmentation.IGNORED))}
        around = ((0, 1), (0, -1), (1, 0), (-1, 0))
        in_picture = [(y, x) for y, x in inside]
        return {(y, x) for y, x in in_picture if any(0 <= y + dy < 24 and 0 <= x + dx < 24 and (y + dy, x + dx) not in inside for dy, dx in around)}

    for label in range(K):
        a, b = edge(said, label), edge(true, label)
        near = [sum(any(np.hypot(y - v, x - u) <= 1.5 for v, u in other) for y, x in own) for own, other in ((a, b), (b, a))]
        assert ours[label].tolist() == [near[0], len(a), near[1], len(b)]
    assert segmentation.boundary_f1(segmentation.boundary_counts(true, true, 256)[:K]) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_panoptic_quality_is_torchmetrics_own(seed: int) -> None:
    """Things that do not overlap each other, as label map and instance map."""
    rng = np.random.default_rng(seed)
    pictures, side = 4, 60
    reference = PanopticQuality(things={1, 2}, stuffs={0}, return_per_class=True, allow_unknown_preds_category=True)
    rows: dict[str, list[Any]] = {"said": [], "true": []}
    for picture in range(pictures):
        drawn = {key: np.zeros((side, side, 2), np.int64) for key in rows}
        for number in range(6):
            y, x = 20 * (number // 3), 20 * (number % 3)
            label = int(rng.integers(1, 3))
            for key, labels in drawn.items():
                if rng.random() < 0.85:
                    dy, dx = rng.integers(0, 5, 2) if key == "said" else (0, 0)
                    own = label if key == "true" or rng.random() < 0.85 else 3 - label
                    labels[y + dy : y + dy + 14, x + dx : x + dx + 14] = (own, number + 1)
                    mask = np.zeros((side, side), bool)
                    mask[y + dy : y + dy + 14, x + dx : x + dx + 14] = True
                    rows[key].append((picture, shapes.mask_from(mask), own - 1))
        reference.update(torch.from_numpy(drawn["said"])[None], torch.from_numpy(drawn["true"])[None])
    things = {
        key: Things(
            pictures,
            np.array([row[0] for row in found], np.int64),
            np.array([shapes.bounds("mask", row[1]) for row in found]).reshape(-1, 4),
            np.array([row[2] for row in found], np.int64),
            np.ones(len(found)),
            np.zeros(len(found), bool),
            tuple(row[1] for row in found),
        )
        for key, found in rows.items()
    }
    ours = segmentation.panoptic_quality(things["said"], things["true"], ["a", "b"])
    theirs = reference.compute()[0, :2].tolist()  # things come before stuff
    assert [row["pq"] for row in ours["per_class"]] == pytest.approx(theirs, abs=1e-6)
