"""Points on their way to the browser: few, finite, and no spike lost."""

from __future__ import annotations

import json
import math

import pytest

from pages.parts.live_chart import POINTS, Chart, Line, chart_data, thinned


def test_few_points_are_all_kept() -> None:
    assert thinned([0, 1], [2.0, 3.0]) == ([0, 1], [2.0, 3.0])


@pytest.mark.parametrize("count", [601, 5_000, 100_003])
def test_many_points_become_few_and_keep_the_extremes(count: int) -> None:
    ys = [math.sin(i / 50) for i in range(count)]
    ys[count // 3], ys[count // 2] = 99.0, -99.0
    xs, kept = thinned(list(range(count)), ys)
    assert len(xs) == len(kept) <= POINTS
    assert max(kept) == 99.0  # type: ignore[type-var]
    assert min(kept) == -99.0  # type: ignore[type-var]
    assert xs == sorted(xs)


def test_a_diverged_loss_reaches_the_browser_as_a_gap() -> None:
    ys = [1.0, float("nan"), float("inf"), None] + [0.5] * 1000
    data = chart_data(Chart("loss", "Loss", (Line("each step", list(range(len(ys))), ys),)))
    assert "NaN" not in json.dumps(data, allow_nan=False)
    assert thinned([0, 1], [float("nan"), 1.0]) == ([0, 1], [None, 1.0])


def test_a_stretch_of_nothing_but_gaps_stays_a_gap() -> None:
    ys: list[float | None] = [1.0] * 500 + [None] * 500
    _, kept = thinned(list(range(1000)), ys, most=100)
    assert None in kept
