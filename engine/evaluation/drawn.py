"""What a finished run with drawn labels knows about its mistakes: report.json, and the evidence it is drawn from.

`make_report` is what a run leaves; `evidence` finds again, from the run's own files, what was found and what is there, so that a page can ask
any other question (another confidence, another overlap). The figures themselves are `detection`'s, `segmentation`'s and `mistakes`'.

N pictures, K classes; a semantic map counts the background as class 0 of K + 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine import workspace
from engine.data import shapes
from engine.evaluation import answers as kept_answers
from engine.evaluation import boxes, detection, mistakes, operating, segmentation
from engine.evaluation.answers import Answer
from engine.evaluation.boxes import Things

__all__ = ["SEMANTIC", "Evidence", "evidence", "make_report", "things", "true_map"]

SEMANTIC = "semantic-segmentation"
INSTANCE = "instance-segmentation"
OVERLAP = 0.5
MOST_MISTAKES = 200
_RESAMPLES = 200


def things(answers: Sequence[Answer]) -> Things:
    """Return what was found in pictures as one table."""
    counts = [len(answer) for answer in answers]
    masks = tuple(mask for answer in answers for mask in answer.masks or ())
    return Things(
        len(answers),
        np.repeat(np.arange(len(answers)), counts).astype(np.int64),
        np.concatenate([np.zeros((0, 4)), *(answer.boxes_D4 for answer in answers)]).astype(np.float64),
        np.concatenate([np.zeros(0, np.int64), *(answer.classes_D for answer in answers)]).astype(np.int64),
        np.concatenate([np.zeros(0), *(answer.scores_D for answer in answers)]).astype(np.float64),
        np.zeros(sum(counts), bool),
        masks if len(masks) == sum(counts) else (),
    )


def true_map(entry: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the label map [height, width] of a manifest's entry: later marks lie on earlier ones, crowds count neither way."""
    labels_HW = np.zeros((entry["height"], entry["width"]), np.uint8)
    for mark in entry["marks"]:
        labels_HW[shapes.raster(mark["kind"], mark, entry["width"], entry["height"])] = segmentation.IGNORED if mark.get("crowd") else mark["class"] + 1
    return labels_HW


@dataclass(frozen=True)
class Evidence:
    """What a run found in its held-out pictures, and what is there. `entries` and `answers` go together, picture by picture."""

    task: str
    classes: tuple[str, ...]
    entries: tuple[Mapping[str, Any], ...]
    answers: tuple[Answer, ...]

    @property
    def masks(self) -> bool:
        """Whether masks are compared, not boxes."""
        return self.task == INSTANCE

    @property
    def found(self) -> Things:
        """What was found."""
        return things(self.answers)

    @property
    def true(self) -> Things:
        """What is there."""
        return boxes.from_marks(self.entries, masks=self.masks)


def evidence(folder: Path) -> Evidence:
    """Return the evidence of the run in that directory.

    Raises:
        StudioError: if its answers are missing or damaged.
    """
    version = workspace.read_json(folder / "version.json")
    by_id = {entry["id"]: entry for entry in version["items"]}
    answers = [answer for answer in kept_answers.read(folder / "predictions.npz") if answer.item_id in by_id]
    return Evidence(version["task"], tuple(version["classes"]), tuple(by_id[answer.item_id] for answer in answers), tuple(answers))


def make_report(judged: Evidence, split: Literal["train", "val", "test"], *, val: Evidence | None = None, **extra: Any) -> dict[str, Any]:
    """Return report.json as plain JSON.

    Args:
        judged: answers on the held-out pictures.
        split: which these are.
        val: answers on the validation pictures: confidences are chosen on them, so that the held-out ones stay untouched.
        extra: what else the run knows: start, plan, seconds, best_phase.
    """
    head = {"task": judged.task, "classes": list(judged.classes), "split": split, "n": len(judged.entries)}
    return {**head, **(_of_map(judged, val) if judged.task == SEMANTIC else _of_things(judged, val)), **extra}


# ---------------------------------------------------------------- things: detection and instances


def _figures(judged: Evidence, found: Things, true: Things) -> dict[str, Any]:
    """Return COCO's figures; of masks where masks are compared, with those of boxes beside them."""
    figures = detection.coco(found, true, judged.classes, kind="segm" if judged.masks else "bbox")
    if judged.masks:
        figures |= {f"box_{key}": value for key, value in detection.coco(found, true, judged.classes).items() if key in ("map", "map_50")}
        figures["pq"] = segmentation.panoptic_quality(found, true, judged.classes, confidence=0.5)["pq"]
    return figures


def _of_things(judged: Evidence, val: Evidence | None) -> dict[str, Any]:
    found, true = judged.found, judged.true
    figures = _figures(judged, found, true)
    per_class = figures.pop("per_class")
    val_figures = _figures(val, val.found, val.true) if val is not None else {}
    val_figures.pop("per_class", None)
    matched = boxes.match(found, true, OVERLAP)
    points = _points(judged if val is None else val, operating.sweep(found, true, matched))
    confidence = points["balanced"]["confidence"]
    sure = found.where(found.scores_M >= confidence)
    sorted_out = mistakes.sort_out(sure, true, OVERLAP)
    for label, row in enumerate(per_class):
        point = operating.sweep(found, true, matched, label).at(confidence)
        row |= {"precision": point.precision, "recall": point.recall, "f1": point.f1 if row["count"] else None}
    sizes = true.areas()[~true.crowd_M]
    return {
        "metrics": figures,
        "val_metrics": val_figures,
        "interval": {"map_50": _interval_of_map(judged, found, true, matched)},
        "per_class": per_class,
        "points": points,
        "confusion": operating.confusion(found, true, len(judged.classes), confidence=confidence, overlap=OVERLAP).tolist(),
        "errors": {"counts": sorted_out.counts(), "costs": mistakes.costs(found, true, len(judged.classes), OVERLAP)},
        "sizes": [
            {"name": name, "count": int(((sizes >= low) & (sizes < high)).sum()), "map": figures[f"map_{name}"]}
            for name, (low, high) in detection.SIZES.items()
        ],
        "mistakes": [_mistake(judged, sure, true, row) for row in mistakes.worst(sure, true, sorted_out, MOST_MISTAKES)],
        "per_picture": {"items": [entry["id"] for entry in judged.entries], "quality": _quality(sure, true, sorted_out.matched).tolist()},
    }


def _points(chosen_on: Evidence, swept: operating.Sweep) -> dict[str, dict[str, Any]]:
    """Return for each goal the confidence that serves it on one set of pictures, and what it does on the held-out ones."""
    found, true = chosen_on.found, chosen_on.true
    choice = operating.sweep(found, true, boxes.match(found, true, OVERLAP))
    points = {goal: swept.at(math.floor(100 * operating.operating_point(goal, choice).confidence) / 100) for goal in operating.GOALS}  # as a slider can say it
    return dict(zip(points, operating.as_rows(list(points.values())), strict=True))


def _mistake(judged: Evidence, found: Things, true: Things, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one mistake with the shapes that show it, in the picture's own pixels."""
    shown = {
        key: {"box": [round(float(edge), 2) for edge in table.boxes_M4[row[key]]], "class": int(table.labels_M[row[key]])} if row[key] is not None else None
        for key, table in (("found", found), ("true", true))
    }
    return {"item": judged.entries[row["picture"]]["id"], "kind": row["kind"], "score": row["score"], **shown}


def _quality(found: Things, true: Things, matched: boxes.Matched) -> NDArray[np.float64]:
    """Return the F1 of each picture [N]; 1 where nothing is there and nothing was found."""
    pictures = true.pictures
    right = np.bincount(found.picture_M[matched.right], minlength=pictures)
    said = np.bincount(found.picture_M[matched.true_of_F != -2], minlength=pictures)
    there = np.bincount(true.picture_M[~true.crowd_M], minlength=pictures)
    return np.divide(2.0 * right, said + there, out=np.ones(pictures), where=said + there > 0)


def _interval_of_map(judged: Evidence, found: Things, true: Things, matched: boxes.Matched) -> list[float] | None:
    """Return the middle 95 % of mAP at one overlap over resampled sets of pictures (bootstrap, Efron 1979)."""
    weights_RN = _resampled(len(judged.entries))
    values = []
    for label in range(len(judged.classes)):
        kept = np.flatnonzero((found.labels_M == label) & (matched.true_of_F != -2))
        kept = kept[np.argsort(-found.scores_M[kept], kind="stable")]
        there_N = np.bincount(true.picture_M[(true.labels_M == label) & ~true.crowd_M], minlength=len(judged.entries))
        if there_N.any():
            values.append(_weighted_precision(weights_RN[:, found.picture_M[kept]], matched.right[kept], weights_RN @ there_N))
    return _middle(np.nanmean(np.stack(values), axis=0)) if values else None


def _weighted_precision(weights_RM: NDArray[np.int64], right_M: NDArray[np.bool_], true_R: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return average precision where each picture counts as often as it was drawn; NaN where no true thing was drawn."""
    hits_RM, said_RM = np.cumsum(weights_RM * right_M, axis=1), np.cumsum(weights_RM, axis=1)
    precision_RM = np.divide(hits_RM, said_RM, out=np.zeros(hits_RM.shape), where=said_RM > 0)
    precision_RM = np.maximum.accumulate(precision_RM[:, ::-1], axis=1)[:, ::-1]
    found = np.full(len(true_R), np.nan)
    for row in np.flatnonzero(true_R):
        places = np.searchsorted(hits_RM[row] / true_R[row], np.linspace(0, 1, 101), side="left")
        reached = places < right_M.size
        found[row] = np.where(reached, precision_RM[row, np.minimum(places, max(0, right_M.size - 1))], 0.0).mean() if right_M.size else 0.0
    return found


def _resampled(pictures: int) -> NDArray[np.int64]:
    """Return how often each picture is drawn in each resample [R, N]; the same every time."""
    rng = np.random.default_rng(0)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), _RESAMPLES) if pictures else np.zeros((_RESAMPLES, 0), np.int64)


def _middle(values_R: NDArray[np.float64]) -> list[float] | None:
    """Return the middle 95 %; None where all draws give the same: a figure of 1 on a few easy pictures does not say that it stays so."""
    low, high = np.nanquantile(values_R, [0.025, 0.975])
    return [float(low), float(high)] if high > low else None


# ---------------------------------------------------------------- maps: semantic segmentation


def _of_map(judged: Evidence, val: Evidence | None) -> dict[str, Any]:
    names = [segmentation.BACKGROUND, *judged.classes]
    tables_NKK, edges_K4, quality = _counted(judged, boundaries=True)
    figures = segmentation.figures(tables_NKK.sum(0), names)
    per_class = figures.pop("per_class")
    figures["boundary_f1"] = segmentation.boundary_f1(edges_K4)
    val_figures = segmentation.figures(_counted(val)[0].sum(0), names) if val is not None else {}
    val_figures.pop("per_class", None)
    order = np.argsort(quality, kind="stable")
    return {
        "metrics": figures,
        "val_metrics": val_figures,
        "interval": {"miou": _interval_of_miou(tables_NKK, names)},
        "per_class": per_class,
        "confusion": tables_NKK.sum(0).tolist(),
        "mistakes": [{"item": judged.entries[place]["id"], "quality": float(quality[place])} for place in order[:MOST_MISTAKES]],
        "per_picture": {"items": [entry["id"] for entry in judged.entries], "quality": quality.tolist()},
    }


def _counted(judged: Evidence, *, boundaries: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return pixels by truth and answer for each picture [N, K, K], boundary pixels [K, 4], and each picture's mean IoU [N]."""
    classes = len(judged.classes) + 1
    tables, edges = [], np.zeros((classes, 4), np.int64)
    for entry, answer in zip(judged.entries, judged.answers, strict=True):
        said_HW, true_HW = answer.class_map(), true_map(entry)
        tables.append(segmentation.counts(said_HW, true_HW, classes))
        if boundaries:
            edges += segmentation.boundary_counts(said_HW, true_HW, classes)
    tables_NKK = np.stack(tables) if tables else np.zeros((0, classes, classes), np.int64)
    means = [segmentation.figures(table, [""] * classes)["miou"] for table in tables_NKK]
    return tables_NKK, edges, np.array([1.0 if mean is None else mean for mean in means])


def _interval_of_miou(tables_NKK: NDArray[np.int64], names: Sequence[str]) -> list[float] | None:
    if not len(tables_NKK):
        return None
    drawn = np.einsum("rn,nij->rij", _resampled(len(tables_NKK)), tables_NKK)
    return _middle(np.array([segmentation.figures(table, names)["miou"] for table in drawn]))
