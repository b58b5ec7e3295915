"""What the training loop may ask of a task. It knows targets, outputs and predictions only through these methods. Torch-free at import.

Targets are whatever the task likes: the loop asks for all of them once and for a batch's by rows. Outputs are what the network returns.
Predictions are NumPy, ready to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["Task"]


class Task(Protocol):
    """One kind of thing to learn. N pictures, B of them in a batch."""

    name: str
    title: str
    words: str
    metric: str
    """The figure that decides which weights are kept: higher is better."""
    metric_titles: Mapping[str, str]
    mixes: bool
    """Whether two pictures and their targets may be blended (mixup, CutMix)."""

    def build_head(self, kind: str, features: int, classes: int, dropout: float) -> nn.Module:
        """Return a new head: features -> outputs."""

    def targets(self, manifest: Mapping[str, Any]) -> Any:
        """Return the targets of all N pictures, in the manifest's order."""

    def weights(self, targets: Any, rows: NDArray[Any], classes: int) -> NDArray[Any]:
        """Return for each row how much it should count so that rare kinds weigh as much as common ones; the mean is 1."""

    def batch(self, targets: Any, rows: NDArray[Any], device: torch.device) -> Any:
        """Return the targets of some pictures, on the device."""

    def mix(self, targets: Any, partner: Tensor, share: Tensor, classes: int) -> Any:
        """Blend each picture's targets with its partner's; `share` [B] of its own stays."""

    def loss(self, outputs: Any, targets: Any, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss over the batch, weighted by `weights` [B] where given."""

    def decode(self, outputs: Any) -> NDArray[Any]:
        """Return predictions."""

    def metrics(self, targets: Any, rows: NDArray[Any], predictions: NDArray[Any]) -> dict[str, float]:
        """Return the headline figures of predictions on some pictures, `metric` and 'loss' among them."""

    def report(self, manifest: Mapping[str, Any], rows: NDArray[Any], predictions: NDArray[Any], split: str, **extra: Any) -> dict[str, Any]:
        """Return report.json."""
