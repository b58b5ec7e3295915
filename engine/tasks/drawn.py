"""What the tasks with drawn labels share: the labels of all pictures as a network sees them, and how they follow their pictures' variations.

Everything lies in the frame a picture is shown in (`engine.data.geometry`), in its pixels. Torch is imported only inside.

N pictures, B in a batch, M things in one picture; boxes are x1 y1 x2 y2; frames are H x W pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.data import geometry, shapes
from engine.evaluation import drawn as evaluation
from engine.evaluation.answers import Answer
from engine.evaluation.boxes import Things, from_marks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["IGNORED", "Drawn", "Labelled", "in_picture", "repeat_factors", "report"]

IGNORED = 255
"""In a map of classes: pixels that count neither as background nor as a class."""

_VISIBLE = 0.1
"""Share of a thing that must still be seen for it to count; less than a tenth is too little to be told."""
_SMALLEST_PX = 1.5
_RARE = 0.5
"""Classes in fewer than this share of the pictures are shown more often (LVIS takes 0.001 of 100,000 pictures)."""


class Drawn:
    """The marks of all N pictures, in their frames.

    Attributes:
        placed: where each picture lies in its frame; hw: the frame's height and width.
        labels: the class of each thing of each picture; crowds: whether it is a region of many.
    """

    def __init__(self, manifest: Mapping[str, Any], hw: tuple[int, int]) -> None:
        self.entries = manifest["items"]
        self.hw = hw
        self.placed = [geometry.placed(entry["width"], entry["height"], hw) for entry in self.entries]
        self.labels = [np.array([mark["class"] for mark in entry["marks"]], np.int64) for entry in self.entries]
        self.crowds = [np.array([bool(mark.get("crowd")) for mark in entry["marks"]], bool) for entry in self.entries]
        self._outlines: dict[int, list[NDArray[np.float64]]] = {}
        self._kept: dict[tuple[int, str], list[bytes]] = {}
        self._truth: dict[tuple[bytes, bool], Things] = {}

    def outlines(self, row: int) -> list[NDArray[np.float64]]:
        """Return corner points [P, 2] that span each thing of a picture: a polygon's own, else those of its box."""
        if row not in self._outlines:
            self._outlines[row] = [self.placed[row].to_frame(_corners(mark)) for mark in self.entries[row]["marks"]]
        return self._outlines[row]

    def mask(self, row: int, mark: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return one thing's pixels in the frame [H, W]."""
        where = self.placed[row]
        if mark["kind"] == "mask":
            return where.mask_to_frame(shapes.mask_of(mark), self.hw)
        if mark["kind"] == "polygon":
            rings = [where.to_frame(np.asarray(ring).reshape(-1, 2)).ravel().tolist() for ring in mark["rings"]]
            return shapes.raster("polygon", {"rings": rings}, self.hw[1], self.hw[0])
        return shapes.raster("box", {"box": where.to_frame(mark["box"]).tolist()}, self.hw[1], self.hw[0])

    def class_map(self, row: int) -> NDArray[np.uint8]:
        """Return the class of each pixel of the frame [H, W]: 0 background, k + 1 class k, IGNORED in the margin. Later marks lie on top."""

        def painted() -> list[NDArray[np.uint8]]:
            found = np.full(self.hw, IGNORED, np.uint8)
            found[: self.placed[row].content_height, : self.placed[row].content_width] = 0
            for mark in self.entries[row]["marks"]:
                found[self.mask(row, mark) & (found != IGNORED)] = mark["class"] + 1
            return [found]

        return self._packed(row, np.uint8, painted)[0]

    def layers(self, row: int) -> list[NDArray[np.uint16]]:
        """Return maps [H, W] in which each pixel says whose it is: thing m has value m + 1. Things that overlap lie in different layers."""

        def painted() -> list[NDArray[np.uint16]]:
            found: list[NDArray[np.uint16]] = []
            for place, mark in enumerate(self.entries[row]["marks"]):
                mask_HW = self.mask(row, mark)
                free = next((layer for layer in found if not layer[mask_HW].any()), None)
                if free is None:
                    free = np.zeros(self.hw, np.uint16)
                    found.append(free)
                free[mask_HW] = place + 1
            return found

        return self._packed(row, np.uint16, painted)

    def _packed(self, row: int, kind: type[np.unsignedinteger[Any]], paint: Callable[[], list[NDArray[Any]]]) -> list[NDArray[Any]]:
        """Return maps that are painted once and then kept squeezed: they are nearly all of one value."""
        if (row, kind.__name__) not in self._kept:
            self._kept[row, kind.__name__] = [zlib.compress(one.tobytes(), 1) for one in paint()]
        return [np.frombuffer(zlib.decompress(one), kind).reshape(self.hw) for one in self._kept[row, kind.__name__]]

    def boxes(self, row: int, affine_23: NDArray[np.float64] | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return boxes [M, 4] and classes [M] of what is still seen of a picture's things in its varied view; crowds are left out."""
        found = [geometry.warped_points(points, affine_23, self.hw) if affine_23 is not None else points for points in self.outlines(row)]
        whole_M4 = np.array([(*points.min(0), *points.max(0)) for points in found], np.float64).reshape(-1, 4)
        seen_M4 = whole_M4.clip(0, np.tile((self.hw[1], self.hw[0]), 2))
        kept = (_area(seen_M4) >= _VISIBLE * _area(whole_M4)) & (_sides(seen_M4).min(1, initial=np.inf) >= _SMALLEST_PX) & ~self.crowds[row]
        return seen_M4[kept].astype(np.float32), self.labels[row][kept]

    def masked(self, row: int, affine_23: NDArray[np.float64] | None) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """Return boxes [M, 4], classes [M] and masks [M, H, W] of what is still seen of a picture's things; boxes lie close round the masks."""
        boxes, labels, masks = [], [], []
        parts = _things_in(self.layers(row), affine_23, len(self.labels[row]))
        for place, (mask_HW, before_px) in enumerate(parts):
            if self.crowds[row][place] or mask_HW is None or mask_HW.sum() < max(_VISIBLE * before_px * _zoom(affine_23), _SMALLEST_PX**2):
                continue
            rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            labels.append(self.labels[row][place])
            masks.append(mask_HW)
        stacked = np.stack(masks) if masks else np.zeros((0, *self.hw), bool)
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), stacked

    def truth(self, rows: NDArray[Any], *, masks: bool) -> Things:
        """Return the true things of some pictures: boxes in their own pixels, or with masks, in the pixels of their frames."""
        key = (np.asarray(rows).tobytes(), masks)
        if key not in self._truth:
            entries = [self._framed(int(row)) if masks else self.entries[row] for row in rows]
            self._truth[key] = from_marks(entries, masks=masks)
        return self._truth[key]

    def _framed(self, row: int) -> dict[str, Any]:
        """Return a picture's entry as if the frame's content were the picture, all marks masks that are not empty."""
        where, marks = self.placed[row], []
        for mark in self.entries[row]["marks"]:
            mask_HW = self.mask(row, mark)[: where.content_height, : where.content_width]
            if mask_HW.any():
                marks.append({"class": mark["class"], "kind": "mask", **shapes.mask_from(mask_HW), "crowd": bool(mark.get("crowd"))})
        return {"width": where.content_width, "height": where.content_height, "marks": marks}


def _corners(mark: Mapping[str, Any]) -> NDArray[np.float64]:
    if mark["kind"] == "polygon":
        return np.concatenate([np.asarray(ring, np.float64).reshape(-1, 2) for ring in mark["rings"]])
    x1, y1, x2, y2 = shapes.bounds(mark["kind"], mark)
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


def _sides(boxes_M4: NDArray[Any]) -> NDArray[Any]:
    return boxes_M4[:, 2:] - boxes_M4[:, :2]


def _area(boxes_M4: NDArray[Any]) -> NDArray[Any]:
    return _sides(boxes_M4).clip(0).prod(1)


def _zoom(affine_23: NDArray[np.float64] | None) -> float:
    """Return how many pixels of a varied view one pixel of the frame becomes."""
    return 1.0 if affine_23 is None else 1.0 / max(1e-9, abs(float(np.linalg.det(affine_23[:, :2]))))


def _things_in(layers: list[NDArray[np.uint16]], affine_23: NDArray[np.float64] | None, count: int) -> list[tuple[NDArray[np.bool_] | None, int]]:
    """Return each thing's mask in the varied view (None where it has no pixel left) and how many pixels it had before."""
    found: list[tuple[NDArray[np.bool_] | None, int]] = [(None, 0)] * count
    for layer_HW in layers:
        before = np.bincount(layer_HW.ravel())
        view_HW = geometry.warped_map(layer_HW, affine_23) if affine_23 is not None else layer_HW
        for value in np.flatnonzero(before[1:]) + 1:
            mask_HW = view_HW == value
            found[value - 1] = (mask_HW if mask_HW.any() else None, int(before[value]))
    return found


def repeat_factors(labels: Sequence[NDArray[np.int64]], rows: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Return how often each picture should be shown for rare classes to be learnt, the mean 1: LVIS's repeat factors (Gupta et al. 2019)."""
    shown_NK = np.array([np.isin(np.arange(classes), labels[row]) for row in rows]).reshape(-1, classes)
    share_K = shown_NK.mean(0).clip(1e-9)
    factor_K = np.maximum(1.0, np.sqrt(_RARE / share_K))
    factors_N = np.where(shown_NK, factor_K[None, :], 1.0).max(1)
    return factors_N / factors_N.mean()


class Labelled(list[dict[str, "Tensor"]]):
    """The targets of a batch: for each picture boxes_N4, labels_N and, where there are masks, masks_NHW. A slice of it is one too."""

    hw: tuple[int, int]

    def __init__(self, rows: Any, hw: tuple[int, int]) -> None:
        super().__init__(rows)
        self.hw = hw

    def __getitem__(self, some: Any) -> Any:
        found = super().__getitem__(some)
        return Labelled(found, self.hw) if isinstance(some, slice) else found

    @classmethod
    def of(cls, drawn: Drawn, rows: NDArray[Any], device: torch.device, variation: Any, *, masks: bool) -> Labelled:
        """Return the targets of some pictures, varied as they are."""
        import torch

        found = []
        for place, row in enumerate(rows):
            affine_23 = None if variation is None else variation.affine_B23[place]
            parts = drawn.masked(int(row), affine_23) if masks else drawn.boxes(int(row), affine_23)
            found.append({name: torch.from_numpy(part).to(device) for name, part in zip(("boxes_N4", "labels_N", "masks_NHW"), parts, strict=False)})
        return cls(found, drawn.hw)

    def quartered(self, quarters_B4: NDArray[np.int64]) -> Labelled:
        """Return the targets where pictures are put together of four at half their size, clockwise from the upper left (-1: left alone)."""
        height, width = self.hw[0] // 2, self.hw[1] // 2
        corners = ((0, 0), (width, 0), (width, height), (0, height))
        return Labelled(
            [
                own
                if donors[0] < 0
                else _together([_shrunk(super(Labelled, self).__getitem__(int(d)), corner) for d, corner in zip(donors, corners, strict=True)])
                for own, donors in zip(self, quarters_B4, strict=True)
            ],
            self.hw,
        )

    def pasted(self, donor_B: NDArray[np.int64], chosen_B: NDArray[np.float64]) -> tuple[Labelled, Tensor]:
        """Return the targets where the first share of a donor's things is pasted in (-1: nothing is), and the pixels pasted over [B, H, W]."""
        import torch

        found, over = [], []
        for own, donor, chosen in zip(self, donor_B, chosen_B, strict=True):
            others = None if donor < 0 else super().__getitem__(int(donor))
            if others is None or not len(others["labels_N"]):
                found.append(own)
                over.append(torch.zeros(self.hw, dtype=torch.bool, device=own["labels_N"].device))
                continue
            some = slice(0, max(1, round(chosen * len(others["labels_N"]))))
            others = {name: tensor[some] for name, tensor in others.items()}
            over_HW = others["masks_NHW"].any(0)
            found.append(_together([_hidden(own, over_HW), others]))
            over.append(over_HW)
        return Labelled(found, self.hw), torch.stack(over)


def _shrunk(target: dict[str, Tensor], corner: tuple[int, int]) -> dict[str, Tensor]:
    """Return one picture's targets at half their size, their upper left corner at (x, y)."""
    import torch

    x, y = corner
    found = {"boxes_N4": target["boxes_N4"] * 0.5 + torch.tensor((x, y, x, y), device=target["boxes_N4"].device), "labels_N": target["labels_N"]}
    if "masks_NHW" in target:
        masks_NHW = torch.zeros_like(target["masks_NHW"])
        height, width = masks_NHW.shape[1] // 2, masks_NHW.shape[2] // 2
        masks_NHW[:, y : y + height, x : x + width] = target["masks_NHW"][:, ::2, ::2]
        return _seen({**found, "masks_NHW": masks_NHW}, masks_NHW.flatten(1).any(1))
    return _seen(found, (found["boxes_N4"][:, 2:] - found["boxes_N4"][:, :2]).amin(1) >= _SMALLEST_PX)


def _hidden(target: dict[str, Tensor], over_HW: Tensor) -> dict[str, Tensor]:
    """Return what is left of one picture's things where pixels are pasted over; those that are all but covered are gone."""
    from torchvision.ops import masks_to_boxes

    masks_NHW = target["masks_NHW"] & ~over_HW
    left = _seen({**target, "masks_NHW": masks_NHW}, masks_NHW.flatten(1).sum(1) > 0.2 * target["masks_NHW"].flatten(1).sum(1))
    if len(left["labels_N"]):
        boxes_N4 = masks_to_boxes(left["masks_NHW"])
        boxes_N4[:, 2:] += 1
        left["boxes_N4"] = boxes_N4
    return left


def _seen(target: dict[str, Tensor], kept: Tensor) -> dict[str, Tensor]:
    return {name: tensor[kept] for name, tensor in target.items()}


def _together(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    import torch

    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def report(
    manifest: Mapping[str, Any], split: Literal["train", "val", "test"], rows: Mapping[str, NDArray[Any]], answers: Mapping[str, Sequence[Answer]], **extra: Any
) -> dict[str, Any]:
    """Return report.json of the answers, in the pictures' own pixels, on the rows of each split (see `engine.evaluation.drawn`)."""
    seen = {
        name: evaluation.Evidence(manifest["task"], tuple(manifest["classes"]), tuple(manifest["items"][row] for row in rows[name]), tuple(found))
        for name, found in answers.items()
    }
    return evaluation.make_report(seen[split], split, val=seen.get("val"), **extra)


def in_picture(answer: Answer, where: geometry.Placed) -> Answer:
    """Return an answer on a frame's content as one on the picture itself."""
    masks = answer.masks
    if masks is not None:
        masks = tuple(shapes.mask_from(geometry.resized_mask(shapes.mask_of(mask), where.height, where.width)) for mask in masks)
    boxes_D4 = where.to_picture(answer.boxes_D4).astype(np.float32)
    return replace(answer, width=where.width, height=where.height, boxes_D4=boxes_D4, masks=masks)
