"""Tagging pictures: each class is a question of its own, and a picture can show several or none. Torch is imported only inside the methods.

Targets: which classes each picture shows, float32 [N, K]; of a blended batch, shares of them [B, K]. Predictions: probabilities [N, K].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.evaluation import tag_report, tags

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["MultiLabel"]

_HEAVIEST = 20.0
"""How much more than its absence a class's presence may count: one picture in a thousand must not drown all the others."""


class MultiLabel:
    """Any number of classes a picture."""

    name = "multi-label-classification"
    title = "Tag pictures"
    words = "A picture can show several things at once, or none; the model learns to say which."
    metric = "map"
    metric_titles: Mapping[str, str] = {
        "map": "Mean average precision",
        "macro_f1": "Macro F1",
        "micro_f1": "Micro F1",
        "exact_match": "All tags right",
        "loss": "Loss",
    }
    family: Literal["pooled", "dense"] = "pooled"
    activation: Literal["softmax", "sigmoid", ""] = "sigmoid"
    fit: Literal["crop", "stretch", "whole"] = "stretch"
    """What stands at the edge counts as well as what stands in the middle."""
    blends: tuple[str, ...] = ("mixup", "cutmix")

    def targets(self, manifest: Mapping[str, Any], spec: Any = None) -> NDArray[np.float32]:
        """Return which classes the pictures show, 0 or 1 [N, K]."""
        found_NK = np.zeros((len(manifest["items"]), len(manifest["classes"])), np.float32)
        for row, item in enumerate(manifest["items"]):
            found_NK[row, item["labels"]] = 1
        return found_NK

    def weights(self, targets: NDArray[np.float32], rows: NDArray[Any], classes: int, by: Literal["loss", "sampling"] = "sampling") -> NDArray[np.float64]:
        """Weigh each picture [N] by the rarest class it shows; or, for the loss, return how much the presence of each class counts [N, K].

        That is the number of pictures without the class over the number with it, alike for every picture: torch's `pos_weight`.
        """
        shown_NK = targets[rows] > 0
        counts_K = shown_NK.sum(0)
        if by == "loss":
            heavier_K = np.clip((len(rows) - counts_K) / np.maximum(1, counts_K), 1 / _HEAVIEST, _HEAVIEST)
            return np.broadcast_to(heavier_K, shown_NK.shape).astype(np.float64)
        nothing = max(1, int((~shown_NK.any(1)).sum()))  # pictures that show none are a kind of their own
        rarest_N = np.where(shown_NK, counts_K, len(rows) + 1).min(1, initial=len(rows) + 1)
        weights_N = 1.0 / np.where(shown_NK.any(1), rarest_N, nothing)
        return weights_N / weights_N.mean()

    def batch(self, targets: NDArray[np.float32], rows: NDArray[Any], device: torch.device, variation: Any = None) -> Tensor:
        """Return what some pictures show, float32 [B, K], on the device."""
        import torch

        return torch.from_numpy(targets[rows]).to(device, non_blocking=True)

    def mix(self, targets: Tensor, partner: Tensor, share: Tensor, classes: int) -> Tensor:
        """Return shares of classes [B, K]."""
        return targets * share[:, None] + targets[partner] * (1 - share[:, None])

    def loss(self, network: nn.Module, outputs: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        """Return the binary cross-entropy, summed over the classes: what cross-entropy is to one class, in nats a picture.

        `weights` [B] count pictures, [B, K] the presence of classes. Smoothing draws every answer towards a half.
        """
        import torch.nn.functional as F

        present = weights if weights is not None and weights.ndim == 2 else None
        wanted = targets * (1 - smoothing) + smoothing / 2
        losses_B = F.binary_cross_entropy_with_logits(outputs.float(), wanted, reduction="none", pos_weight=present).sum(1)
        return (losses_B if weights is None or present is not None else losses_B * weights).mean()

    def decode(self, network: nn.Module, outputs: Tensor) -> NDArray[np.float32]:
        """Return probabilities [B, K]."""
        return outputs.float().sigmoid().cpu().numpy()

    def joined(self, targets: NDArray[np.float32], rows: NDArray[Any], parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return probabilities [N, K]."""
        return np.concatenate(parts)

    def metrics(self, targets: NDArray[np.float32], rows: NDArray[Any], predictions: NDArray[Any]) -> dict[str, float]:
        """Return mean average precision and the rest of the headline. While it learns every class counts from 0.5 on."""
        return tags.headline(targets[rows] > 0, predictions)

    def report(
        self,
        manifest: Mapping[str, Any],
        targets: NDArray[np.float32],
        rows: Mapping[str, NDArray[Any]],
        split: Literal["train", "val", "test"],
        answers: Mapping[str, NDArray[Any]],
        **extra: Any,
    ) -> dict[str, Any]:
        """Return report.json (see `engine.evaluation.tag_report`)."""
        shown, val = {name: targets[rows[name]] > 0 for name in answers}, answers.get("val")
        known = (shown["val"], val) if val is not None else None
        return tag_report.make_report(manifest, _ids(manifest, rows[split]), shown[split], answers[split], split, val=known, **extra)

    def keep(self, path: Path, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: NDArray[Any]) -> None:
        """Write predictions.npz."""
        tag_report.write_predictions(path, _ids(manifest, rows), self.targets(manifest)[rows] > 0, predictions)

    def last_word(self, report: Mapping[str, Any]) -> dict[str, float | None]:
        """Return mean average precision and macro F1 on held-out pictures, and the former on validation pictures."""
        figures = report["metrics"]
        return {"map": figures["map"], "macro_f1": figures["macro_f1"], "val_map": report["val_metrics"].get("map")}


def _ids(manifest: Mapping[str, Any], rows: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([manifest["items"][row]["id"] for row in rows], np.int64)
