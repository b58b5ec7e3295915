"""Is a difference between two models real? Paired tests on the same pictures, in numpy alone.

Of the pictures both answered, only those count that one gets right and the other misses: `wins` and `losses`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["difference_interval", "figure_difference", "holm", "mcnemar", "mean_interval", "sign_flip"]


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided McNemar p-value: how often luck alone makes a difference this large or larger.

    Were both equally good, each of the wins + losses pictures would be a fair coin (McNemar 1947, exact form).

    >>> round(mcnemar(9, 2), 3)
    0.065
    """
    total, fewer = wins + losses, min(wins, losses)
    if total == 0:
        return 1.0
    steps = np.arange(1, fewer + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log(total - steps + 1) - np.log(steps))])
    log_tail = float(np.logaddexp.reduce(log_choose)) - total * math.log(2)
    return min(1.0, 2 * math.exp(log_tail))


def difference_interval(wins: int, losses: int, total: int, certainty: float = 0.95, draws: int = 10_000) -> tuple[float, float]:
    """Return the interval of the difference of the two accuracies, by paired bootstrap.

    Drawing pictures with replacement draws their outcome (win, loss, no difference) from a multinomial, so it is drawn as such: exact, and quick.
    """
    if total == 0:
        return -1.0, 1.0
    shares = [wins / total, losses / total, (total - wins - losses) / total]
    drawn = np.random.default_rng(0).multinomial(total, shares, size=draws)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / total, [(1 - certainty) / 2, (1 + certainty) / 2])
    return float(low), float(high)


def sign_flip(gaps_N: NDArray[np.float64], draws: int = 20_000) -> float:
    """Return how often luck alone makes a mean gap this large, where answers are better or worse by degrees.

    Were both equally good, each picture's gap could as well have the other sign (Fisher's paired permutation test, by random draws).

    >>> sign_flip(np.array([0.1, 0.2, 0.1, 0.0]), 1000) > 0.05
    True
    """
    differing = gaps_N[np.abs(gaps_N) > 1e-9]
    if not len(differing):
        return 1.0
    rng, reached, seen = np.random.default_rng(0), abs(float(differing.sum())) - 1e-12, 0
    for start in range(0, draws, 1000):
        signs = rng.integers(0, 2, (min(1000, draws - start), len(differing))) * 2 - 1
        seen += int((np.abs(signs @ differing) >= reached).sum())
    return (seen + 1) / (draws + 1)


def mean_interval(values_N: NDArray[np.float64], certainty: float = 0.95, draws: int = 5000) -> tuple[float, float]:
    """Return the interval of a mean over pictures, by bootstrap (Efron 1979)."""
    if not len(values_N):
        return -1.0, 1.0
    rng = np.random.default_rng(0)
    means = np.concatenate([values_N[rng.integers(0, len(values_N), (500, len(values_N)))].mean(1) for _ in range(draws // 500)])
    low, high = np.quantile(means, [(1 - certainty) / 2, (1 + certainty) / 2])
    return float(low), float(high)


def figure_difference(better_D: NDArray[np.floating[Any]], other_D: NDArray[np.floating[Any]], certainty: float = 0.95) -> tuple[tuple[float, float], float]:
    """Return the interval of the difference of two figures from paired draws of pictures, and how often luck alone makes it this large.

    For figures that are no mean over pictures. The p-value is twice the share of draws that fall on the other side of 0 (Efron and Tibshirani 1993).

    >>> figure_difference(np.array([0.8, 0.9, 0.85]), np.array([0.7, 0.7, 0.7]))[1]
    0.5
    """
    gaps_D = better_D - other_D
    low, high = np.quantile(gaps_D, [(1 - certainty) / 2, (1 + certainty) / 2])
    beyond = min(int((gaps_D <= 0).sum()), int((gaps_D >= 0).sum()))
    return (float(low), float(high)), min(1.0, 2 * (beyond + 1) / (len(gaps_D) + 1))


def holm(p_values: list[float]) -> list[float]:
    """Correct p-values for being many (Holm 1979): the chance that any of them is called real by luck stays what it says.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, so_far = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = so_far
    return corrected
