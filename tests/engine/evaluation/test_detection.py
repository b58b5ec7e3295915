from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.data import shapes
from engine.evaluation import boxes, detection, mistakes, operating
from engine.evaluation.boxes import Things

CLASSES = ("red", "white", "blue")
SIDE = 200


def scene(seed: int, pictures: int = 6, *, masks: bool = False) -> tuple[Things, Things]:
    """True things, and found ones: most of the true ones a little off, some with a wrong class, some twice, some out of thin air."""
    rng = np.random.default_rng(seed)
    true_rows, found_rows = [], []
    for picture in range(pictures):
        for _ in range(rng.integers(0, 7)):
            x, y, w, h = rng.uniform(0, 120), rng.uniform(0, 120), rng.uniform(8, 78), rng.uniform(8, 78)
            box, label, crowd = [x, y, x + w, y + h], int(rng.integers(3)), bool(rng.random() < 0.1)
            true_rows.append((picture, box, label, 1.0, crowd))
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                shift = rng.normal(0, 0.1, 4) * [w, h, w, h]
                wrong = int(rng.integers(3)) if rng.random() < 0.2 else label
                found_rows.append((picture, np.clip(np.array(box) + shift, 0, SIDE).tolist(), wrong, round(float(rng.random()), 2), False))
        for _ in range(rng.integers(0, 3)):
            x, y = rng.uniform(0, 150, 2)
            found_rows.append((picture, [x, y, x + 30, y + 30], int(rng.integers(3)), round(float(rng.random()), 2), False))
    return table(found_rows, pictures, masks), table(true_rows, pictures, masks)


def table(rows: list[Any], pictures: int, masks: bool = False) -> Things:
    pixels = [shapes.mask_from(shapes.raster("box", {"box": box}, SIDE, SIDE)) for _, box, _, _, _ in rows] if masks else []
    return Things(
        pictures,
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.float64),
        np.array([row[4] for row in rows], bool),
        tuple(pixels),
    )


def reference(found: Things, true: Things, kind: str) -> Any:
    """COCO's own code on the same things."""
    known = COCO()
    known.dataset = {
        "images": [{"id": place + 1, "width": SIDE, "height": SIDE} for place in range(true.pictures)],
        "categories": [{"id": place + 1} for place in range(len(CLASSES))],
        "annotations": detection._rows(true, kind, crowds=True),
    }
    known.createIndex()
    evaluated = COCOeval(known, known.loadRes(detection._rows(found, kind, crowds=False)), kind)
    evaluated.evaluate()
    evaluated.accumulate()
    evaluated.summarize()
    return evaluated.stats


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(6))
def test_figures_are_coco_s_own(seed: int, kind: Any) -> None:
    found, true = scene(seed, masks=kind == "segm")
    stats = reference(found, true, kind)
    ours = detection.coco(found, true, CLASSES, kind=kind)
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "ar_1", "ar_10", "ar_100")
    for name, expected in zip(names, stats, strict=False):
        assert (ours[name] if ours[name] is not None else -1.0) == pytest.approx(expected, abs=1e-9), name
    assert np.mean([row["map"] for row in ours["per_class"] if row["map"] is not None]) == pytest.approx(stats[0], abs=1e-9)


def test_nothing_found_and_nothing_there_are_told_apart() -> None:
    found, true = scene(1)
    nothing = true.where(np.zeros(len(true), bool))
    assert detection.coco(nothing, true, CLASSES)["map"] == 0
    assert detection.coco(found, nothing, CLASSES)["map"] is None


@pytest.mark.parametrize("seed", range(8))
def test_matching_at_one_overlap_gives_coco_s_average_precision(seed: int) -> None:
    found, true = scene(seed)
    matched = boxes.match(found, true, 0.5)
    values = []
    for label in range(3):
        swept = operating.sweep(found, true, matched, label)
        value = detection.average_precision(swept.right_M, swept.scores_M, swept.true_count)
        values += [] if value is None else [value]
    assert np.mean(values) == pytest.approx(detection.coco(found, true, CLASSES)["map_50"], abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0.3, 0.9))
def test_counts_add_up_at_every_confidence(seed: int, confidence: float, overlap: float) -> None:
    found, true = scene(seed)
    swept = operating.sweep(found, true, boxes.match(found, true, overlap))
    point = swept.at(confidence)
    kept = found.where(found.scores_M >= confidence)
    fresh = boxes.match(kept, true, overlap)
    assert point.right == fresh.right.sum() == (fresh.found_of_T >= 0).sum()
    assert point.right + point.missed == (~true.crowd_M).sum()
    table = operating.confusion(found, true, 3, confidence=confidence, overlap=overlap)
    assert table[:3].sum() == (~true.crowd_M).sum()
    assert table[:, :3].sum() <= len(kept)


@pytest.mark.parametrize("seed", range(5))
def test_goals_order_confidences_as_their_words_say(seed: int) -> None:
    found, true = scene(seed, 20)
    swept = operating.sweep(found, true, boxes.match(found, true))
    all_of_them, balanced, sure = (operating.operating_point(goal, swept) for goal in ("find_all", "balanced", "no_alarms"))
    assert (all_of_them.recall or 0) >= (balanced.recall or 0) >= (sure.recall or 0)
    assert balanced.f1 >= max(all_of_them.f1, sure.f1)


def one(box: list[float], label: int, score: float = 1.0) -> tuple[Any, ...]:
    return (0, box, label, score, False)


def test_every_kind_of_mistake_is_called_by_its_name() -> None:
    true = table([one([0, 0, 50, 50], 0), one([100, 0, 150, 50], 1), one([0, 100, 50, 150], 2), one([100, 100, 150, 150], 0)], 1)
    found = table(
        [
            one([0, 0, 50, 50], 0, 0.9),  # right
            one([0, 0, 50, 52], 0, 0.8),  # the same again
            one([100, 0, 150, 50], 2, 0.7),  # right place, wrong class
            one([30, 100, 80, 150], 2, 0.6),  # right class, not quite the place
            one([0, 130, 50, 190], 0, 0.5),  # neither
            one([160, 160, 190, 190], 1, 0.4),  # nothing there
        ],
        1,
    )
    found_kinds = mistakes.sort_out(found, true)
    assert [mistakes.KINDS[kind] if kind >= 0 else "right" for kind in found_kinds.kind_F] == ["right", "duplicate", "class", "location", "both", "background"]
    assert found_kinds.missed_T.tolist() == [False, False, False, True]
    assert found_kinds.counts() == dict.fromkeys(mistakes.KINDS, 1)
    rows = mistakes.worst(found, true, found_kinds)
    assert [row["kind"] for row in rows[:2]] == ["duplicate", "missed"]


@pytest.mark.parametrize("seed", range(6))
def test_undoing_every_kind_of_mistake_never_costs(seed: int) -> None:
    found, true = scene(seed, 10)
    won = mistakes.costs(found, true, 3)
    assert set(won) == set(mistakes.KINDS)
    assert all(0 <= value <= 1 for value in won.values())
    assert max(won.values()) > 0
