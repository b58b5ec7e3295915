"""Checks of drawn labels: without an inside, outside their picture, or on top of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.data import shapes
from engine.data.check.facts import Facts
from engine.data.check.findings import Case, Finding, mark_key
from engine.data.marks import Mark

__all__ = ["boxes_wrong"]

_SMALLEST_PX = 2.0
_OVER_PX = 1.0
_SAME_PLACE = 0.95  # intersection over union: two people who draw the same thing reach 0.8 to 0.9, a copy 1


def _bounds(mark: Mark) -> tuple[float, float, float, float] | None:
    """Return the box round a mark; None where its shape is none."""
    try:
        x1, y1, x2, y2 = shapes.bounds(mark.kind, mark.geometry or {})
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return (x1, y1, x2, y2) if np.isfinite([x1, y1, x2, y2]).all() else None


def _fault(mark: Mark, width: int, height: int) -> str:
    """Say what is wrong with one mark's place; '' if nothing."""
    found = _bounds(mark)
    if found is None:
        return "its shape is damaged"
    x1, y1, x2, y2 = found
    if mark.kind != "point" and min(x2 - x1, y2 - y1) < _SMALLEST_PX:
        return f"{max(0.0, round(x2 - x1, 1)):g} × {max(0.0, round(y2 - y1, 1)):g} pixels"
    if x1 < -_OVER_PX or y1 < -_OVER_PX or x2 > width + _OVER_PX or y2 > height + _OVER_PX:
        return "reaches outside the picture"
    return ""


def boxes_wrong(facts: Facts) -> list[Finding]:
    """Return marks that are empty or outside, and pairs that lie on each other, of one class ('double') or of two ('clashing')."""
    bad: list[Case] = []
    double: list[Case] = []
    clashing: list[Case] = []
    for item_id, drawn in facts.drawn.items():
        picture = facts.pictures[item_id]
        good: list[Mark] = []
        for mark in drawn:
            words = _fault(mark, picture.width, picture.height)
            if words:
                key = mark_key(mark)
                bad.append(Case(f"{item_id}:{key}", (item_id,), f"{mark.label}: {words}", mark.label, marks=(key,)))
            elif mark.kind != "point":
                good.append(mark)
        for first, second in _same_place(good):
            keys = mark_key(second), mark_key(first)  # the later one goes first
            subject = f"{item_id}:{'+'.join(sorted(keys))}"
            if first.label == second.label:
                double.append(Case(subject, (item_id,), f"{first.label} twice", first.label, marks=keys))
            else:
                clashing.append(Case(subject, (item_id,), f"{first.label} and {second.label}", marks=keys))
    return [Finding.of("bad-boxes", bad), Finding.of("clashing-boxes", clashing), Finding.of("double-boxes", double)]


def _same_place(drawn: Sequence[Mark]) -> list[tuple[Mark, Mark]]:
    """Return the pairs of marks that cover nearly the same place: boxes round them first, then pixels where one is no box."""
    if len(drawn) < 2:
        return []
    boxes_N4 = np.array([_bounds(mark) for mark in drawn], np.float64)
    pairs = []
    order = np.argsort(boxes_N4[:, 0], kind="stable")  # two boxes in one place begin at nearly the same x
    for place, row in enumerate(order):
        reach = boxes_N4[row, 0] + 0.1 * (boxes_N4[row, 2] - boxes_N4[row, 0])
        end = place + 1
        while end < len(order) and boxes_N4[order[end], 0] <= reach:
            end += 1
        others = order[place + 1 : end]
        for other in others[_overlap(boxes_N4[row], boxes_N4[others]) >= _SAME_PLACE]:
            pairs.append((min(int(row), int(other)), max(int(row), int(other))))
    return [(drawn[one], drawn[other]) for one, other in sorted(pairs) if _same_shape(drawn[one], drawn[other])]


def _overlap(box_4: NDArray[np.float64], others_N4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of one box with others, [N]."""
    low, high = np.maximum(box_4[:2], others_N4[:, :2]), np.minimum(box_4[2:], others_N4[:, 2:])
    shared_N = np.prod(np.clip(high - low, 0, None), axis=1)
    areas_N = np.prod(others_N4[:, 2:] - others_N4[:, :2], axis=1) + float(np.prod(box_4[2:] - box_4[:2]))
    return np.asarray(shared_N / np.maximum(areas_N - shared_N, 1e-9))


def _same_shape(one: Mark, other: Mark) -> bool:
    """Tell whether two marks with the same box round them cover the same: areas tell enough."""
    areas = shapes.area(one.kind, one.geometry or {}), shapes.area(other.kind, other.geometry or {})
    return min(areas) >= 0.9 * max(areas)
