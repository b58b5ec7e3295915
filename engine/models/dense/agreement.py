"""How well two answers about the same pictures agree: torch's and an exported file's. NumPy only.

Two lists of boxes are compared as sets: each box must find one of its class that lies where it lies and scores as it scores. What
scores hardly anything is left out, and so is what two cut-off lists may disagree on: scores at the cut.

Shapes: B pictures, D found, K + 1 classes with the background, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SCORE", "TOLERANCE", "compare"]

TOLERANCE = 1e-3
"""Largest difference of scores, of class shares, and of mask shares on average."""

LEAST_SCORE = 0.02
"""Boxes that score less are not compared."""

_OVERLAP = 0.98


def compare(task: str, ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Compare the tensors that `for_export` names.

    Returns:
        {"boxes": how many were compared, "unmatched": how many found no partner, "max_score": largest difference of scores of pairs,
        "max_mask": largest mean difference of their masks, "passed"}; for pixels {"max_share", "passed"}.
    """
    if task == "semantic-segmentation":
        largest = float(np.abs(ours[0] - theirs[0]).max())
        return {"max_share": largest, "passed": largest <= TOLERANCE}
    answer: dict[str, Any] = {"boxes": 0, "unmatched": 0, "max_score": 0.0, "max_mask": 0.0}
    for picture in range(len(ours[0])):
        for left, right in ((ours, theirs), (theirs, ours)):
            _one_way([part[picture] for part in left], [part[picture] for part in right], answer)
    answer["passed"] = answer["unmatched"] == 0 and answer["max_mask"] <= TOLERANCE
    return answer


def _one_way(left: Sequence[NDArray[Any]], right: Sequence[NDArray[Any]], answer: dict[str, Any]) -> None:
    boxes_D6, others_D6 = left[0], right[0]
    cut = max(float(boxes_D6[-1, 4]), float(others_D6[-1, 4]), LEAST_SCORE) + TOLERANCE
    for place in np.flatnonzero(boxes_D6[:, 4] > cut):
        overlap_D = _overlaps(boxes_D6[place], others_D6)
        score_D = np.abs(others_D6[:, 4] - boxes_D6[place, 4])
        fits_D = (others_D6[:, 5] == boxes_D6[place, 5]) & (overlap_D >= _OVERLAP) & (score_D <= TOLERANCE)
        answer["boxes"] += 1
        if not fits_D.any():
            answer["unmatched"] += 1
            continue
        partner = int(np.where(fits_D, overlap_D - score_D, -np.inf).argmax())
        answer["max_score"] = max(answer["max_score"], float(score_D[partner]))
        if len(left) > 1:
            answer["max_mask"] = max(answer["max_mask"], float(np.abs(left[1][place] - right[1][partner]).mean()))


def _overlaps(box_6: NDArray[Any], others_D6: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of one box with many; 1 where both are empty at the same place."""
    low_D2, high_D2 = np.maximum(box_6[:2], others_D6[:, :2]), np.minimum(box_6[2:4], others_D6[:, 2:4])
    common_D = np.clip(high_D2 - low_D2, 0, None).prod(1)
    areas_D = (others_D6[:, 2:4] - others_D6[:, :2]).prod(1) + (box_6[2:4] - box_6[:2]).prod() - common_D
    same_D = np.abs(others_D6[:, :4] - box_6[:4]).max(1) < 1e-2
    return np.where(same_D, 1.0, common_D / np.maximum(areas_D, 1e-9))
