"""Things in pictures as one flat table, and which found thing is which true one.

Matching is COCO's: within a picture and class, found things in the order of their scores each take the free true thing they overlap most.
Leaving out low scores never changes what higher ones were matched with, so one matching serves every confidence.

N pictures, M things; boxes are x1, y1, x2, y2 in the picture's own pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data import shapes

__all__ = ["Matched", "Things", "from_marks", "match", "overlaps"]

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Things:
    """Found or true things of N pictures.

    Attributes:
        pictures: how many pictures, N.
        picture_M: the place of each thing's picture, 0..N-1.
        boxes_M4: where it is.
        labels_M: its class.
        scores_M: how sure the model is, 0..1; 1 for true things.
        crowd_M: a region of many things that are not told apart: found things in it are neither right nor wrong.
        masks: its pixels as `engine.data.shapes` keeps masks; empty where things are boxes only.
    """

    pictures: int
    picture_M: Ints
    boxes_M4: Floats
    labels_M: Ints
    scores_M: Floats
    crowd_M: Bools
    masks: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.labels_M)

    def where(self, chosen: Any) -> Things:
        """Return some of the things, by a boolean mask or by places."""
        places = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen, np.int64)
        masks = tuple(self.masks[place] for place in places) if self.masks else ()
        return Things(self.pictures, self.picture_M[places], self.boxes_M4[places], self.labels_M[places], self.scores_M[places], self.crowd_M[places], masks)

    def areas(self) -> Floats:
        """Return each thing's area in square pixels: of its mask where it has one (as COCO measures size), else of its box."""
        if self.masks:
            return np.array([shapes.area("mask", mask) for mask in self.masks], np.float64)
        return (self.boxes_M4[:, 2] - self.boxes_M4[:, 0]) * (self.boxes_M4[:, 3] - self.boxes_M4[:, 1])


def from_marks(entries: Sequence[Mapping[str, Any]], *, masks: bool = False) -> Things:
    """Return the true things of some entries of a manifest (see `engine.data.versions`), with their pixels where `masks` asks for them."""
    rows = [(place, entry, mark) for place, entry in enumerate(entries) for mark in entry["marks"]]
    boxes = [shapes.bounds(mark["kind"], mark) for _, _, mark in rows]
    pixels = [shapes.mask_from(shapes.raster(mark["kind"], mark, entry["width"], entry["height"])) for _, entry, mark in rows] if masks else []
    return Things(
        len(entries),
        np.array([place for place, _, _ in rows], np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array([mark["class"] for _, _, mark in rows], np.int64),
        np.ones(len(rows)),
        np.array([bool(mark.get("crowd")) for _, _, mark in rows], bool),
        tuple(pixels),
    )


def overlaps(found_F4: Floats, true_T4: Floats, crowd_T: Bools | None = None) -> Floats:
    """Return the intersection over union of every pair of boxes [F, T]; over the found box alone where the true one is a crowd."""
    left_top = np.maximum(found_F4[:, None, :2], true_T4[None, :, :2])
    right_bottom = np.minimum(found_F4[:, None, 2:], true_T4[None, :, 2:])
    inside_FT = np.clip(right_bottom - left_top, 0, None).prod(2)
    found_F, true_T = ((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1) for boxes in (found_F4, true_T4))
    whole_FT = found_F[:, None] + true_T[None, :] - inside_FT
    if crowd_T is not None:
        whole_FT = np.where(crowd_T[None, :], found_F[:, None], whole_FT)
    return np.divide(inside_FT, whole_FT, out=np.zeros_like(inside_FT), where=whole_FT > 0)


def _mask_overlaps(found: Things, true: Things) -> Floats:
    from faster_coco_eval.core import mask as coco

    if not len(found) or not len(true):
        return np.zeros((len(found), len(true)))
    return np.asarray(coco.iou([_coco(mask) for mask in found.masks], [_coco(mask) for mask in true.masks], true.crowd_M.astype(np.uint8).tolist()))


def _coco(mask: Mapping[str, Any]) -> dict[str, Any]:
    return {"size": list(mask["size"]), "counts": str(mask["counts"]).encode()}


@dataclass(frozen=True)
class Matched:
    """What became of each found and each true thing at one overlap.

    Attributes:
        true_of_F: for each found thing the place of the true thing it is taken for, -1 where it is a false alarm, -2 where it lies in a crowd.
        found_of_T: for each true thing the place of the found one, -1 where it was missed.
        overlap_F: how much each found thing overlaps the true thing it was matched with (0 where with none).
    """

    true_of_F: Ints
    found_of_T: Ints
    overlap_F: Floats

    @property
    def right(self) -> Bools:
        """Which found things are right."""
        return self.true_of_F >= 0


def match(found: Things, true: Things, overlap: float = 0.5) -> Matched:
    """Match found with true things of the same class that overlap at least this much (0..1)."""
    true_of_F, overlap_F = np.full(len(found), -1, np.int64), np.zeros(len(found))
    found_of_T = np.full(len(true), -1, np.int64)
    for found_places, true_places in _together(found, true):
        some_found, some_true = found.where(found_places), true.where(true_places)
        shared_FT = (
            _mask_overlaps(some_found, some_true) if found.masks and true.masks else overlaps(some_found.boxes_M4, some_true.boxes_M4, some_true.crowd_M)
        )
        free_T = ~some_true.crowd_M
        for row in np.argsort(-some_found.scores_M, kind="stable"):
            column = _best(shared_FT[row], free_T, overlap)
            if column >= 0:
                free_T[column] = False
                true_of_F[found_places[row]], overlap_F[found_places[row]] = true_places[column], shared_FT[row, column]
                found_of_T[true_places[column]] = found_places[row]
            elif some_true.crowd_M.any() and shared_FT[row][some_true.crowd_M].max() >= overlap:
                true_of_F[found_places[row]] = -2
    return Matched(true_of_F, found_of_T, overlap_F)


def _best(shared_T: Floats, free_T: Bools, overlap: float) -> int:
    if not free_T.any():
        return -1
    column = int(np.where(free_T, shared_T, -1.0).argmax())
    return column if shared_T[column] >= min(overlap, 1 - 1e-10) else -1


def _together(found: Things, true: Things) -> list[tuple[Ints, Ints]]:
    """Return the places of found and true things that share picture and class, where something was found and something is there."""
    classes = int(max(found.labels_M.max(initial=0), true.labels_M.max(initial=0))) + 1
    keys_F, keys_T = found.picture_M * classes + found.labels_M, true.picture_M * classes + true.labels_M
    order_F, order_T = np.argsort(keys_F, kind="stable"), np.argsort(keys_T, kind="stable")
    sorted_F, sorted_T = keys_F[order_F], keys_T[order_T]
    groups = []
    for key in np.intersect1d(keys_F, keys_T):
        rows, columns = (slice(*np.searchsorted(keys, (key, key + 1))) for keys in (sorted_F, sorted_T))
        groups.append((order_F[rows], order_T[columns]))
    return groups
