"""Help with labelling: a probe learns from the pictures that have a class and proposes one for each of the rest.

The probe is a logistic regression on frozen features of the packaged EfficientNet-Lite0, which are computed once and kept on disk: a second
round, with more labels, takes seconds. How often its proposals are right is measured by cross-validation on the labels themselves.

N pictures, L of them with a class, F features, K classes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, select

from engine.data import images, store, suggestions, versions
from engine.data.cache import DecodedSet
from engine.errors import StudioError
from engine.events import Event, Phase

__all__ = ["BACKBONE", "FEWEST", "STRENGTHS", "curve", "features", "judge", "rows_of", "suggest"]

BACKBONE = "efficientnet_lite0"

FEWEST = 20
"""Pictures with a class that a first round needs."""

MOST = 4000
"""Pictures that it learns from: with more, seconds become minutes and the proposals hardly better."""

STRENGTHS = (0.001, 0.01, 0.1)
"""scikit-learn's C for features of unit variance; cross-validation chooses."""

FOLDS = 5
_SEED = 0
_THREADS = 4


def suggest(project_id: str, emit: Callable[[Event], None], leave: Callable[[], bool]) -> dict[str, Any] | None:
    """Propose a class for every picture of a project that has none, in the place of earlier proposals.

    Returns:
        What it learned from, how many proposals there are, and `curve`; None if it was told to leave.

    Raises:
        StudioError: if too few pictures have a class, or a picture cannot be read.
    """
    began = time.monotonic()
    rows = rows_of(project_id)
    labels = [row["label"] for row in rows]
    _check_enough([label for label in labels if label])
    emit(Phase(name="features", title="Looking at the pictures"))
    features_NF = features(rows, emit, leave)
    if features_NF is None:
        return None
    emit(Phase(name="probe", title="Learning from your labels"))
    known, rest = _chosen(labels), [place for place, label in enumerate(labels) if not label]
    names = sorted({labels[place] for place in known})
    targets_L = np.array([names.index(labels[place]) for place in known])
    groups_L = np.array([rows[place]["group"] for place in known])
    found_LK, strength = judge(features_NF[known], targets_L, groups_L, len(names))
    sure_NK = _fitted(features_NF[known], targets_L, strength, len(names))(features_NF[rest])
    proposals = [(rows[place]["id"], names[int(sure_K.argmax())], float(sure_K.max())) for place, sure_K in zip(rest, sure_NK, strict=True)]
    return {
        "labelled": sum(bool(label) for label in labels),
        "classes": names,
        "suggested": suggestions.suggest(project_id, proposals),
        "accuracy": float((found_LK.argmax(1) == targets_L).mean()),
        "curve": curve(found_LK, targets_L),
        "seconds": time.monotonic() - began,
    }


def rows_of(project_id: str) -> list[dict[str, Any]]:
    """Return the project's pictures in use, with what people said of them, in the order of their ids: shards of features stay the same.

    `labels` are a picture's classes, `label` the first of them, `reviewed` whether that is all.
    """
    items, marks, classes = store.items, store.marks, store.classes
    labelled = items.outerjoin(marks, and_(marks.c.item_id == items.c.id, marks.c.kind == "class", marks.c.by != "model")).outerjoin(
        classes, classes.c.id == marks.c.class_id
    )
    columns = (items.c.id, items.c.sha256, items.c.path, items.c.name, items.c.group_name, items.c.reviewed, classes.c.name.label("label"))
    query = select(*columns).select_from(labelled).where(items.c.project_id == project_id, items.c.excluded.is_(False)).order_by(items.c.id, marks.c.id)
    found: dict[int, dict[str, Any]] = {}
    with store.session() as connection:
        for row in connection.execute(query):
            if row.id in found:
                found[row.id]["labels"].append(row.label)
                continue
            kept = {"id": row.id, "sha256": row.sha256, "path": row.path, "name": row.name, "group": row.group_name or f"\0{row.id}"}
            found[row.id] = {**kept, "label": row.label, "labels": [row.label] if row.label else [], "reviewed": row.reviewed}
    return list(found.values())


def _check_enough(labels: Sequence[str]) -> None:
    counts = {label: labels.count(label) for label in set(labels)}
    if len(labels) < FEWEST:
        raise StudioError(f"{len(labels)} pictures have a class, and suggestions need {FEWEST}", "Sort some more first.")
    if len(counts) < 2:
        raise StudioError("all sorted pictures have the same class", "Sort some into another class first.")
    rare = min(counts, key=lambda label: (counts[label], label))
    if counts[rare] < 2:
        raise StudioError(f"only one picture is sorted as '{rare}'", "Sort a second one, so that it can be told how often suggestions are right.")


def _chosen(labels: Sequence[str | None]) -> list[int]:
    """Return which pictures to learn from: all that have a class, or as many of each class as MOST allows, drawn by a fixed seed."""
    known = [place for place, label in enumerate(labels) if label]
    if len(known) <= MOST:
        return known
    chance = np.random.default_rng(_SEED)
    names = sorted({labels[place] for place in known})  # type: ignore[type-var]
    each = [chance.permutation([place for place in known if labels[place] == name]) for name in names]
    share = MOST / len(known)
    return sorted(int(place) for places in each for place in places[: max(2, round(share * len(places)))])


# ---------------------------------------------------------------- features


class _OnDemand:
    """Pictures decoded when they are asked for: features are computed once, so that a decoded copy on disk would never be read again."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], preprocessing: Mapping[str, Any]) -> None:
        self._rows, self._preprocessing = rows, preprocessing
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")

    def wait(self, rows: NDArray[Any]) -> None:
        """Nothing is decoded ahead."""

    def evaluation_view(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the model's input of these rows, uint8 NHWC."""
        return np.stack(list(self._pool.map(self._view, rows)))

    def _view(self, row: int) -> NDArray[np.uint8]:
        entry = self._rows[row]
        picture = images.open_rgb(versions.absolute(entry["path"]), images.store_px_of(self._preprocessing), entry["name"])
        return images.for_model(picture, self._preprocessing)


def features(rows: Sequence[Mapping[str, Any]], emit: Callable[[Event], None], leave: Callable[[], bool]) -> NDArray[np.float32] | None:
    """Return float32 [N, F], from the cache where they are known."""
    import torch

    from engine.models import build, catalogue
    from engine.training.features import Extractor

    row = catalogue.backbone(BACKBONE)
    spec = build.ModelSpec(
        backbone=row.name, image_size=row.image_size, mean=tuple(row.mean), std=tuple(row.std), interpolation=row.interpolation, crop_share=row.crop_share
    )
    network = build.build(build.ModelSpec(**{**asdict(spec), "classes": ("any",)}), pretrained=True)
    data = cast(DecodedSet, _OnDemand(rows, asdict(spec)))
    extractor = Extractor(network.backbone, spec, data, {"items": rows}, torch.device("cpu"), emit, leave)
    found = extractor(np.arange(len(rows)), "fp32", "channels_last")
    return None if found is None else found.numpy()


# ---------------------------------------------------------------- the probe


def _fitted(features_LF: NDArray[Any], targets_L: NDArray[Any], strength: float, classes: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Learn, and return what gives the probabilities [N, K] of features [N, F]; a class that was not shown gets none."""
    from sklearn.linear_model import LogisticRegression

    mean_F, std_F = features_LF.mean(0), features_LF.std(0)
    std_F = np.maximum(std_F, 1e-3 * float(std_F.max(initial=1.0)))
    model = LogisticRegression(C=strength, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped short of the optimum: a suggestion needs no sixth digit
        model.fit((features_LF - mean_F) / std_F, targets_L)

    def probabilities(features_NF: NDArray[Any]) -> NDArray[Any]:
        sure_NK = np.zeros((len(features_NF), classes))
        if len(features_NF):
            sure_NK[:, model.classes_] = model.predict_proba((features_NF - mean_F) / std_F)
        return sure_NK

    return probabilities


def judge(features_LF: NDArray[Any], targets_L: NDArray[Any], groups_L: NDArray[Any], classes: int) -> tuple[NDArray[Any], float]:
    """Return what the probe says of each labelled picture when it was not shown it nor its group [L, K], and the strength that says it best."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(min(FOLDS, len(set(groups_L.tolist()))), shuffle=True, random_state=_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer pictures than there are folds
        parts = [(learn, ask) for learn, ask in folds.split(features_LF, targets_L, groups_L) if len(set(targets_L[learn])) > 1]
    best: tuple[float, NDArray[Any], float] | None = None
    for strength in STRENGTHS:
        found_LK = np.zeros((len(targets_L), classes))
        for learn, ask in parts:
            found_LK[ask] = _fitted(features_LF[learn], targets_L[learn], strength, classes)(features_LF[ask])
        loss = float(-np.log(np.maximum(found_LK[np.arange(len(targets_L)), targets_L], 1e-4)).mean())
        if best is None or loss < best[0]:
            best = loss, found_LK, strength
    assert best is not None, "there is at least one strength"
    return best[1], best[2]


def curve(found_LK: NDArray[Any], targets_L: NDArray[Any]) -> list[list[float]]:
    """Return [score, how many labelled pictures got a proposal of at least that, how many of those were right], for each hundredth from 0.5 on.

    >>> curve(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))[40]
    [0.9, 1, 1]
    """
    sure_L, right_L = found_LK.max(1), found_LK.argmax(1) == targets_L
    scores = [round(0.5 + place / 100, 2) for place in range(50)]
    return [[score, int((sure_L >= score).sum()), int((right_L & (sure_L >= score)).sum())] for score in scores]
