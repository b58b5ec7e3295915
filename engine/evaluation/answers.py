"""What a model answered on pictures with drawn labels: boxes, masks or a class map for each picture, in that picture's own pixels. Torch-free.

`Answer` is what Try, evaluation and the command line speak of; `write` and `read` keep a run's answers on held-out pictures in predictions.npz.
The truth is not in the file: it is in the run's version.json, found again by item id. Figures are left to `engine.evaluation.detection`
and `engine.evaluation.segmentation`.

The file, with N pictures and D things found in all of them together (things of picture n stand at starts[n] .. starts[n + 1]):

    task            the task's name
    item_ids        int64 [N]
    sizes           int64 [N, 2]: width, height in pixels
    starts          int64 [N + 1]
    boxes           float32 [D, 4]: x1, y1, x2, y2
    scores          float32 [D], in 0..1; within a picture the surest comes first
    classes         int64 [D], places in the version's `classes`
    mask_starts     int64 [D + 1] and
    mask_letters    uint8 [...]: each thing's mask as COCO's compressed run lengths, column by column, in ASCII (empty: it has none)

Detection: no masks. Instance segmentation: each thing has a mask. Semantic segmentation: one thing for each class that occurs in the picture,
its mask all the pixels of that class, its score their mean confidence; what no mask covers is background.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import workspace
from engine.data import shapes
from engine.data.geometry import Placed
from engine.errors import StudioError

__all__ = ["Answer", "BACKGROUND", "from_class_map", "from_things", "read", "write"]

BACKGROUND = 0
"""In a class map: no class; class k of the version is k + 1."""


@dataclass(frozen=True)
class Answer:
    """What a model found in one picture: D things, the surest first.

    Attributes:
        width, height: of the picture, in pixels.
        boxes_D4: float32 x1 y1 x2 y2, in its pixels; scores_D: float32 in 0..1; classes_D: int64.
        masks: a kept mask a thing ({"size": [height, width], "counts": run lengths}, see `engine.data.shapes`), or None.
        item_id: the picture's, 0 where it is none of a project.
    """

    width: int
    height: int
    boxes_D4: NDArray[np.float32]
    scores_D: NDArray[np.float32]
    classes_D: NDArray[np.int64]
    masks: tuple[dict[str, Any], ...] | None = None
    item_id: int = 0

    def __len__(self) -> int:
        return len(self.scores_D)

    def above(self, score: float) -> Answer:
        """Return only what it is at least so sure of."""
        some = np.flatnonzero(self.scores_D >= score)
        masks = None if self.masks is None else tuple(self.masks[place] for place in some)
        return Answer(self.width, self.height, self.boxes_D4[some], self.scores_D[some], self.classes_D[some], masks, self.item_id)

    def class_map(self) -> NDArray[np.uint16]:
        """Return the class of each pixel [height, width]: 0 background, k + 1 class k; where masks overlap the surest wins."""
        found_HW = np.zeros((self.height, self.width), np.uint16)
        for place in range(len(self) - 1, -1, -1):
            if self.masks is not None:
                found_HW[shapes.mask_of(self.masks[place])] = self.classes_D[place] + 1
        return found_HW


def from_class_map(classes_HW: NDArray[Any], confidence_HW: NDArray[Any], item_id: int = 0) -> Answer:
    """Return the answer that a map of classes (0 background, k + 1 class k) and its confidences 0..1 amount to."""
    height, width = classes_HW.shape
    present = [int(value) for value in np.unique(classes_HW) if value != BACKGROUND]
    scores = np.array([float(confidence_HW[classes_HW == value].mean()) for value in present], np.float32)
    order = np.argsort(-scores, kind="stable")
    regions = [classes_HW == present[place] for place in order]
    boxes = [_bounds(region_HW) for region_HW in regions]
    return Answer(
        int(width),
        int(height),
        np.array(boxes, np.float32).reshape(-1, 4),
        scores[order],
        np.array([present[place] - 1 for place in order], np.int64),
        tuple(shapes.mask_from(region_HW) for region_HW in regions),
        item_id,
    )


def from_things(things_D6: NDArray[Any], where: Placed, masks_DHW: NDArray[Any] | None = None, item_id: int = 0) -> Answer:
    """Return the answer, in the picture's own pixels, that a network's detections in a frame amount to.

    Args:
        things_D6: x1 y1 x2 y2 in pixels of the frame, score, class; score 0 where there is nothing more.
        where: where the picture lies in the frame.
        masks_DHW: of each thing, true where it is; one with nothing in the picture is left out.
        item_id: the picture's.
    """
    kept = np.flatnonzero(things_D6[:, 4] > 0)
    masks: list[dict[str, Any]] | None = None
    if masks_DHW is not None:
        inside_DHW = masks_DHW[kept, : where.content_height, : where.content_width]
        kept, inside_DHW = kept[inside_DHW.any((1, 2))], inside_DHW[inside_DHW.any((1, 2))]
        masks = [shapes.mask_from(where.mask_to_picture(inside_HW)) for inside_HW in inside_DHW]
    boxes_D4 = where.to_picture(things_D6[kept, :4]).astype(np.float32)
    scores_D, classes_D = things_D6[kept, 4].astype(np.float32), things_D6[kept, 5].astype(np.int64)
    return Answer(where.width, where.height, boxes_D4, scores_D, classes_D, None if masks is None else tuple(masks), item_id)


def _bounds(region_HW: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(region_HW.any(1)), np.flatnonzero(region_HW.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def write(path: Path, answers: Sequence[Answer], task: str) -> None:
    """Write predictions.npz, atomically."""
    letters = [mask["counts"].encode("ascii") for answer in answers for mask in (answer.masks or ({"counts": ""},) * len(answer))]
    with workspace.replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(
            file,
            task=np.array(task),
            item_ids=np.array([answer.item_id for answer in answers], np.int64),
            sizes=np.array([(answer.width, answer.height) for answer in answers], np.int64).reshape(-1, 2),
            starts=np.cumsum([0, *(len(answer) for answer in answers)], dtype=np.int64),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(answer.boxes_D4 for answer in answers)]).astype(np.float32),
            scores=np.concatenate([np.zeros(0, np.float32), *(answer.scores_D for answer in answers)]).astype(np.float32),
            classes=np.concatenate([np.zeros(0, np.int64), *(answer.classes_D for answer in answers)]).astype(np.int64),
            mask_starts=np.cumsum([0, *map(len, letters)], dtype=np.int64),
            mask_letters=np.frombuffer(b"".join(letters), np.uint8),
        )


def read(path: Path) -> list[Answer]:
    """Read predictions.npz, in the order in which it was written.

    Raises:
        StudioError: if it is missing, damaged, or of another task.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        return [_answer(kept, place) for place in range(len(kept["item_ids"]))]
    except FileNotFoundError as error:
        raise StudioError(f"'{path.parent.name}' has no answers on held-out pictures yet", "Let the run finish, then look again.") from error
    except (ValueError, KeyError, IndexError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StudioError(f"{path.name} of '{path.parent.name}' is damaged", "Train again to make it anew.") from error


def _answer(kept: dict[str, NDArray[Any]], place: int) -> Answer:
    width, height = (int(side) for side in kept["sizes"][place])
    first, end = (int(row) for row in kept["starts"][place : place + 2])
    some, starts = slice(first, end), kept["mask_starts"]
    counts = [kept["mask_letters"][starts[row] : starts[row + 1]].tobytes().decode("ascii") for row in range(first, end)]
    masks = tuple({"size": [height, width], "counts": text} for text in counts) if all(counts) and counts else None
    return Answer(width, height, kept["boxes"][some], kept["scores"][some], kept["classes"][some], masks, int(kept["item_ids"][place]))
