"""Answers with a shape go to the disk and back whole, and a class map goes through its regions and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import shapes
from engine.errors import StudioError
from engine.evaluation import answers
from engine.evaluation.answers import Answer


def answer(count: int, *, masks: bool, item_id: int = 7) -> Answer:
    rng = np.random.default_rng(count)
    corners = np.sort(rng.uniform(0, 30, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32)
    kept = tuple(shapes.mask_from(rng.random((20, 30)) < 0.4) for _ in range(count)) if masks else None
    scores = np.sort(rng.random(count).astype(np.float32))[::-1]
    return Answer(30, 20, corners, scores.copy(), rng.integers(0, 3, count), kept, item_id)


@pytest.mark.parametrize("masks", [False, True])
def test_answers_come_back_from_the_disk(tmp_path: Path, masks: bool) -> None:
    given = [answer(3, masks=masks, item_id=1), answer(0, masks=masks, item_id=2), answer(5, masks=masks, item_id=3)]
    answers.write(tmp_path / "predictions.npz", given, "object-detection")
    found = answers.read(tmp_path / "predictions.npz")
    assert [(row.item_id, len(row)) for row in found] == [(1, 3), (2, 0), (3, 5)]
    for ours, theirs in zip(found, given, strict=True):
        np.testing.assert_array_equal(ours.boxes_D4, theirs.boxes_D4)
        np.testing.assert_array_equal(ours.scores_D, theirs.scores_D)
        np.testing.assert_array_equal(ours.classes_D, theirs.classes_D)
        assert ours.masks == (theirs.masks or None)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_class_map_comes_back_from_its_regions(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes_HW = rng.integers(0, 4, (height, width))
    found = answers.from_class_map(classes_HW, rng.random((height, width)))
    np.testing.assert_array_equal(found.class_map(), classes_HW)
    assert list(found.scores_D) == sorted(found.scores_D, reverse=True)


def test_above_keeps_the_sure_ones() -> None:
    whole = answer(5, masks=True)
    some = whole.above(float(whole.scores_D[2]))
    assert len(some) == 3
    assert some.masks == whole.masks[:3]


@pytest.mark.parametrize(("content", "said"), [(None, "no answers"), (b"PK nothing", "damaged")])
def test_missing_or_damaged_files_are_a_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "predictions.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(StudioError, match=said):
        answers.read(path)
