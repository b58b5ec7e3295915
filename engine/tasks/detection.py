"""Finding things: a box round each, and what it is. Torch is imported only inside the methods.

Targets: `engine.tasks.drawn.Drawn`; of a batch, boxes and classes a picture. Predictions: an `Answer` a picture, in its own pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.evaluation import answers, detection
from engine.evaluation.answers import Answer, from_things
from engine.evaluation.drawn import things
from engine.tasks import drawn
from engine.tasks.drawn import Drawn, Labelled, repeat_factors

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["Detection"]


class Detection:
    """Boxes round things. Classes need not exclude each other in a picture; things may overlap."""

    name = "object-detection"
    title = "Find things"
    words = "The model learns to draw a box round each thing and to say what it is."
    metric = "map"
    metric_titles: Mapping[str, str] = {
        "map": "mAP",
        "map_50": "AP at half overlap",
        "map_75": "AP at close overlap",
        "ar_100": "Recall",
    }
    family: Literal["pooled", "dense"] = "dense"
    activation: Literal["softmax", "sigmoid", ""] = ""
    fit: Literal["crop", "stretch", "whole"] = "whole"
    blends: tuple[str, ...] = ("mosaic",)

    def targets(self, manifest: Mapping[str, Any], spec: Any) -> Drawn:
        """Return the marks of all pictures in their frames."""
        return Drawn(manifest, spec.input_hw)

    def weights(self, targets: Drawn, rows: NDArray[Any], classes: int, by: Literal["loss", "sampling"] = "sampling") -> NDArray[np.float64]:
        """Weigh pictures by the rarest class they show."""
        return repeat_factors(targets.labels, rows, classes)

    def batch(self, targets: Drawn, rows: NDArray[Any], device: torch.device, variation: Any = None) -> Labelled:
        """Return boxes and classes of some pictures."""
        return Labelled.of(targets, rows, device, variation, masks=False)

    def mix(self, targets: Any, partner: Tensor, share: Tensor, classes: int) -> Any:
        """Refuse: boxes of two pictures cannot be blended; a mosaic puts them beside each other."""
        raise AssertionError("mixup and CutMix are not among the blends of this task")

    def loss(self, network: nn.Module, outputs: Any, targets: Labelled, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        """Return the sum of the network's own losses."""
        parts = network.loss(outputs, targets)  # type: ignore[operator]
        return sum(part.float() for part in parts.values())  # type: ignore[return-value]

    def decode(self, network: nn.Module, outputs: Any) -> NDArray[np.float32]:
        """Return what was found [B, D, 6]: x1 y1 x2 y2 in pixels of the frame, score, class; score 0 where there is nothing more."""
        return network.decode(outputs)["detections_BD6"].float().cpu().numpy()  # type: ignore[operator]

    def joined(self, targets: Drawn, rows: NDArray[Any], parts: Sequence[NDArray[np.float32]]) -> list[Answer]:
        """Return an answer a picture."""
        return [_answer(targets, int(row), found_D6) for row, found_D6 in zip(rows, (one for part in parts for one in part), strict=True)]

    def metrics(self, targets: Drawn, rows: NDArray[Any], predictions: Sequence[Answer]) -> dict[str, float]:
        """Return COCO's figures; 0 where nothing can be said."""
        classes = [str(place) for place in range(1 + max((int(labels.max(initial=0)) for labels in targets.labels), default=0))]
        found = detection.coco(things(predictions), targets.truth(rows, masks=False), classes)
        return {name: float(found[name] or 0.0) for name in self.metric_titles}

    def report(
        self,
        manifest: Mapping[str, Any],
        targets: Drawn,
        rows: Mapping[str, NDArray[Any]],
        split: Literal["train", "val", "test"],
        answers: Mapping[str, Sequence[Answer]],
        **extra: Any,
    ) -> dict[str, Any]:
        """Return report.json (see `engine.evaluation.drawn`)."""
        return drawn.report(manifest, split, rows, {name: self._final(manifest, rows[name], found) for name, found in answers.items()}, **extra)

    def _final(self, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: Any) -> Sequence[Answer]:
        """Return the answers in the pictures' own pixels."""
        return predictions

    def keep(self, path: Path, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: Sequence[Answer]) -> None:
        """Write predictions.npz (see `engine.evaluation.answers`)."""
        answers.write(path, self._final(manifest, rows, predictions), self.name)

    def last_word(self, report: Mapping[str, Any]) -> dict[str, float | None]:
        """Return mAP and AP50 on held-out pictures, and mAP on validation pictures."""
        return {"map": report["metrics"]["map"], "map_50": report["metrics"]["map_50"], "val_map": report["val_metrics"].get("map")}


def _answer(targets: Drawn, row: int, found_D6: NDArray[np.float32]) -> Answer:
    return from_things(found_D6, targets.placed[row], item_id=int(targets.entries[row]["id"]))
