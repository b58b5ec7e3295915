"""What kind of mistake each wrong box is, and how much each kind costs: TIDE (Bolya et al. 2020, arXiv:2008.08115).

class        the right place, another class
location     the right class, not quite the place
both         another class, not quite the place
duplicate    a thing that a surer box had found already
background   nothing is there
missed       a true thing that no box, right or wrong, came near
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evaluation.boxes import Bools, Ints, Matched, Things, match, overlaps
from engine.evaluation.detection import average_precision

__all__ = ["KINDS", "Mistakes", "costs", "sort_out", "worst"]

KINDS = ("class", "location", "both", "duplicate", "background", "missed")
BACKGROUND = 0.1
"""Below this overlap a box has nothing to do with a thing (the paper's t_b)."""


@dataclass(frozen=True)
class Mistakes:
    """The mistakes at one confidence and overlap.

    Attributes:
        matched: what was right.
        kind_F: the place in KINDS of each found thing's mistake, -1 where it is none.
        near_F: the true thing a wrong one came nearest to, -1 where to none.
        missed_T: which true things are missed: not found, and no mistake of kind class or location is about them.
    """

    matched: Matched
    kind_F: Ints
    near_F: Ints
    missed_T: Bools

    def counts(self) -> dict[str, int]:
        """Return how many mistakes of each kind there are."""
        found = {kind: int((self.kind_F == place).sum()) for place, kind in enumerate(KINDS)}
        return {**found, "missed": int(self.missed_T.sum())}


def sort_out(found: Things, true: Things, overlap: float = 0.5) -> Mistakes:
    """Say of every wrong found thing which kind of mistake it is. Leave out low scores before."""
    matched = match(found, true, overlap)
    kind_F, near_F = np.full(len(found), -1, np.int64), np.full(len(found), -1, np.int64)
    covered_T = matched.found_of_T >= 0
    for picture in np.unique(found.picture_M[matched.true_of_F == -1]):
        places = np.flatnonzero((found.picture_M == picture) & (matched.true_of_F == -1))
        there = np.flatnonzero((true.picture_M == picture) & ~true.crowd_M)
        shared_FT = overlaps(found.boxes_M4[places], true.boxes_M4[there])
        same_FT = found.labels_M[places][:, None] == true.labels_M[there][None, :]
        for row, place in enumerate(places):
            kind, column = _kind(shared_FT[row], same_FT[row], overlap)
            kind_F[place] = KINDS.index(kind)
            near_F[place] = there[column] if column >= 0 else -1
    about = np.isin(np.arange(len(true)), near_F[np.isin(kind_F, (KINDS.index("class"), KINDS.index("location")))])
    return Mistakes(matched, kind_F, near_F, ~covered_T & ~about & ~true.crowd_M)


def _kind(shared_T: Any, same_T: Bools, overlap: float) -> tuple[str, int]:
    """Return the kind of one mistake, asked in the order of the authors' own code, and the true thing it is about."""
    own, other = np.where(same_T, shared_T, -1.0), np.where(same_T, -1.0, shared_T)
    best_own, best_other = (float(values.max(initial=-1.0)) for values in (own, other))
    if BACKGROUND <= best_own < overlap:
        return "location", int(own.argmax())
    if best_other >= overlap:
        return "class", int(other.argmax())
    if best_own >= overlap:  # it would have been matched, had a surer box not found the thing already
        return "duplicate", int(own.argmax())
    return ("both", int(other.argmax())) if best_other >= BACKGROUND else ("background", -1)


def costs(found: Things, true: Things, classes: int, overlap: float = 0.5) -> dict[str, float]:
    """Return how much average precision (0..1, at one overlap, mean over classes) would be won if each kind of mistake did not happen.

    As the paper does: a class or location mistake is put right where its thing is still free, else removed; both, duplicates and
    background are removed; missed things are taken off the count.
    """
    mistakes = sort_out(found, true, overlap)
    base = _precision(found, true, mistakes.matched.right, found.labels_M, classes, np.ones(len(found), bool), ~true.crowd_M)
    won = {}
    for place, kind in enumerate(KINDS):
        right, labels, kept, counted = mistakes.matched.right.copy(), found.labels_M.copy(), np.ones(len(found), bool), ~true.crowd_M
        if kind == "missed":
            counted = counted & ~mistakes.missed_T
        elif kind in ("class", "location"):
            _put_right(found, true, mistakes, place, right, labels, kept)
        else:
            kept &= mistakes.kind_F != place
        won[kind] = max(0.0, _precision(found, true, right, labels, classes, kept, counted) - base)
    return won


def _put_right(found: Things, true: Things, mistakes: Mistakes, kind: int, right: Bools, labels: Ints, kept: Bools) -> None:
    free = mistakes.matched.found_of_T < 0
    places = np.flatnonzero(mistakes.kind_F == kind)
    for place in places[np.argsort(-found.scores_M[places], kind="stable")]:
        near = mistakes.near_F[place]
        if free[near]:
            free[near] = False
            right[place], labels[place] = True, true.labels_M[near]
        else:
            kept[place] = False


def _precision(found: Things, true: Things, right: Bools, labels: Ints, classes: int, kept: Bools, counted: Bools) -> float:
    values = []
    for label in range(classes):
        some = kept & (labels == label)
        value = average_precision(right[some], found.scores_M[some], int((counted & (true.labels_M == label)).sum()))
        if value is not None:
            values.append(value)
    return float(np.mean(values)) if values else 0.0


def worst(found: Things, true: Things, mistakes: Mistakes, most: int = 200) -> list[dict[str, Any]]:
    """Return the mistakes, false alarms by falling score and misses by falling size in turn, as plain JSON.

    Each: kind, picture (place), found and true (places or None), score.
    """
    alarms = np.flatnonzero(mistakes.kind_F >= 0)
    alarms = alarms[np.argsort(-found.scores_M[alarms], kind="stable")]
    missed = np.flatnonzero(mistakes.missed_T)
    missed = missed[np.argsort(-true.areas()[missed], kind="stable")]
    rows = [
        {
            "kind": KINDS[mistakes.kind_F[place]],
            "picture": int(found.picture_M[place]),
            "found": int(place),
            "true": int(mistakes.near_F[place]) if mistakes.near_F[place] >= 0 else None,
            "score": float(found.scores_M[place]),
        }
        for place in alarms
    ]
    losses = [{"kind": "missed", "picture": int(true.picture_M[place]), "found": None, "true": int(place), "score": None} for place in missed]
    mixed = [row for pair in zip(rows, losses, strict=False) for row in pair]
    rest = rows[len(losses) :] + losses[len(rows) :]
    return [*mixed, *rest][:most]
