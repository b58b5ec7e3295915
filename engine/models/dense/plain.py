"""Heads on backbones that give one map only, as plain vision transformers do: the other sizes are made from it.

Li et al. 2022, Exploring Plain Vision Transformer Backbones for Object Detection, arxiv.org/abs/2203.16527: the simple feature pyramid.
The new layers belong to the head, so the backbone stays what it was, and only its one map is cached while it is frozen.

Shapes: B pictures, C channels, h x w map pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from engine.models.dense.parts import norm

__all__ = ["Expanded", "expanded_channels"]

_MOST_CHANNELS = 256


def expanded_channels(channels: int) -> int:
    """Return how many channels each made map has."""
    return min(_MOST_CHANNELS, channels)


class Expanded(nn.Module):
    """One map -> maps of all the strides a head reads -> that head."""

    def __init__(self, own: int, channels: int, strides: Sequence[int], head: nn.Module) -> None:
        """`own`: the stride of the map that comes in; `channels`: of it."""
        super().__init__()
        width = expanded_channels(channels)
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), norm(width))
        self.levels = nn.ModuleList(_resize(own, stride, width) for stride in strides)
        self.head = head

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Any]:
        """Return what the head answers."""
        entered = self.enter(maps[-1])
        return self.head([level(entered) for level in self.levels])

    def loss(self, outputs: dict[str, Any], targets: Any) -> dict[str, Tensor]:
        """Return the head's loss."""
        return self.head.loss(outputs, targets)  # type: ignore[operator]

    def decode(self, outputs: dict[str, Any], limit: int) -> dict[str, Tensor]:
        """Return what the head found."""
        return self.head.decode(outputs, limit)  # type: ignore[operator]


def _resize(own: int, stride: int, width: int) -> nn.Module:
    """Return layers that bring a map from one stride to another: doubled by learnt layers, halved by the maximum."""
    steps = round(math.log2(own / stride))
    layers: list[nn.Module] = []
    for _ in range(steps):
        layers += [nn.ConvTranspose2d(width, width, 2, 2), norm(width), nn.GELU()]
    return nn.Sequential(*layers, *(nn.MaxPool2d(2) for _ in range(-steps)))
