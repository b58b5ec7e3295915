"""How good a segmenter is, as the field defines it: intersection over union, Dice, pixel accuracy, boundary F1, panoptic quality.

Label maps are integers [H, W]: 0 is background, then the project's classes in their order, 255 counts neither way. K counts the background.
Tests hold the figures to torchmetrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.boxes import Things, match

__all__ = ["BACKGROUND", "IGNORED", "boundary_counts", "boundary_f1", "counts", "figures", "panoptic_quality", "tolerance_px"]

BACKGROUND = "background"
IGNORED = 255

Ints = NDArray[np.integer[Any]]


def counts(predicted_HW: Ints, true_HW: Ints, classes: int) -> NDArray[np.int64]:
    """Count pixels by what they are (row) and what they were called (column): [K, K]. Add them up over pictures."""
    kept = true_HW != IGNORED
    flat = true_HW[kept].astype(np.int64) * classes + predicted_HW[kept]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def figures(table_KK: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of some pictures' pixels together.

    Args:
        table_KK: pixels by truth and answer, as `counts` gives them.
        names: the class names, the background first.

    Returns:
        miou and dice (means over the classes that occur, the background among them, as VOC does), miou_things (without the background),
        pixel_accuracy, and per_class: a list of {name, iou, dice, precision, recall, pixels}; a figure without a meaning is None.
    """
    right, said, there = np.diag(table_KK), table_KK.sum(0), table_KK.sum(1)
    iou, dice = _share(right, said + there - right), _share(2 * right, said + there)
    precision, recall = _share(right, said), _share(right, there)
    total = int(table_KK.sum())
    return {
        "miou": _mean(iou),
        "miou_things": _mean(iou[1:]),
        "dice": _mean(dice),
        "pixel_accuracy": float(right.sum() / total) if total else None,
        "per_class": [
            {
                "name": name,
                "iou": _known(iou[place]),
                "dice": _known(dice[place]),
                "precision": _known(precision[place]),
                "recall": _known(recall[place]),
                "pixels": int(there[place]),
            }
            for place, name in enumerate(names)
        ],
    }


def _share(part: Ints, whole: Ints) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def tolerance_px(height: int, width: int) -> float:
    """Return how far a boundary may be off and still count: 0.75 % of the picture's diagonal, as Csurka et al. 2013 choose."""
    return 0.0075 * float(np.hypot(height, width))


def boundary_counts(predicted_HW: Ints, true_HW: Ints, classes: int, within_px: float | None = None) -> NDArray[np.int64]:
    """Count boundary pixels of each class: [K, 4] as said and near a true one, said, true and near a said one, true.

    A boundary pixel is one with a neighbour (above, below, left, right) of another class.
    """
    from scipy.ndimage import distance_transform_edt

    reach = tolerance_px(*true_HW.shape) if within_px is None else within_px
    found = np.zeros((classes, 4), np.int64)
    kept = true_HW != IGNORED
    for label in np.union1d(np.unique(predicted_HW[kept]), np.unique(true_HW[kept])):
        said_HW, there_HW = (_edge((labels_HW == label) & kept) for labels_HW in (predicted_HW, true_HW))
        near_said = (distance_transform_edt(~said_HW) <= reach) if said_HW.any() else np.zeros_like(said_HW)
        near_there = (distance_transform_edt(~there_HW) <= reach) if there_HW.any() else np.zeros_like(there_HW)
        found[label] = (said_HW & near_there).sum(), said_HW.sum(), (there_HW & near_said).sum(), there_HW.sum()
    return found


def _edge(inside_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a region that touch what is outside it; the picture's own edge is no boundary."""
    padded = np.pad(inside_HW, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside_HW & ~surrounded


def boundary_f1(counts_K4: NDArray[np.int64]) -> float | None:
    """Return the mean over the classes that have a boundary of F1 of boundary precision and recall (the BF score)."""
    occurs = (counts_K4[:, 1] + counts_K4[:, 3]) > 0
    precision, recall = _share(counts_K4[:, 0], counts_K4[:, 1]), _share(counts_K4[:, 2], counts_K4[:, 3])
    precision, recall = np.nan_to_num(precision[occurs]), np.nan_to_num(recall[occurs])
    if not occurs.any():
        return None
    both = precision + recall
    return float(np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0).mean())


def panoptic_quality(found: Things, true: Things, classes: Sequence[str], *, confidence: float = 0.0) -> dict[str, Any]:
    """Return panoptic quality of things (Kirillov et al. 2019): pq = sq * rq, means over the classes that occur, and per_class.

    A found and a true thing of one class are the same where they overlap by more than a half. Made for things that do not overlap
    each other; leave out low scores by `confidence`.
    """
    kept = found.where(found.scores_M >= confidence)
    matched = match(kept, true, 0.5 + 1e-9)
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(classes):
        here_F, here_T = kept.labels_M == label, (true.labels_M == label) & ~true.crowd_M
        right = matched.right & here_F
        alarms = int((here_F & (matched.true_of_F == -1)).sum())
        missed = int((here_T & (matched.found_of_T < 0)).sum())
        if not (right.sum() + alarms + missed):
            rows.append({"name": name, "pq": None, "sq": None, "rq": None})
            continue
        sq = float(matched.overlap_F[right].mean()) if right.any() else 0.0
        rq = float(right.sum() / (right.sum() + alarms / 2 + missed / 2))
        rows.append({"name": name, "pq": sq * rq, "sq": sq, "rq": rq})
    occurring = [row for row in rows if row["pq"] is not None]
    means = {key: float(np.mean([row[key] for row in occurring])) if occurring else None for key in ("pq", "sq", "rq")}
    return {**means, "per_class": rows}
