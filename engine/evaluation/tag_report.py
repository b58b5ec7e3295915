"""What a finished run that tags pictures knows about its mistakes: report.json and predictions.npz, and the way from a class back to its pictures.

The figures themselves come from `engine.evaluation.tags`; comparing runs is left to `engine.evaluation.compare`.

N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.evaluation import report, tags
from engine.evaluation.metrics import Floats, Ints, calibration_error
from engine.evaluation.tags import Bools

__all__ = ["KINDS", "Kind", "TagPredictions", "counts_of", "make_report", "mistakes", "of_class", "read_predictions", "write_predictions"]

_RESAMPLES = 200

Kind = Literal["missed", "false", "right"]
KINDS: tuple[Kind, ...] = ("missed", "false", "right")
"""What can become of a class in a picture: it is there and was not said, was said and is not there, is there and was said."""


@dataclass(frozen=True)
class TagPredictions:
    """What a model answered on N held-out pictures: item ids [N], which classes they show [N, K], how likely each was said to be [N, K]."""

    item_ids: Ints
    targets: Bools
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.item_ids)


def write_predictions(path: Path, item_ids_N: Ints, targets_NK: Bools, probabilities_NK: Floats) -> None:
    """Write predictions.npz, atomically."""
    report.write_arrays(
        path,
        item_ids=np.asarray(item_ids_N, np.int64),
        targets=np.asarray(targets_NK, bool),
        probabilities=np.asarray(probabilities_NK, np.float32),
    )


def read_predictions(path: Path) -> TagPredictions:
    """Read predictions.npz.

    Raises:
        StudioError: if it is missing or damaged.
    """
    return TagPredictions(*report.read_arrays(path, "item_ids", "targets", "probabilities"))


def make_report(
    manifest: Mapping[str, Any],
    item_ids_N: Ints,
    targets_NK: Bools,
    probabilities_NK: Floats,
    split: str,
    *,
    val: tuple[Bools, Floats] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Return report.json as plain JSON.

    Args:
        manifest: the data-set version, for its task and class names.
        split: the held-out split these answers are on, 'test' or 'val'.
        val: targets and probabilities of the validation pictures. The thresholds are chosen on them, so that the held-out pictures stay
            untouched; without them every class has 0.5.
        extra: what else the run knows: start, plan, seconds, best_phase.
    """
    classes = list(manifest["classes"])
    found = TagPredictions(np.asarray(item_ids_N, np.int64), np.asarray(targets_NK, bool), np.asarray(probabilities_NK))
    known = val is not None and len(val[0]) > 0
    thresholds_K = tags.best_thresholds(*val) if val is not None and known else np.full(len(classes), tags.HALF)
    scores = tags.per_class(found.targets, found.probabilities, thresholds_K)
    bins = tags.reliability(found.targets, found.probabilities)
    return {
        "task": manifest["task"],
        "classes": classes,
        "split": split,
        "n": len(found),
        "metrics": tags.headline(found.targets, found.probabilities, thresholds_K),
        "val_metrics": tags.headline(*val, thresholds_K) if val is not None and known else {},
        "interval": {"map": _interval(found)},
        "thresholds": thresholds_K.tolist(),
        "per_class": [{"name": name, **asdict(score)} for name, score in zip(classes, scores, strict=True)],
        "calibration": {"bins": [asdict(row) for row in bins], "ece": calibration_error(bins)},
        "mistakes": mistakes(found, thresholds_K)[: report.MOST_MISTAKES],
        **extra,
    }


def _interval(found: TagPredictions, certainty: float = 0.95) -> list[float] | None:
    """Return where the mean average precision lies on new pictures of the same kind, by bootstrap; None with fewer than two pictures.

    None too where all draws give the same: a figure of 1 on a few easy pictures does not say that it stays so.
    """
    if len(found) < 2:
        return None
    counts_DN = np.random.default_rng(0).multinomial(len(found), np.full(len(found), 1 / len(found)), _RESAMPLES)
    low, high = np.quantile(tags.resampled(found.targets, found.probabilities, counts_DN), [(1 - certainty) / 2, (1 + certainty) / 2])
    return [float(low), float(high)] if high > low else None


def mistakes(found: TagPredictions, thresholds_K: Floats) -> list[dict[str, Any]]:
    """Return every picture with a class missed or said wrongly, the worst first: the highest loss, summed over its classes."""
    said_NK = tags.decided(found.probabilities, thresholds_K)
    losses_N = tags.picture_losses(found.targets, found.probabilities)
    wrong = np.flatnonzero((said_NK != found.targets).any(1))
    return [
        {
            "item": int(found.item_ids[i]),
            "missed": np.flatnonzero(found.targets[i] & ~said_NK[i]).tolist(),
            "false": np.flatnonzero(~found.targets[i] & said_NK[i]).tolist(),
            "true": np.flatnonzero(found.targets[i]).tolist(),
            "said": np.flatnonzero(said_NK[i]).tolist(),
            "loss": float(losses_N[i]),
        }
        for i in wrong[np.argsort(-losses_N[wrong], kind="stable")]
    ]


def counts_of(found: TagPredictions, thresholds_K: Floats) -> dict[Kind, Ints]:
    """Return in how many pictures each class [K] was missed, said wrongly, or said rightly."""
    said_NK = tags.decided(found.probabilities, thresholds_K)
    missed, false, right = found.targets & ~said_NK, ~found.targets & said_NK, found.targets & said_NK
    return {"missed": missed.sum(0), "false": false.sum(0), "right": right.sum(0)}


def of_class(found: TagPredictions, index: int, kind: Kind, threshold: float) -> list[tuple[int, float]]:
    """Return the item ids and probabilities of the pictures in which one class was missed, said wrongly, or said rightly; the surest first.

    Of missed ones those come first of which the model was surest that they do not show the class.
    """
    said_N, true_N = found.probabilities[:, index] >= threshold, found.targets[:, index]
    inside = np.flatnonzero({"missed": true_N & ~said_N, "false": ~true_N & said_N, "right": true_N & said_N}[kind])
    sure = found.probabilities[inside, index]
    order = inside[np.argsort(sure if kind == "missed" else -sure, kind="stable")]
    return [(int(found.item_ids[i]), float(found.probabilities[i, index])) for i in order]
