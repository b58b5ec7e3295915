"""How good a detector or instance segmenter is, as the field defines it: COCO's average precision and recall.

The figures come from faster-coco-eval, a compiled form of COCO's own code; tests hold them to pycocotools.
Ways to look at single mistakes are for `engine.evaluation.mistakes`, the choice of a confidence for `engine.evaluation.operating`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.boxes import Things

__all__ = ["SIZES", "average_precision", "coco"]

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's sizes of things, by area in square pixels."""

MOST_FOUND = (1, 10, 100)


def coco(found: Things, true: Things, classes: Sequence[str], *, kind: Literal["bbox", "segm"] = "bbox") -> dict[str, Any]:
    """Return COCO's figures.

    Args:
        found: what the model found in the pictures.
        true: what is there.
        classes: the class names, in the order of the labels.
        kind: 'bbox' compares boxes, 'segm' masks.

    Returns:
        map (mean over overlaps .50 to .95), map_50, map_75, map_small, map_medium, map_large, ar_1, ar_10, ar_100, and per_class: a list
        of {name, map, map_50, ar_100, count}. A figure that nothing can be said about is None.
    """
    evaluated = _evaluated(found, true, len(classes), kind)
    precision, recall = evaluated.eval["precision"], evaluated.eval["recall"]  # [overlaps, recalls, classes, sizes, limits], [.., no recalls ..]
    thresholds = np.asarray(evaluated.params.iouThrs)
    at_50, at_75 = (int(np.flatnonzero(np.isclose(thresholds, wanted))[0]) for wanted in (0.5, 0.75))
    counts = np.bincount(true.labels_M[~true.crowd_M], minlength=len(classes))
    return {
        "map": _mean(precision[:, :, :, 0, -1]),
        "map_50": _mean(precision[at_50, :, :, 0, -1]),
        "map_75": _mean(precision[at_75, :, :, 0, -1]),
        **{f"map_{size}": _mean(precision[:, :, :, place + 1, -1]) for place, size in enumerate(SIZES)},
        **{f"ar_{most}": _mean(recall[:, :, 0, place]) for place, most in enumerate(MOST_FOUND)},
        "per_class": [
            {
                "name": name,
                "map": _mean(precision[:, :, place, 0, -1]),
                "map_50": _mean(precision[at_50, :, place, 0, -1]),
                "ar_100": _mean(recall[:, place, 0, -1]),
                "count": int(counts[place]),
            }
            for place, name in enumerate(classes)
        ],
    }


def _mean(values: NDArray[Any]) -> float | None:
    """Return the mean of what is defined; COCO marks what is not with -1."""
    kept = np.asarray(values)[np.asarray(values) > -1]
    return float(kept.mean()) if kept.size else None


def _evaluated(found: Things, true: Things, classes: int, kind: str) -> Any:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = {
        "images": [{"id": place + 1, "height": height, "width": width} for place, (height, width) in enumerate(_sizes(true))],
        "categories": [{"id": place + 1, "name": str(place)} for place in range(classes)],
        "annotations": _rows(true, kind, crowds=True),
    }
    known = COCO(truth)
    answers = known.loadRes(_rows(found, kind, crowds=False))
    evaluated = COCOeval_faster(known, answers, iouType=kind, print_function=lambda *_: None)  # type: ignore[arg-type]
    evaluated.evaluate()
    evaluated.accumulate()
    return evaluated


def _sizes(true: Things) -> list[tuple[int, int]]:
    """Return height and width of each picture, as far as masks tell; COCO's code asks for them only there."""
    sizes = [(0, 0)] * true.pictures
    for picture, mask in zip(true.picture_M, true.masks, strict=False):
        sizes[picture] = (int(mask["size"][0]), int(mask["size"][1]))
    return sizes


def _rows(things: Things, kind: str, *, crowds: bool) -> list[dict[str, Any]]:
    areas = things.areas()
    rows = []
    for place, (picture, box, label, score) in enumerate(zip(things.picture_M, things.boxes_M4, things.labels_M, things.scores_M, strict=True)):
        x1, y1, x2, y2 = (float(edge) for edge in box)
        row: dict[str, Any] = {"image_id": int(picture) + 1, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        if kind == "segm":
            mask = things.masks[place]
            row["segmentation"] = {"size": list(mask["size"]), "counts": mask["counts"]}
        if crowds:
            row |= {"id": place + 1, "area": float(areas[place]), "iscrowd": int(things.crowd_M[place])}
        else:
            row |= {"score": float(score)}
        rows.append(row)
    return rows


def average_precision(right_M: NDArray[np.bool_], scores_M: NDArray[Any], true_count: int) -> float | None:
    """Return COCO's average precision of one class at one overlap: the mean of the highest precision still reached at 101 recalls.

    None where there is nothing to find.
    """
    if not true_count:
        return None
    order = np.argsort(-scores_M, kind="mergesort")
    hits_M = np.cumsum(right_M[order])
    recall_M = hits_M / true_count
    precision_M = hits_M / np.arange(1, len(order) + 1)
    precision_M = np.maximum.accumulate(precision_M[::-1])[::-1]
    places = np.searchsorted(recall_M, np.linspace(0, 1, 101), side="left")
    return float(np.where(places < len(precision_M), precision_M[np.minimum(places, len(precision_M) - 1)], 0.0).mean()) if len(order) else 0.0
