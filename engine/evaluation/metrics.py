"""Figures of merit of a classifier, in numpy alone. Tests hold them to scikit-learn and torchmetrics.

Shapes: N pictures, C classes. labels_N are class indices; probabilities_NC are rows that sum to 1; every share is in 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bin",
    "ClassScore",
    "accuracy",
    "calibration_error",
    "confusion",
    "fit_temperature",
    "headline",
    "log_loss",
    "macro_f1",
    "per_class",
    "reliability",
    "sharpened",
    "top_k_accuracy",
    "wilson",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

_SMALLEST = float(np.finfo(np.float32).tiny)
"""Stands in for a probability of 0, so that one confident mistake costs 87 nats and not infinity."""


@dataclass(frozen=True)
class ClassScore:
    """How one class fared. `support` is how many pictures truly belong to it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Bin:
    """The pictures whose highest probability lies in low..high: mean confidence, share that is right, how many."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


def confusion(labels_N: Ints, predicted_N: Ints, classes: int) -> Ints:
    """Count pictures by true class (row) and predicted class (column).

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    flat = np.asarray(labels_N, np.int64) * classes + np.asarray(predicted_N, np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion_CC: Ints) -> float:
    """Return the share on the diagonal; 0 where there is no picture."""
    total = int(confusion_CC.sum())
    return float(np.trace(confusion_CC)) / total if total else 0.0


def per_class(confusion_CC: Ints) -> list[ClassScore]:
    """Return precision, recall and F1 of each class; a figure with nothing to divide by is 0."""
    right, predicted, support = np.diag(confusion_CC), confusion_CC.sum(0), confusion_CC.sum(1)
    precision, recall, f1 = _share(right, predicted), _share(right, support), _share(2 * right, predicted + support)
    return [ClassScore(float(p), float(r), float(f), int(n)) for p, r, f, n in zip(precision, recall, f1, support, strict=True)]


def _share(part: Ints, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def macro_f1(confusion_CC: Ints) -> float:
    """Return the plain mean of F1 over the classes that occur, as truth or as answer (as scikit-learn and torchmetrics do)."""
    occurs = (confusion_CC.sum(0) + confusion_CC.sum(1)) > 0
    scores = [score.f1 for score, there in zip(per_class(confusion_CC), occurs, strict=True) if there]
    return float(np.mean(scores)) if scores else 0.0


def top_k_accuracy(labels_N: Ints, probabilities_NC: Floats, k: int = 5) -> float:
    """Return the share of pictures whose true class is among the k most probable; ties go to the lower index."""
    if not len(labels_N):
        return 0.0
    true_N1 = _of_truth(labels_N, probabilities_NC)[:, None]
    before_NC = np.arange(probabilities_NC.shape[1])[None, :] < np.asarray(labels_N)[:, None]
    rank_N = ((probabilities_NC > true_N1) | ((probabilities_NC == true_N1) & before_NC)).sum(1)
    return float((rank_N < k).mean())


def log_loss(labels_N: Ints, probabilities_NC: Floats) -> float:
    """Return the mean of -log(probability of the true class), in nats."""
    if not len(labels_N):
        return 0.0
    return float(-np.log(np.maximum(_of_truth(labels_N, probabilities_NC).astype(np.float64), _SMALLEST)).mean())


def _of_truth(labels_N: Ints, probabilities_NC: Floats) -> Floats:
    return probabilities_NC[np.arange(len(labels_N)), labels_N]


def reliability(labels_N: Ints, probabilities_NC: Floats, bins: int = 15) -> list[Bin]:
    """Sort the answers into bins of equal width by their confidence (Guo et al. 2017). Empty bins are kept, with count 0."""
    if not len(labels_N):
        return [Bin(i / bins, (i + 1) / bins, 0.0, 0.0, 0) for i in range(bins)]
    confidence_N = probabilities_NC.max(1).astype(np.float64)
    right_N = probabilities_NC.argmax(1) == labels_N
    edges = np.linspace(0, 1, bins + 1)
    index_N = np.clip(np.searchsorted(edges, confidence_N, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index_N, minlength=bins)
    confidence = _share(np.bincount(index_N, confidence_N, bins), counts)  # type: ignore[arg-type]
    right = _share(np.bincount(index_N, right_N, bins), counts)  # type: ignore[arg-type]
    return [Bin(float(edges[i]), float(edges[i + 1]), float(confidence[i]), float(right[i]), int(counts[i])) for i in range(bins)]


def calibration_error(table: list[Bin]) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, weighted by count."""
    total = sum(row.count for row in table)
    return sum(row.count * abs(row.confidence - row.accuracy) for row in table) / total if total else 0.0


def fit_temperature(labels_N: Ints, probabilities_NC: Floats, low: float = 0.05, high: float = 20.0) -> float:
    """Return the temperature T that makes softmax(log p / T) fit the labels best (Guo et al. 2017). 1 means well calibrated.

    The log loss is convex in 1/T, so its slope is monotone and bisection finds the one zero. T above 1: the model was too sure.
    """
    if not len(labels_N):
        return 1.0
    logits_NC = np.log(np.maximum(probabilities_NC.astype(np.float64), _SMALLEST))
    left, right = 1 / high, 1 / low
    for _ in range(60):
        middle = (left + right) / 2
        left, right = (left, middle) if _slope(labels_N, logits_NC, middle) > 0 else (middle, right)
    return float(1 / middle)


def _slope(labels_N: Ints, logits_NC: Floats, sharpness: float) -> float:
    """Derivative of the mean log loss by 1/T."""
    return float(((_softmax(logits_NC * sharpness) * logits_NC).sum(1) - _of_truth(labels_N, logits_NC)).mean())


def sharpened(probabilities_NC: Floats, temperature: float) -> Floats:
    """Return softmax(log p / temperature)."""
    return _softmax(np.log(np.maximum(probabilities_NC.astype(np.float64), _SMALLEST)) / temperature)


def _softmax(logits_NC: Floats) -> Floats:
    raised = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def wilson(right: int, total: int, certainty: float = 0.95) -> tuple[float, float]:
    """Return the interval in which the true share lies with this certainty (Wilson 1927). It stays within 0..1 even at the ends.

    >>> [round(x, 3) for x in wilson(9, 10)]
    [0.596, 0.982]
    """
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + certainty) / 2)
    share, weight = right / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def headline(labels_N: Ints, probabilities_NC: Floats) -> dict[str, float]:
    """Return the figures a report leads with: accuracy, macro_f1, top5_accuracy, loss, ece."""
    table = confusion(labels_N, probabilities_NC.argmax(1), probabilities_NC.shape[1])
    return {
        "accuracy": accuracy(table),
        "macro_f1": macro_f1(table),
        "top5_accuracy": top_k_accuracy(labels_N, probabilities_NC, 5),
        "loss": log_loss(labels_N, probabilities_NC),
        "ece": calibration_error(reliability(labels_N, probabilities_NC)),
    }
