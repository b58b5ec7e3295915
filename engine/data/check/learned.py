"""What frozen features tell of a data set: labels that are likely wrong, pictures out of place, and a map. Plain arrays in and out; no torch here.

N pictures or drawn labels, F features, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Suspect", "TagSuspect", "chart", "out_of_place", "reduced", "suspects", "tag_suspects", "usual_distance"]

_FOLDS = 5
_FEWEST = 4
"""A class with fewer examples cannot be told apart from mistakes."""

_WIDTH = 128
_C, _SURE, _VERY_SURE = 5.0, 0.4, 0.6
"""The strength of the probe, and how much more likely another class must be: where confident learning names the row too, and where it does not (it names
about as many as it believes to be wrong, which in a few hundred pictures is a rough guess). With 5% of the labels flipped, six times: of the digits that
are named 92% had been flipped, and of those flipped 83% are named; textures 100% and 97%; photographs of clothes, which bring doubtful labels of
their own, 57% and 80%.
"""

_REPEATS, _REPEATED = 3, 20_000
"""Up to this many rows the folds are drawn three times: their mean is steadier."""

_FARTHEST = 1.4
"""Local outlier factor: how many times farther a picture is from its neighbours than those from theirs. Strangers planted among digits, textures, tissue
and blood cells have 1.4 to 2.6, the data sets' own pictures 1.4 at most (one digit 1.5); among photographs of clothes, which are as unlike each other as
strangers are, none stand out.
"""

_COMPARED, _CHUNK = 5000, 2000

_MOST_OUT = 0.02
_NEIGHBOURS = 20
_PERPLEXITY = 30.0


@dataclass(frozen=True)
class Suspect:
    """A label that is likely wrong: its row, what it should rather be, and how sure (0..1) a model is that never saw it."""

    row: int
    suggested: str
    confidence: float


@dataclass(frozen=True)
class TagSuspect:
    """A class that a row likely shows though nobody said so (`shown`), or the other way round, and how sure (0..1) a model is that never saw it."""

    row: int
    label: str
    shown: bool
    confidence: float


def reduced(features_NF: NDArray[np.floating], width: int = _WIDTH) -> NDArray[np.float32]:
    """Return the principal components of standardised features, each picture scaled to length 1: distances then compare directions."""
    from sklearn.decomposition import PCA

    count = min(width, features_NF.shape[1], max(1, len(features_NF) - 1))
    centred_NF = np.asarray(features_NF, np.float32) - features_NF.mean(0, dtype=np.float32)
    parts_NC = PCA(count, svd_solver="randomized" if count < min(features_NF.shape) else "full", random_state=0).fit_transform(centred_NF)
    return _unit(parts_NC)


def suspects(parts_NC: NDArray[np.float32], labels: Sequence[str], groups_N: NDArray[np.int64]) -> list[Suspect]:
    """Return labels that are likely wrong, the surest first, by confident learning (Northcutt et al. 2021; cleanlab).

    Args:
        parts_NC: what `reduced` gave.
        labels: the class of each row.
        groups_N: rows of one group (copies of one picture, marks of one picture) never vouch for each other.
    """
    from cleanlab.filter import find_label_issues

    names, codes_N, counts_K = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    judged = np.flatnonzero(counts_K[codes_N] >= _FEWEST)
    kept_names = [name for name, count in zip(names, counts_K, strict=True) if count >= _FEWEST]
    if len(kept_names) < 2:
        return []
    codes_M = np.unique(codes_N[judged], return_inverse=True)[1]
    answers_MK = _answers(parts_NC[judged], codes_M, groups_N[judged], len(kept_names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cleanlab warns of classes without a confident example, which is no fault of the user's
        named_M = find_label_issues(codes_M, answers_MK, filter_by="both", n_jobs=1)
    best_M, rows_M = answers_MK.argmax(1), np.arange(len(codes_M))
    margin_M = answers_MK[rows_M, best_M] - answers_MK[rows_M, codes_M]
    wrong = np.flatnonzero((best_M != codes_M) & (margin_M >= np.where(named_M, _SURE, _VERY_SURE)))
    wrong = wrong[np.argsort(-margin_M[wrong], kind="stable")]
    return [Suspect(int(judged[row]), str(kept_names[best_M[row]]), float(answers_MK[row, best_M[row]])) for row in wrong.tolist()]


def tag_suspects(parts_NC: NDArray[np.float32], labels: Sequence[Sequence[str]], groups_N: NDArray[np.int64]) -> list[TagSuspect]:
    """Return classes that pictures with several likely have too much or too little, the surest first: `suspects` for one class after the other.

    So does cleanlab's own multi-label filter ("one against the rest", Thyagarajan et al. 2022); here, as there, another answer must be much more likely.

    Args:
        parts_NC: what `reduced` gave.
        labels: the classes of each row, perhaps none.
        groups_N: rows of one group never vouch for each other.
    """
    from cleanlab.filter import find_label_issues

    found: list[TagSuspect] = []
    for name in sorted({label for row in labels for label in row}):
        codes_N = np.array([name in row for row in labels], np.int64)
        if min(codes_N.sum(), len(codes_N) - codes_N.sum()) < _FEWEST:
            continue
        answers_N2 = _answers(parts_NC, codes_N, groups_N, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            named_N = find_label_issues(codes_N, answers_N2, filter_by="both", n_jobs=1)
        margin_N = answers_N2[np.arange(len(codes_N)), 1 - codes_N] - answers_N2[np.arange(len(codes_N)), codes_N]
        wrong = np.flatnonzero(margin_N >= np.where(named_N, _SURE, _VERY_SURE))
        found += [TagSuspect(int(row), name, not codes_N[row], float(answers_N2[row, 1 - codes_N[row]])) for row in wrong]
    return sorted(found, key=lambda one: (-one.confidence, one.row, one.label))


def _answers(parts_MC: NDArray[np.float32], codes_M: NDArray[np.int64], groups_M: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return probabilities [M, K], each row's by a model that saw neither it nor its group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    answers_MK = np.full((len(codes_M), classes), 1e-9)
    draws = [StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=draw) for draw in range(_REPEATS if len(codes_M) <= _REPEATED else 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes smaller than the number of folds: they are judged by what there is
        for train, held in (halves for folds in draws for halves in folds.split(parts_MC, codes_M, groups_M)):
            if len(np.unique(codes_M[train])) < 2:
                continue
            model = LogisticRegression(C=_C, max_iter=300).fit(parts_MC[train], codes_M[train])
            answers_MK[np.ix_(held, model.classes_)] += model.predict_proba(parts_MC[held])
    return answers_MK / answers_MK.sum(1, keepdims=True)


def usual_distance(parts_NC: NDArray[np.float32], most: int) -> float:
    """Return how far (1 - cosine) a picture of this data set usually is from its nearest one: the median over at most that many pictures."""
    if len(parts_NC) < 3:
        return 0.0
    rows = np.unique(np.linspace(0, len(parts_NC) - 1, min(most, len(parts_NC))).round().astype(np.int64))
    cosines_MN = parts_NC[rows] @ parts_NC.T
    cosines_MN[np.arange(len(rows)), rows] = -1.0
    return float(np.median(1.0 - cosines_MN.max(1)))


def out_of_place(features_NF: NDArray[np.floating]) -> list[tuple[int, float]]:
    """Return rows that lie far from all others, with how many times farther than usual, the farthest first (LOF: Breunig et al. 2000).

    Beyond some thousands, neighbours are sought among an even sample of them, so that the cost grows with the number and not with its square.
    """
    from sklearn.neighbors import LocalOutlierFactor

    if len(features_NF) < 3 * _NEIGHBOURS:
        return []
    known = np.unique(np.linspace(0, len(features_NF) - 1, min(_COMPARED, len(features_NF))).round().astype(np.int64))
    model = LocalOutlierFactor(_NEIGHBOURS, novelty=True).fit(_unit(features_NF[known]))
    factors_N = np.empty(len(features_NF))
    factors_N[known] = -model.negative_outlier_factor_
    others = np.setdiff1d(np.arange(len(features_NF)), known)
    for start in range(0, len(others), _CHUNK):
        some = others[start : start + _CHUNK]
        factors_N[some] = -model.score_samples(_unit(features_NF[some]))
    far = np.flatnonzero(factors_N > _FARTHEST)
    far = far[np.argsort(-factors_N[far], kind="stable")][: max(1, int(_MOST_OUT * len(features_NF)))]
    return [(int(row), float(factors_N[row])) for row in far]


def _unit(rows_NF: NDArray[np.floating]) -> NDArray[np.float32]:
    full_NF = np.asarray(rows_NF, np.float32)
    return full_NF / np.maximum(np.linalg.norm(full_NF, axis=1, keepdims=True), 1e-9)


def chart(parts_NC: NDArray[np.float32], most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Lay the pictures out on a plane, alike ones together (t-SNE on principal components); the same pictures give the same map.

    Returns:
        The rows on it (evenly taken, at most `most`) and their places [M, 2] in 0..1.
    """
    from sklearn.manifold import TSNE

    count = len(parts_NC)
    rows_M = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.zeros(0, np.int64)
    if len(rows_M) < 5:
        return rows_M, np.stack([np.linspace(0.2, 0.8, len(rows_M)), np.full(len(rows_M), 0.5)], axis=1).astype(np.float32)
    some_MC = parts_NC[rows_M, : min(50, parts_NC.shape[1])]
    places_M2 = TSNE(perplexity=min(_PERPLEXITY, (len(rows_M) - 1) / 4), init="pca", random_state=0, n_jobs=1).fit_transform(some_MC)
    low, high = places_M2.min(0), places_M2.max(0)
    return rows_M, ((places_M2 - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
