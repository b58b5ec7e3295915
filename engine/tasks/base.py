"""What training, evaluation and export may ask of a task. They know targets, outputs and predictions only through these methods.

Targets are whatever the task likes: training asks for all of them once and for a batch's by rows. Outputs are what the network returns.
Predictions are NumPy or plain values, ready to be kept. Torch-free at import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["Task"]


class Task(Protocol):
    """One kind of thing to learn. N pictures, B of them in a batch, D things found in one."""

    name: str
    title: str
    words: str
    metric: str
    """The figure that decides which weights are kept: higher is better."""
    metric_titles: Mapping[str, str]
    family: Literal["pooled", "dense"]
    """What kind of network it takes: a vector a picture under a small head, or maps of features under an architecture."""
    activation: Literal["softmax", "sigmoid", ""]
    """What makes the outputs of a pooled network probabilities: one answer of K, or K answers; '' where the network decodes its own."""
    fit: Literal["crop", "stretch", "whole"]
    """How pictures are brought to the network: the centre of their central square; all of it pressed into a square; or whole, with a margin where the shapes
    differ."""
    blends: tuple[str, ...]
    """In which ways pictures of a batch and their targets may be joined: settings of the recipe."""

    def targets(self, manifest: Mapping[str, Any], spec: Any) -> Any:
        """Return the targets of all N pictures, in the manifest's order, as the network of that `ModelSpec` sees the pictures."""

    def weights(self, targets: Any, rows: NDArray[Any], classes: int, by: Literal["loss", "sampling"] = "sampling") -> NDArray[Any]:
        """Return for each row how much it should count so that rare kinds weigh as much as common ones; the mean is 1.

        Where it says so, a task may give the loss more than a number a row: whatever its own `loss` takes, one entry a row.
        """

    def batch(self, targets: Any, rows: NDArray[Any], device: torch.device, variation: Any = None) -> Any:
        """Return the targets of some pictures, on the device, varied as the pictures are. A slice of them is a part of the batch."""

    def mix(self, targets: Any, partner: Tensor, share: Tensor, classes: int) -> Any:
        """Blend each picture's targets with its partner's; `share` [B] of its own stays. Only where mixup or CutMix is among its blends."""

    def loss(self, network: nn.Module, outputs: Any, targets: Any, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss over the batch, weighted by `weights`, one entry a picture, where given."""

    def decode(self, network: nn.Module, outputs: Any) -> Any:
        """Return the predictions on a batch."""

    def joined(self, targets: Any, rows: NDArray[Any], parts: Sequence[Any]) -> Any:
        """Return one set of predictions on `rows` from those on consecutive batches."""

    def metrics(self, targets: Any, rows: NDArray[Any], predictions: Any) -> dict[str, float]:
        """Return the headline figures of predictions on some pictures, `metric` among them; where two models tie, 'loss' decides."""

    def report(
        self,
        manifest: Mapping[str, Any],
        targets: Any,
        rows: Mapping[str, NDArray[Any]],
        split: Literal["train", "val", "test"],
        answers: Mapping[str, Any],
        **extra: Any,
    ) -> dict[str, Any]:
        """Return report.json of the predictions `answers` has of `split` and, where there are any, of 'val'."""

    def keep(self, path: Path, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: Any) -> None:
        """Write predictions.npz."""

    def last_word(self, report: Mapping[str, Any]) -> dict[str, float | None]:
        """Return the few figures of a report that lists of runs show."""
