"""Help with tagging: a probe learns from the pictures that people tagged, and says of each of the rest how likely it shows each class.

One logistic regression a class on the features of `probe`. How often its proposals are right is measured by cross-validation on the tags themselves.

N pictures, L of them tagged, F features, K classes.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data import suggestions
from engine.data.tag_suggestions import LEAST, PROPOSED
from engine.errors import StudioError
from engine.events import Event, Phase
from engine.training import probe

__all__ = ["MOST", "curve", "judge", "suggest"]

MOST = 2000
"""Pictures that it learns from: there is a regression for every class."""

FEWEST_EACH = 2
"""Pictures that must show a class, and as many that must not, for it to be learned."""

FOLDS = 3
_SEED = 0


def suggest(project_id: str, emit: Callable[[Event], None], leave: Callable[[], bool]) -> dict[str, Any] | None:
    """Propose classes for every picture of a project that nobody has tagged, in the place of earlier proposals.

    Returns:
        As `probe.suggest`; `accuracy` is the share of pictures whose classes were all named and no other, `suggested` counts pictures.

    Raises:
        StudioError: if too few pictures are tagged, or a picture cannot be read.
    """
    began = time.monotonic()
    rows = probe.rows_of(project_id)
    known = [place for place, row in enumerate(rows) if row["labels"] or row["reviewed"]]
    names = _learnable([rows[place]["labels"] for place in known])
    tagged = len(known)
    if len(known) > MOST:
        known = sorted(int(place) for place in np.random.default_rng(_SEED).permutation(known)[:MOST])
    emit(Phase(name="features", title="Looking at the pictures"))
    features_NF = probe.features(rows, emit, leave)
    if features_NF is None:
        return None
    emit(Phase(name="probe", title="Learning from your labels"))
    targets_LK = np.array([[name in rows[place]["labels"] for name in names] for place in known])
    found_LK, strength = judge(features_NF[known], targets_LK, np.array([rows[place]["group"] for place in known]))
    rest = [place for place, row in enumerate(rows) if not (row["labels"] or row["reviewed"])]
    sure_NK = _fitted(features_NF[known], targets_LK, strength)(features_NF[rest])
    proposals = [
        (rows[place]["id"], names[one], float(sure_K[one])) for place, sure_K in zip(rest, sure_NK, strict=True) for one in np.flatnonzero(sure_K >= LEAST)
    ]
    suggestions.suggest(project_id, proposals)
    return {
        "labelled": tagged,
        "classes": names,
        "suggested": int((sure_NK >= PROPOSED).any(axis=1).sum()) if rest else 0,
        "accuracy": float(((found_LK >= PROPOSED) == targets_LK).all(axis=1).mean()),
        "curve": curve(found_LK, targets_LK),
        "seconds": time.monotonic() - began,
    }


def _learnable(tagged: Sequence[Sequence[str]]) -> list[str]:
    """Return the classes that enough tagged pictures show, and enough do not."""
    if len(tagged) < probe.FEWEST:
        raise StudioError(f"{len(tagged)} pictures are tagged, and suggestions need {probe.FEWEST}", "Tag some more first.")
    counts = Counter(label for labels in tagged for label in labels)
    found = sorted(name for name, count in counts.items() if FEWEST_EACH <= count <= len(tagged) - FEWEST_EACH)
    if not found:
        raise StudioError(
            f"no class is shown by at least {FEWEST_EACH} tagged pictures and missing in {FEWEST_EACH}",
            "Tag some that differ, so that there is a difference to learn.",
        )
    return found


def _fitted(features_LF: NDArray[Any], targets_LK: NDArray[Any], strength: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Learn, and return what gives the probabilities [N, K] of features [N, F]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    mean_F, std_F = features_LF.mean(0), features_LF.std(0)
    std_F = np.maximum(std_F, 1e-3 * float(std_F.max(initial=1.0)))
    model = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped short of the optimum, or that a fold never shows a class
        model.fit((features_LF - mean_F) / std_F, targets_LK.astype(np.int64))

    def probabilities(features_NF: NDArray[Any]) -> NDArray[Any]:
        if not len(features_NF):
            return np.zeros((0, targets_LK.shape[1]))
        found = np.asarray(model.predict_proba((features_NF - mean_F) / std_F))
        return found if targets_LK.shape[1] > 1 else found[:, -1:]

    return probabilities


def judge(features_LF: NDArray[Any], targets_LK: NDArray[Any], groups_L: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Return what the probe says of each tagged picture when it was not shown it nor its group [L, K], and the strength that says it best."""
    from sklearn.model_selection import StratifiedGroupKFold

    counts_K = targets_LK.sum(0)
    rarest_L = np.where(targets_LK.any(1), np.where(targets_LK, counts_K, counts_K.max() + 1).argmin(1), -1)
    folds = StratifiedGroupKFold(max(2, min(FOLDS, len(set(groups_L.tolist())))), shuffle=True, random_state=_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer pictures than there are folds
        parts = list(folds.split(features_LF, rarest_L, groups_L))
    best: tuple[float, NDArray[Any], float] | None = None
    for strength in probe.STRENGTHS:
        found_LK = np.zeros(targets_LK.shape)
        for learn, ask in parts:
            found_LK[ask] = _fitted(features_LF[learn], targets_LK[learn], strength)(features_LF[ask])
        loss = float(-np.log(np.maximum(np.where(targets_LK, found_LK, 1 - found_LK), 1e-4)).mean())
        if best is None or loss < best[0]:
            best = loss, found_LK, strength
    assert best is not None, "there is at least one strength"
    return best[1], best[2]


def curve(found_LK: NDArray[Any], targets_LK: NDArray[Any]) -> list[list[float]]:
    """Return [score, pictures with a class proposed and every class that sure one way or the other, how many of those were all right].

    >>> curve(np.array([[0.95, 0.02], [0.95, 0.4], [0.01, 0.02]]), np.array([[True, False], [True, True], [False, True]]))[40]
    [0.9, 1, 1]
    """
    right_L = ((found_LK >= PROPOSED) == targets_LK).all(1)
    found = []
    for place in range(50):
        score = round(0.5 + place / 100, 2)
        sure_L = (found_LK.max(1) >= score) & ((found_LK >= score) | (found_LK <= 1 - score)).all(1)
        found.append([score, int(sure_L.sum()), int((right_L & sure_L).sum())])
    return found
