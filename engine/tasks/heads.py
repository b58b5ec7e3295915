"""The new last layers for classification. Each takes (features F, classes K, dropout share) and maps [B, F] -> [B, K]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["HEADS", "Cosine", "Dropout", "linear", "mlp"]

MLP_WIDTH = 512


class Dropout(nn.Dropout):
    """Dropout that can be told where its mask comes from, so that threads which share a batch need no common generator.

    Attributes:
        seed: of the next mask; one more for each after it. None draws from torch's generator.
    """

    seed: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Set a random share of the values to zero while training."""
        if self.seed is None or not self.training or not self.p:
            return super().forward(input)
        generator = torch.Generator(input.device).manual_seed(self.seed)
        self.seed += 1
        return input * torch.empty_like(input).bernoulli_(1 - self.p, generator=generator).div_(1 - self.p)


def linear(features: int, classes: int, dropout: float) -> nn.Module:
    """One layer, started at zero: all classes equally likely."""
    layer = nn.Linear(features, classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(Dropout(dropout), layer)


def mlp(features: int, classes: int, dropout: float) -> nn.Module:
    """Two layers with a bend between; the features are brought to one scale first."""
    return nn.Sequential(nn.LayerNorm(features), nn.Linear(features, MLP_WIDTH), nn.GELU(), Dropout(dropout), nn.Linear(MLP_WIDTH, classes))


class Cosine(nn.Module):
    """Compares the direction of the features with one direction a class; good with few pictures (Gidaris & Komodakis 2018)."""

    def __init__(self, features: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.weight = nn.Parameter(torch.randn(classes, features) * 0.01)  # short vectors turn quickly
        self.scale = nn.Parameter(torch.tensor(16.0))

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return the logits [B, K]."""
        return self.scale * F.linear(F.normalize(self.dropout(features_BF), dim=1), F.normalize(self.weight, dim=1))


HEADS: dict[str, Callable[[int, int, float], nn.Module]] = {"linear": linear, "mlp": mlp, "cosine": Cosine}
