"""Outlining each thing: detection with a mask for each thing found. Torch is imported only inside the methods.

Predictions: an `Answer` a picture, in the pixels of its frame's content while training, in its own pixels when they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data import geometry
from engine.evaluation import detection
from engine.evaluation.answers import Answer
from engine.evaluation.drawn import things
from engine.tasks.detection import Detection
from engine.tasks.drawn import Drawn, Labelled, in_picture

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

__all__ = ["InstanceSegmentation"]

LIMIT = 50
"""Most things outlined in one picture."""

_LEAST_SCORE = 0.01


class InstanceSegmentation(Detection):
    """Masks of single things."""

    name = "instance-segmentation"
    title = "Outline single things"
    words = "The model learns to outline each thing and to say what it is."
    blends: tuple[str, ...] = ("mosaic", "copy_paste")

    def batch(self, targets: Drawn, rows: NDArray[Any], device: torch.device, variation: Any = None) -> Labelled:
        """Return boxes, classes and masks of some pictures."""
        return Labelled.of(targets, rows, device, variation, masks=True)

    def decode(self, network: nn.Module, outputs: Any) -> Any:
        """Return for each picture what was found [D, 6] and its masks, packed as bits [D, H, W / 8]."""
        found = network.decode(outputs, LIMIT)  # type: ignore[operator]
        things_BD6 = found["detections_BD6"].float().cpu().numpy()
        rows = []
        for things_D6, masks_DHW in zip(things_BD6, found["masks_BDHW"], strict=True):
            kept = np.flatnonzero(things_D6[:, 4] > _LEAST_SCORE)
            inside = (masks_DHW[: len(things_D6)][kept] > 0.5).cpu().numpy()
            rows.append((things_D6[kept], np.packbits(inside, axis=-1)))
        return rows

    def joined(self, targets: Drawn, rows: NDArray[Any], parts: Sequence[Any]) -> list[Answer]:
        """Return an answer a picture, on the content of its frame."""
        return [_answer(targets, int(row), *found) for row, found in zip(rows, (one for part in parts for one in part), strict=True)]

    def metrics(self, targets: Drawn, rows: NDArray[Any], predictions: Sequence[Answer]) -> dict[str, float]:
        """Return COCO's figures of the masks; 0 where nothing can be said."""
        classes = [str(place) for place in range(1 + max((int(labels.max(initial=0)) for labels in targets.labels), default=0))]
        found = detection.coco(things(predictions), targets.truth(rows, masks=True), classes, kind="segm")
        return {name: float(found[name] or 0.0) for name in self.metric_titles}

    def _final(self, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: Any) -> Sequence[Answer]:
        """Return the answers in the pictures' own pixels."""
        entries = [manifest["items"][row] for row in rows]
        placed = [geometry.Placed(entry["width"], entry["height"], one.width, one.height) for entry, one in zip(entries, predictions, strict=True)]
        return [in_picture(one, where) for one, where in zip(predictions, placed, strict=True)]


def _answer(targets: Drawn, row: int, things_D6: NDArray[np.float32], packed_DHV: NDArray[np.uint8]) -> Answer:
    from faster_coco_eval.core import mask as coco

    where = targets.placed[row]
    inside_DHW = np.unpackbits(packed_DHV, axis=-1, count=targets.hw[1])[:, : where.content_height, : where.content_width]
    kept = np.flatnonzero(inside_DHW.any((1, 2)))
    kinds = coco.encode(np.asfortranarray(inside_DHW[kept].transpose(1, 2, 0))) if len(kept) else []
    masks = tuple({"size": [where.content_height, where.content_width], "counts": _text(one["counts"])} for one in kinds)
    boxes_D4 = things_D6[kept, :4].clip(0, np.tile((where.content_width, where.content_height), 2)).astype(np.float32)
    classes_D = things_D6[kept, 5].astype(np.int64)
    return Answer(where.content_width, where.content_height, boxes_D4, things_D6[kept, 4], classes_D, masks, int(targets.entries[row]["id"]))


def _text(counts: Any) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else str(counts)
