"""Naming each pixel: the class of every place of a picture, or background. Torch is imported only inside the methods.

Targets: `engine.tasks.drawn.Drawn`; of a batch, int64 [B, H, W]. Predictions: a class and a confidence (0..255) for each pixel of the
frame, uint8 [2, N, H, W]; `Answer`s in the pictures' own pixels when they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.data import geometry
from engine.evaluation import answers, segmentation
from engine.evaluation.answers import Answer
from engine.tasks import drawn
from engine.tasks.drawn import IGNORED, Drawn, repeat_factors

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["SemanticSegmentation"]


class SemanticSegmentation:
    """A class for each pixel; 0 is background, k + 1 the project's class k."""

    name = "semantic-segmentation"
    title = "Colour in areas"
    words = "The model learns to say of every place in a picture what is there."
    metric = "miou"
    metric_titles: Mapping[str, str] = {"miou": "Mean overlap (IoU)", "dice": "Dice", "pixel_accuracy": "Pixels right"}
    family: Literal["pooled", "dense"] = "dense"
    activation: Literal["softmax", "sigmoid", ""] = ""
    fit: Literal["crop", "stretch", "whole"] = "whole"
    blends: tuple[str, ...] = ()

    def targets(self, manifest: Mapping[str, Any], spec: Any) -> Drawn:
        """Return the marks of all pictures in their frames."""
        return Drawn(manifest, spec.input_hw)

    def weights(self, targets: Drawn, rows: NDArray[Any], classes: int, by: Literal["loss", "sampling"] = "sampling") -> NDArray[np.float64]:
        """Weigh pictures by the rarest class they show."""
        return repeat_factors(targets.labels, rows, classes)

    def batch(self, targets: Drawn, rows: NDArray[Any], device: torch.device, variation: Any = None) -> Tensor:
        """Return the classes of all pixels of some pictures, int64 [B, H, W]; IGNORED beyond a picture."""
        import torch

        maps = [targets.class_map(int(row)) for row in rows]
        if variation is not None:
            maps = [geometry.warped_map(one, affine_23, IGNORED) for one, affine_23 in zip(maps, variation.affine_B23, strict=True)]
        return torch.from_numpy(np.stack(maps)).to(device).long()

    def mix(self, targets: Any, partner: Tensor, share: Tensor, classes: int) -> Any:
        """Refuse: a pixel has one class."""
        raise AssertionError("mixup and CutMix are not among the blends of this task")

    def loss(self, network: nn.Module, outputs: Any, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        """Return the sum of the network's own losses."""
        parts = network.loss(outputs, targets)  # type: ignore[operator]
        return sum(part.float() for part in parts.values())  # type: ignore[return-value]

    def decode(self, network: nn.Module, outputs: Any) -> NDArray[np.uint8]:
        """Return class and confidence of each pixel, uint8 [2, B, H, W]."""
        import torch

        confidence_BHW, classes_BHW = network.decode(outputs)["logits_BKHW"].float().softmax(1).max(1)  # type: ignore[operator]
        return torch.stack([classes_BHW.byte(), (confidence_BHW * 255).round().byte()]).cpu().numpy()

    def joined(self, targets: Drawn, rows: NDArray[Any], parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Return them for all pictures [2, N, H, W]."""
        return np.concatenate(parts, 1) if parts else np.zeros((2, 0, *targets.hw), np.uint8)

    def _figures(self, targets: Drawn, rows: NDArray[Any], predictions: NDArray[np.uint8], names: Sequence[str]) -> dict[str, Any]:
        table_KK = np.zeros((len(names), len(names)), np.int64)
        for row, said_HW in zip(rows, predictions[0], strict=True):
            table_KK += segmentation.counts(said_HW, targets.class_map(int(row)), len(names))
        return segmentation.figures(table_KK, names)

    def metrics(self, targets: Drawn, rows: NDArray[Any], predictions: NDArray[np.uint8]) -> dict[str, float]:
        """Return mean IoU, Dice and pixel accuracy, counted in the frames."""
        most = max((int(labels.max(initial=0)) for labels in targets.labels), default=0)
        found = self._figures(targets, rows, predictions, [str(place) for place in range(most + 2)])
        return {name: float(found[name] or 0.0) for name in self.metric_titles}

    def report(
        self,
        manifest: Mapping[str, Any],
        targets: Drawn,
        rows: Mapping[str, NDArray[Any]],
        split: Literal["train", "val", "test"],
        answers: Mapping[str, NDArray[np.uint8]],
        **extra: Any,
    ) -> dict[str, Any]:
        """Return report.json (see `engine.evaluation.drawn`)."""
        return drawn.report(manifest, split, rows, {name: self._final(manifest, rows[name], found) for name, found in answers.items()}, **extra)

    def _final(self, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: NDArray[np.uint8]) -> Sequence[Answer]:
        """Return the answers in the pictures' own pixels."""
        found = []
        for row, classes_HW, confidence_HW in zip(rows, *predictions, strict=True):
            entry = manifest["items"][row]
            where = geometry.placed(entry["width"], entry["height"], classes_HW.shape)
            found.append(answers.from_class_map(where.mask_to_picture(classes_HW), where.mask_to_picture(confidence_HW) / 255, entry["id"]))
        return found

    def keep(self, path: Path, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: NDArray[np.uint8]) -> None:
        """Write predictions.npz in the pictures' own pixels."""
        answers.write(path, self._final(manifest, rows, predictions), self.name)

    def last_word(self, report: Mapping[str, Any]) -> dict[str, float | None]:
        """Return mean IoU and Dice on held-out pictures, and mean IoU on validation pictures."""
        return {"miou": report["metrics"]["miou"], "dice": report["metrics"]["dice"], "val_miou": report["val_metrics"].get("miou")}
