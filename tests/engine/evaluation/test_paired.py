"""Paired tests against scipy's, and the bootstrap against a real one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.evaluation import paired


@given(wins=st.integers(0, 3000), losses=st.integers(0, 3000))
@settings(max_examples=80, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    expected = stats.binomtest(min(wins, losses), wins + losses).pvalue if wins + losses else 1.0
    assert paired.mcnemar(wins, losses) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("wins", "losses", "total"), [(9, 2, 150), (0, 0, 40), (30, 30, 60), (200, 100, 10_000)])
def test_interval_agrees_with_drawing_pictures(wins: int, losses: int, total: int) -> None:
    outcome = np.repeat([1, -1, 0], [wins, losses, total - wins - losses])
    drawn = np.random.default_rng(1).choice(outcome, (4000, total)).mean(1) if total < 1000 else None
    low, high = paired.difference_interval(wins, losses, total)
    assert low <= (wins - losses) / total <= high
    if drawn is not None:
        assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1.5 / total)


def test_holm_never_exceeds_one_and_keeps_the_order() -> None:
    assert paired.holm([0.9, 0.8, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert paired.holm([0.2]) == [0.2]
    assert paired.holm([]) == []
