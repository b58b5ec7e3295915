"""Choosing the confidence from which a found thing counts: what each choice costs, and which one serves a goal said in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evaluation.boxes import Bools, Floats, Ints, Matched, Things, match

__all__ = ["GOALS", "Goal", "Point", "Sweep", "as_rows", "confusion", "operating_point", "sweep"]


@dataclass(frozen=True)
class Goal:
    """What a user wants, in words, and the figure that must at least be reached for it."""

    title: str
    words: str


GOALS: dict[str, Goal] = {
    "balanced": Goal("Balanced", "As few misses as false alarms: the best F1."),
    "find_all": Goal("Never miss one", "Finds nearly all that it can find at any confidence, and then as few false alarms as that allows."),
    "no_alarms": Goal("No false alarms", "At least 95 of 100 found things are right, and then as few misses as that allows."),
}
_NEARLY_ALL = 0.98
_NEARLY_NO_ALARM = 0.95


@dataclass(frozen=True)
class Point:
    """What happens at one confidence: counts, and precision and recall in 0..1 (None where there is nothing to divide by)."""

    confidence: float
    right: int
    false_alarms: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of found things that are right."""
        return self.right / (self.right + self.false_alarms) if self.right + self.false_alarms else None

    @property
    def recall(self) -> float | None:
        """Share of true things that were found."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None

    @property
    def f1(self) -> float:
        """Both in one figure: high only where both are."""
        whole = 2 * self.right + self.false_alarms + self.missed
        return 2 * self.right / whole if whole else 0.0


@dataclass(frozen=True)
class Sweep:
    """All choices of confidence at once: found things by falling score, and which of them are right."""

    scores_M: Floats
    right_M: Bools
    true_count: int

    def at(self, confidence: float) -> Point:
        """Return what happens where found things count from this confidence on."""
        kept = int(np.searchsorted(-self.scores_M, -confidence, side="right"))
        right = int(self.right_M[:kept].sum())
        return Point(confidence, right, kept - right, self.true_count - right)

    def curve(self, most: int = 200) -> list[Point]:
        """Return at most `most` points along the curve, from the surest to the least sure."""
        confidences = np.unique(self.scores_M)[::-1]
        if len(confidences) > most:
            confidences = confidences[np.unique(np.linspace(0, len(confidences) - 1, most).round().astype(int))]
        return [self.at(float(confidence)) for confidence in confidences]


def sweep(found: Things, true: Things, matched: Matched, label: int | None = None) -> Sweep:
    """Return the sweep of one class, or of all together. Found things in crowds count neither way."""
    counts_F = (matched.true_of_F != -2) & ((found.labels_M == label) if label is not None else True)
    counts_T = ~true.crowd_M & ((true.labels_M == label) if label is not None else True)
    order = np.flatnonzero(counts_F)[np.argsort(-found.scores_M[counts_F], kind="stable")]
    return Sweep(found.scores_M[order], matched.right[order], int(counts_T.sum()))


def operating_point(goal: str, swept: Sweep) -> Point:
    """Return the confidence that serves a goal best; 0.5 where nothing was found at all."""
    points = swept.curve(most=2000)
    if not points:
        return swept.at(0.5)
    if goal == "find_all":
        most = max(point.recall or 0.0 for point in points)
        return max((point for point in points if (point.recall or 0.0) >= _NEARLY_ALL * most), key=lambda point: (point.precision or 0.0, point.confidence))
    if goal == "no_alarms":
        sure = [point for point in points if (point.precision or 0.0) >= _NEARLY_NO_ALARM]
        return max(sure, key=lambda point: (point.recall or 0.0, point.confidence)) if sure else max(points, key=lambda point: point.precision or 0.0)
    return max(points, key=lambda point: (point.f1, point.confidence))


def confusion(found: Things, true: Things, classes: int, *, confidence: float, overlap: float) -> Ints:
    """Count things by what they are (row) and what they were called (column); the last of each is background.

    Here classes may differ: found things above the confidence, the surest first, take the free true thing they overlap most.
    """
    table = np.zeros((classes + 1, classes + 1), np.int64)
    kept = found.where(found.scores_M >= confidence)
    alike = [Things(t.pictures, t.picture_M, t.boxes_M4, np.zeros(len(t), np.int64), t.scores_M, t.crowd_M, t.masks) for t in (kept, true)]
    matched = match(alike[0], alike[1], overlap)
    for place, partner in enumerate(matched.true_of_F):
        if partner != -2:
            table[true.labels_M[partner] if partner >= 0 else classes, kept.labels_M[place]] += 1
    missed = (matched.found_of_T < 0) & ~true.crowd_M
    table[:, classes] += np.bincount(true.labels_M[missed], minlength=classes + 1)
    return table


def as_rows(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return points as plain JSON."""
    return [
        {"confidence": p.confidence, "precision": p.precision, "recall": p.recall, "right": p.right, "false_alarms": p.false_alarms, "missed": p.missed}
        for p in points
    ]
