"""Sorting pictures into classes: heads, loss, metrics, predictions (probabilities [N, K]). Torch is imported only inside the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.evaluation import metrics, report

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["Classification"]


class Classification:
    """One class a picture. Targets: class indices int64 [N]; of a blended batch, shares of classes float [B, K]."""

    name = "image-classification"
    title = "Sort pictures into classes"
    words = "Each picture belongs to one class; the model learns to tell which."
    metric = "accuracy"
    metric_titles: Mapping[str, str] = {
        "accuracy": "Accuracy",
        "macro_f1": "Macro F1",
        "loss": "Loss",
        "top5_accuracy": "Top-5 accuracy",
        "ece": "Calibration error",
    }
    family: Literal["pooled", "dense"] = "pooled"
    activation: Literal["softmax", "sigmoid", ""] = "softmax"
    fit: Literal["crop", "stretch", "whole"] = "crop"
    blends: tuple[str, ...] = ("mixup", "cutmix")

    def targets(self, manifest: Mapping[str, Any], spec: Any = None) -> NDArray[np.int64]:
        """Return the class indices of all pictures."""
        return np.array([item["label"] for item in manifest["items"]], np.int64)

    def weights(self, targets: NDArray[np.int64], rows: NDArray[Any], classes: int, by: Literal["loss", "sampling"] = "sampling") -> NDArray[np.float64]:
        """Weigh each picture by one over its class's size."""
        counts_K = np.bincount(targets[rows], minlength=classes)
        weights_N = 1.0 / counts_K[targets[rows]]
        return weights_N / weights_N.mean()

    def batch(self, targets: NDArray[np.int64], rows: NDArray[Any], device: torch.device, variation: Any = None) -> Tensor:
        """Return the class indices of some pictures on the device."""
        import torch

        return torch.from_numpy(targets[rows]).to(device, non_blocking=True)

    def mix(self, targets: Tensor, partner: Tensor, share: Tensor, classes: int) -> Tensor:
        """Return shares of classes [B, K]."""
        import torch

        own_BK = torch.nn.functional.one_hot(targets, classes).to(share.dtype)
        return own_BK * share[:, None] + own_BK[partner] * (1 - share[:, None])

    def loss(self, network: nn.Module, outputs: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        """Return the cross-entropy."""
        import torch.nn.functional as F

        if weights is None:
            return F.cross_entropy(outputs.float(), targets, label_smoothing=smoothing)
        losses_B = F.cross_entropy(outputs.float(), targets, label_smoothing=smoothing, reduction="none")
        return (losses_B * weights).mean()

    def decode(self, network: nn.Module, outputs: Tensor) -> NDArray[np.float32]:
        """Return probabilities [B, K]."""
        return outputs.float().softmax(1).cpu().numpy()

    def joined(self, targets: NDArray[np.int64], rows: NDArray[Any], parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return probabilities [N, K]."""
        return np.concatenate(parts)

    def metrics(self, targets: NDArray[np.int64], rows: NDArray[Any], predictions: NDArray[Any]) -> dict[str, float]:
        """Return accuracy, macro F1, loss and the rest of the headline."""
        return metrics.headline(targets[rows], predictions)

    def report(
        self,
        manifest: Mapping[str, Any],
        targets: NDArray[np.int64],
        rows: Mapping[str, NDArray[Any]],
        split: Literal["train", "val", "test"],
        answers: Mapping[str, NDArray[Any]],
        **extra: Any,
    ) -> dict[str, Any]:
        """Return report.json (see `engine.evaluation.report`)."""
        val = (targets[rows["val"]], answers["val"]) if "val" in answers else None
        return report.make_report(manifest, _ids(manifest, rows[split]), targets[rows[split]], answers[split], split, val=val, **extra)

    def keep(self, path: Path, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: NDArray[Any]) -> None:
        """Write predictions.npz."""
        report.write_predictions(path, _ids(manifest, rows), self.targets(manifest)[rows], predictions)

    def last_word(self, report: Mapping[str, Any]) -> dict[str, float | None]:
        """Return accuracy and macro F1 on held-out pictures, and accuracy on validation pictures."""
        figures = report["metrics"]
        return {"accuracy": figures["accuracy"], "macro_f1": figures["macro_f1"], "val_accuracy": report["val_metrics"].get("accuracy")}


def _ids(manifest: Mapping[str, Any], rows: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([manifest["items"][row]["id"] for row in rows], np.int64)
