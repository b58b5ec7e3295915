"""Figures of merit where a picture can show several classes at once, or none, in numpy alone. Tests hold them to scikit-learn.

Shapes: N pictures, K classes, D draws of pictures. targets_NK says which classes a picture shows, probabilities_NK how likely each is; the K
probabilities of a picture are answers to K questions and need not sum to 1. Every share is in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.metrics import Bin

__all__ = [
    "TagScore",
    "average_precisions",
    "best_thresholds",
    "decided",
    "headline",
    "macro_f1",
    "mean_average_precision",
    "micro_f1",
    "per_class",
    "picture_f1",
    "picture_losses",
    "reliability",
    "resampled",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

HALF = 0.5
"""The threshold of a class of which too little is known to choose a better one."""

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class TagScore:
    """How one class fared at its threshold. `ap` is None where no picture shows the class; `support` is how many do."""

    ap: float | None
    f1: float
    precision: float
    recall: float
    threshold: float
    support: int


def average_precisions(targets_NK: Bools, probabilities_NK: Floats, counts_DN: NDArray[Any] | None = None) -> Floats:
    """Return each class's average precision [K]: the mean precision over its pictures, ranked by probability; NaN where none shows it.

    It is the area under the steps of the precision-recall curve, without interpolation, equal probabilities taken together (as scikit-learn does).

    Args:
        counts_DN: how often each picture counts in each of D draws; then the result is [D, K].

    >>> average_precisions(np.array([[1], [0], [1]], bool), np.array([[0.9], [0.8], [0.7]])).round(3).tolist()
    [0.833]
    """
    counts_ND = np.ones((len(targets_NK), 1), np.float32) if counts_DN is None else np.ascontiguousarray(counts_DN.T, np.float32)
    columns = zip(np.asarray(targets_NK, bool).T, probabilities_NK.T, strict=True)
    found_KD = [_of_one(targets_N, scores_N, counts_ND) for targets_N, scores_N in columns]
    found_DK = np.stack(found_KD, 1) if found_KD else np.zeros((counts_ND.shape[1], 0))
    return found_DK[0] if counts_DN is None else found_DK


def _of_one(targets_N: Bools, scores_N: Floats, counts_ND: Floats) -> Floats:
    """Return the average precision [D] of one class. Sums are taken only where a picture shows it: E places, G of them with different scores."""
    order = np.argsort(-scores_N, kind="stable")
    order = order[: 1 + np.flatnonzero(scores_N[order] >= scores_N[targets_N].min())[-1]] if targets_N.any() else order[:0]
    if not len(order):
        return np.full(counts_ND.shape[1], np.nan)
    ranked_N, shown_E = scores_N[order], np.flatnonzero(targets_N[order])
    firsts_G = np.flatnonzero(np.append(True, ranked_N[shown_E[1:]] != ranked_N[shown_E[:-1]]))
    ends_G = np.searchsorted(-ranked_N, -ranked_N[shown_E[firsts_G]], side="right")  # one past the last that is as sure
    all_GD = np.cumsum(np.add.reduceat(counts_ND[order], np.append(0, ends_G[:-1]), axis=0), 0, dtype=np.float64)
    gained_GD = np.add.reduceat(counts_ND[order[shown_E]], firsts_G, axis=0).astype(np.float64)
    right_GD = np.cumsum(gained_GD, 0)
    precision_GD = np.divide(right_GD, all_GD, out=np.zeros_like(right_GD), where=all_GD > 0)
    total_D = right_GD[-1]
    return np.divide((gained_GD * precision_GD).sum(0), total_D, out=np.full(len(total_D), np.nan), where=total_D > 0)


def mean_average_precision(targets_NK: Bools, probabilities_NK: Floats) -> float:
    """Return the plain mean of the average precision over the classes that some picture shows; 0 where none is shown."""
    return float(_mean_known(average_precisions(targets_NK, probabilities_NK)[None])[0])


def _mean_known(values_DK: Floats) -> Floats:
    known_DK = ~np.isnan(values_DK)
    return np.where(known_DK, values_DK, 0.0).sum(1) / np.maximum(1, known_DK.sum(1))


def resampled(targets_NK: Bools, probabilities_NK: Floats, counts_DN: NDArray[Any]) -> Floats:
    """Return the mean average precision [D] of each of D draws of pictures, for bootstrap intervals (Efron 1979)."""
    return _mean_known(average_precisions(targets_NK, probabilities_NK, counts_DN))


def best_thresholds(targets_NK: Bools, probabilities_NK: Floats) -> Floats:
    """Return for each class [K] the probability from which on it counts as shown, chosen for the best F1 on these pictures.

    A threshold lies half way between two answers, so that rounding cannot carry one across. Of equally good ones the nearest to 0.5 is taken,
    and 0.5 itself where no picture shows the class.
    """
    return np.array([_best(targets_N, scores_N.astype(np.float64)) for targets_N, scores_N in zip(targets_NK.T, probabilities_NK.T, strict=True)])


def _best(targets_N: Bools, scores_N: Floats) -> float:
    if not targets_N.any():
        return HALF
    order = np.argsort(-scores_N, kind="stable")
    ranked_N, right_N = scores_N[order], np.cumsum(targets_N[order])
    ends = np.flatnonzero(np.append(ranked_N[1:] != ranked_N[:-1], True))
    f1_E = 2 * right_N[ends] / (ends + 1 + right_N[-1])
    below_E = np.append(ranked_N[ends[1:]], 0.0)
    # any place between two neighbouring answers is as good: 0.5 where it lies there, else half way
    between_E = np.where((below_E < HALF) & (ranked_N[ends] > HALF), HALF, (ranked_N[ends] + below_E) / 2)
    equal = np.flatnonzero(f1_E >= f1_E.max() - 1e-12)
    return float(between_E[equal[np.argmin(np.abs(between_E[equal] - HALF))]])


def decided(probabilities_NK: Floats, thresholds_K: Floats) -> Bools:
    """Return which classes each picture is said to show [N, K]."""
    return probabilities_NK >= np.asarray(thresholds_K)


def per_class(targets_NK: Bools, probabilities_NK: Floats, thresholds_K: Floats) -> list[TagScore]:
    """Return the figures of each class at its threshold; a share with nothing to divide by is 0."""
    said_NK = decided(probabilities_NK, thresholds_K)
    right_K, said_K, true_K = (targets_NK & said_NK).sum(0), said_NK.sum(0), targets_NK.sum(0)
    precision_K, recall_K, f1_K = _share(right_K, said_K), _share(right_K, true_K), _share(2 * right_K, said_K + true_K)
    rows = zip(average_precisions(targets_NK, probabilities_NK), f1_K, precision_K, recall_K, thresholds_K, true_K, strict=True)
    return [TagScore(None if np.isnan(ap) else float(ap), float(f), float(p), float(r), float(t), int(n)) for ap, f, p, r, t, n in rows]


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def micro_f1(targets_NK: Bools, said_NK: Bools) -> float:
    """Return the F1 of all answers of all classes together: common classes weigh more."""
    whole = int(targets_NK.sum() + said_NK.sum())
    return 2 * int((targets_NK & said_NK).sum()) / whole if whole else 0.0


def macro_f1(targets_NK: Bools, said_NK: Bools) -> float:
    """Return the plain mean of F1 over the classes that occur, as truth or as answer."""
    whole_K = targets_NK.sum(0) + said_NK.sum(0)
    occurs = whole_K > 0
    return float(_share(2 * (targets_NK & said_NK).sum(0), whole_K)[occurs].mean()) if occurs.any() else 0.0


def picture_f1(targets_NK: Bools, said_NK: Bools) -> Floats:
    """Return for each picture [N] how well what was said of it agrees with what it shows; 1 where it shows nothing and nothing was said."""
    whole_N = targets_NK.sum(1) + said_NK.sum(1)
    return np.where(whole_N > 0, _share(2 * (targets_NK & said_NK).sum(1), whole_N), 1.0)


def picture_losses(targets_NK: Bools, probabilities_NK: Floats) -> Floats:
    """Return for each picture [N] the binary cross-entropy summed over its classes, in nats: -log of the probability of just its labels."""
    sure_NK = probabilities_NK.astype(np.float64)
    return -np.log(np.maximum(np.where(targets_NK, sure_NK, 1 - sure_NK), _SMALLEST)).sum(1)


def reliability(targets_NK: Bools, probabilities_NK: Floats, bins: int = 15) -> list[Bin]:
    """Sort all answers, one for each picture and class, into bins of equal width by how likely they call the class.

    In a `Bin`, confidence is the mean probability and accuracy the share of its answers whose picture shows the class.
    """
    said, true = probabilities_NK.ravel().astype(np.float64), targets_NK.ravel()
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    confidence, share = (_share(np.bincount(index, values, bins), counts) for values in (said, true))
    return [Bin(float(edges[i]), float(edges[i + 1]), float(confidence[i]), float(share[i]), int(counts[i])) for i in range(bins)]


def headline(targets_NK: Bools, probabilities_NK: Floats, thresholds_K: Floats | None = None) -> dict[str, float]:
    """Return the figures a report leads with: map, macro_f1, micro_f1, exact_match, loss. Without thresholds each class has 0.5."""
    said_NK = decided(probabilities_NK, np.full(targets_NK.shape[1], HALF) if thresholds_K is None else thresholds_K)
    some = len(targets_NK) > 0
    return {
        "map": mean_average_precision(targets_NK, probabilities_NK),
        "macro_f1": macro_f1(targets_NK, said_NK),
        "micro_f1": micro_f1(targets_NK, said_NK),
        "exact_match": float((targets_NK == said_NK).all(1).mean()) if some else 0.0,
        "loss": float(picture_losses(targets_NK, probabilities_NK).mean()) if some else 0.0,
    }
