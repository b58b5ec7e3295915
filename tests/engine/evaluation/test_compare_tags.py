"""Runs that tag, side by side."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from engine.evaluation.compare import compare
from engine.evaluation.paired import figure_difference


def answers(noise: float, count: int = 150, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shown = rng.random((count, 3)) < 0.35
    return shown, np.clip(0.3 + 0.4 * shown + rng.normal(0, noise, (count, 3)), 0.01, 0.99).astype(np.float32)


def test_the_leader_has_the_higher_figure_and_the_difference_is_the_figures(tagged):
    good, poor = answers(0.15), answers(0.5)
    runs = [tagged("Poor", *poor), tagged("Good", *good)]
    found = compare(runs)
    assert [row.name for row in found.leaderboard] == ["Good", "Poor"]
    scores = [average_precision_score(*pair) for pair in (good, poor)]
    assert [row.common_score for row in found.leaderboard] == pytest.approx(scores, abs=1e-6)
    assert [row.score for row in found.leaderboard] == pytest.approx(scores, abs=1e-6)
    (pair,) = found.pairs
    assert pair.difference == pytest.approx(scores[0] - scores[1], abs=1e-6)
    assert pair.interval[0] < pair.difference < pair.interval[1]
    assert pair.p_value < 0.01
    assert pair.wins > pair.losses
    assert found.verdict.startswith("Good is better than Poor: on the 150 pictures both were tested on, its mean average precision is")
    for row in found.leaderboard:
        assert row.common_interval[0] < row.common_score < row.common_interval[1]


def test_runs_that_hardly_differ_are_not_called_different(tagged):
    shown, sure = answers(0.3, count=30)
    _, other = answers(0.3, count=30, seed=3)
    other[:2] = 1 - other[:2]
    found = compare([tagged("A", shown, sure), tagged("B", shown, other)])
    assert found.pairs[0].p_value > 0.05
    assert "not certain" in found.verdict
    same = compare([tagged("C", shown, sure), tagged("D", shown, sure)])
    assert "equally good" in same.verdict
    assert same.n_disagreements == 0


def test_disagreements_say_the_sets_and_per_class_figures_are_average_precisions(tagged):
    shown = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    right, wrong = np.where(shown, 0.9, 0.1).astype(np.float32), np.where(shown, 0.9, 0.1).astype(np.float32)
    wrong[1, 1] = 0.95
    found = compare([tagged("Right", shown, right), tagged("Wrong", shown, wrong)])
    (row,) = found.disagreements
    assert (row["true"], row["predicted"], row["quality"]) == ("none", ["none", "hat"], [1.0, 0.0])
    assert found.class_metric == "ap"
    assert [line["value"] for line in found.per_class] == [[1.0, 1.0], [1.0, 0.5], [1.0, 1.0]]


def test_runs_without_a_common_picture_are_ranked_by_their_own_figures(tagged):
    found = compare([tagged("Poor", *answers(0.5)), tagged("Good", *answers(0.1), first=1000)])
    assert found.leaderboard[0].name == "Good"
    assert (found.n_common, found.pairs) == (0, [])
    assert "nothing certain can be said" in found.verdict


def test_the_p_value_of_a_figure_is_one_where_there_is_no_difference():
    alike = np.full(100, 0.5)
    assert figure_difference(alike, alike) == ((0.0, 0.0), 1.0)
