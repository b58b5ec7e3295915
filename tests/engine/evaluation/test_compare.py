"""Comparisons of runs that differ in a known way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest

from engine import runs
from engine.errors import StudioError
from engine.evaluation.compare import compare
from engine.recipe import recipe_from
from engine.runs import Run

Make = Callable[..., Run]

LABELS = [0, 1, 2] * 50


def spoiled(*, wrong: range) -> list[int]:
    """The right answers, but for those in `wrong`, which are the next class."""
    return [(label + 1) % 3 if i in wrong else label for i, label in enumerate(LABELS)]


def test_two_runs(finished: Make) -> None:
    a = finished("A", LABELS, spoiled(wrong=range(12)), epochs=3)
    b = finished("B", LABELS, spoiled(wrong=range(9, 14)), seed=1)
    found = compare([a, b])
    assert [row.name for row in found.leaderboard] == ["B", "A"]
    assert found.n_common == 150
    assert (found.pairs[0].wins, found.pairs[0].losses) == (9, 2)
    assert found.p_value == pytest.approx(0.0654, abs=1e-4)
    assert found.verdict == (
        "B is ahead, but it is not certain that it is better: of the 150 pictures both were tested on, "
        "B gets 9 right that A misses and misses 2 that A gets right; "
        "a difference this large happens by luck 1 time in 15 (p = 0.065)."
    )
    low, high = found.pairs[0].interval
    assert low < 7 / 150 < high
    assert found.differing == {"epochs": [3, 12], "seed": [0, 1]}
    assert found.notes == []
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_disagreements_name_picture_truth_and_each_answer(finished: Make) -> None:
    a = finished("A", LABELS, spoiled(wrong=range(2)), confidence=0.6)
    b = finished("B", LABELS, spoiled(wrong=range(1, 3)), confidence=0.8)
    found = compare([a, b])
    assert found.n_disagreements == 2
    first = found.disagreements[0]
    assert (first["item"], first["true"], first["predicted"]) in [(1, "boot", ["hat", "boot"]), (3, "shirt", ["shirt", "boot"])]
    assert first["confidence"] == pytest.approx([0.6, 0.8])


def test_per_class_deltas_are_against_the_best(finished: Make) -> None:
    good, bad = finished("good", LABELS, LABELS), finished("bad", LABELS, [0 if label == 1 else label for label in LABELS])
    rows = {row["name"]: row for row in compare([bad, good]).per_class}
    assert rows["hat"]["value"] == [0.0, 1.0]
    assert rows["hat"]["delta"] == [-1.0, 0.0]
    assert rows["shirt"]["delta"] == [0.0, 0.0]


def test_different_versions_meet_on_common_pictures_only(finished: Make) -> None:
    a = finished("A", LABELS, LABELS, first=0)
    b = finished("B", LABELS, spoiled(wrong=range(30)), first=90)  # pictures 90..239; 90..149 are in common
    found = compare([a, b])
    assert found.n_common == 60
    assert found.pairs[0].wins == 30
    assert "tested on 150 and 150 pictures; the verdict rests on the 60" in found.notes[0]
    rows = {row.name: row for row in found.leaderboard}
    assert (rows["B"].score, rows["B"].common_score) == (pytest.approx(0.8), pytest.approx(0.5))


def test_a_picture_that_was_relabelled_in_between_does_not_count(finished: Make) -> None:
    a = finished("A", LABELS, LABELS)
    b = finished("B", [2, *LABELS[1:]], LABELS)
    assert compare([a, b]).n_common == 149


def test_a_run_whose_ancestor_learned_from_the_test_pictures_is_not_trusted(finished: Make) -> None:
    elder = finished("elder", LABELS, LABELS, split="train")
    heir = finished("heir", LABELS, LABELS, start=f"run:{elder.id}")
    other = finished("other", LABELS, spoiled(wrong=range(3)), start="run:run-that-was-deleted")
    assert compare([heir, other]).notes == ["heir started from elder, which had learned from 150 of these test pictures: its figures are too good."]


def test_no_common_pictures(finished: Make) -> None:
    found = compare([finished("A", LABELS, LABELS), finished("B", LABELS, LABELS, first=1000)])
    assert (found.n_common, found.pairs, found.p_value) == (0, [], None)
    assert "tested on different pictures" in found.verdict


def test_many_runs_are_corrected(finished: Make) -> None:
    chosen = [finished(name, LABELS, spoiled(wrong=range(wrong))) for name, wrong in (("C", 40), ("A", 4), ("B", 10))]
    found = compare(chosen)
    assert found.leaderboard[0].name == "A"
    assert found.run_ids == [run.id for run in chosen]
    assert found.pairs[0].corrected_p == pytest.approx(2 * found.pairs[0].p_value)
    assert [round(pair.corrected_p, 5) for pair in found.pairs] == [0.0, 0.03125]
    assert found.verdict == "A is the best of 3: 97.3% right of the 150 pictures all were tested on. It is better than C and B, and that is hardly luck."
    assert {"C", "A", "B"} == {row.name for row in found.leaderboard}


def test_the_unfinished_are_named_and_left_out(finished: Make) -> None:
    done = finished("A", LABELS, LABELS)
    fresh = runs.create_run("p1", recipe_from({}), {"id": "v", "classes": [], "items": []})
    found = compare([fresh, done])
    assert found.unfinished == [fresh.id]
    assert found.verdict == "Only A has finished, so there is nothing to compare it with yet."
    with pytest.raises(StudioError, match="none of these runs has finished"):
        compare([fresh])


def test_runs_of_one_name_are_told_apart(finished: Make) -> None:
    a, b = finished("same", LABELS, LABELS), finished("same", LABELS, spoiled(wrong=range(3)))
    verdict = compare([a, b]).verdict
    assert f"same ({a.id})" in verdict
    assert f"same ({b.id})" in verdict


def test_ten_thousand_pictures_are_compared(finished: Make) -> None:
    labels = np.random.default_rng(0).integers(0, 3, 10_000)
    a, b = finished("A", labels, (labels + 1) % 3), finished("B", labels, labels)
    assert compare([a, b]).n_disagreements == 10_000
