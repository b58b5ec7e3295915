"""UPerNet (Xiao et al. 2018) with transformers' layers: on any backbone's four maps, and as its makers publish it, fed with its own backbone's.

Shapes: B pictures, C channels, h x w map pixels, H x W input pixels, K classes (channel 0 is the background, so K + 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import UperNetConfig
from transformers.models.upernet.modeling_upernet import UperNetHead

from engine.models.dense import IGNORED
from engine.models.dense.backbones import freeze_norms
from engine.models.dense.parts import group_norms
from engine.models.dense.semantic import Segmenter

__all__ = ["Pooled", "Published", "UPerNet", "with_background"]

_NEVER = -30.0
"""Logit of a background that a published network does not know: it never wins, and can still be learnt."""


class Pooled(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two matrix products, the same means: ONNX has no such pooling where the cells do not divide the map."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Return the means [B, C, cells, cells]."""
        height, width = (_shares(int(side), self.cells).to(x_BChw) for side in x_BChw.shape[-2:])
        return height @ x_BChw @ width.T


def _shares(side: int, cells: int) -> Tensor:
    """Return which share of each of `cells` means each of `side` places has: [cells, side]."""
    rows = torch.zeros(cells, side)
    for cell in range(cells):
        first, last = cell * side // cells, -(-(cell + 1) * side // cells)
        rows[cell, first:last] = 1 / (last - first)
    return rows


def _pool_in_products(head: Any) -> None:
    """Give the pooling branches a form that can be exported; transformers keeps each layer under two names."""
    for block in head.psp_modules.blocks:
        block.layers[0] = Pooled(int(block.layers[0].output_size))
        setattr(block, "0", block.layers[0])


class UPerNet(Segmenter):
    """The coarsest map is seen at several distances, the whole picture among them; then a pyramid goes from coarse to fine."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides[0], options)
        config = UperNetConfig(hidden_size=options["width"], num_labels=classes + 1, use_auxiliary_head=False)  # type: ignore[call-arg]
        self.net = UperNetHead(config, list(channels))
        _pool_in_products(self.net)
        group_norms(self.net)

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the finest map's size."""
        return self.net(list(maps))


class Published(Segmenter):
    """The heads of a published network. Its batch norm uses the statistics it came with: batches are small here, they were large there."""

    def __init__(self, net: Any, stride: int) -> None:
        super().__init__(stride, {"dice": True})
        self.net, self.beside = net.decode_head, net.auxiliary_head
        self.share = float(net.config.auxiliary_loss_weight)
        _pool_in_products(self.net)

    def train(self, mode: bool = True) -> Published:
        """Switch to training, the batch norm statistics apart."""
        super().train(mode)
        freeze_norms(self)
        return self

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the finest map's size."""
        return self.net(list(maps))

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Any]:
        """Return {"logits_BKHW"} at input size; while training also what the head beside it says, at its map's size."""
        outputs = super().forward(maps)
        return outputs | {"beside_BKhw": self.beside(list(maps)).float()} if self.training and self.beside is not None else outputs

    def loss(self, outputs: Mapping[str, Any], targets_BHW: Tensor) -> dict[str, Tensor]:
        """Return the losses of our other heads, and the cross-entropy of the head beside it, as it was published."""
        found = super().loss(outputs, targets_BHW)
        if "beside_BKhw" in outputs:
            logits_BKHW = F.interpolate(outputs["beside_BKhw"], size=targets_BHW.shape[-2:], mode="bilinear", align_corners=False)
            counts = (targets_BHW != IGNORED).sum().clamp(min=1)
            found["beside"] = self.share * F.cross_entropy(logits_BKHW, targets_BHW, ignore_index=IGNORED, reduction="sum") / counts
        return found


def with_background(net: Any) -> Any:
    """Put the background in front of a published network's own classes, which it does not have; return the network."""
    for head in (net.decode_head, net.auxiliary_head):
        if head is not None:
            old = head.classifier
            head.classifier = nn.Conv2d(old.in_channels, old.out_channels + 1, 1)
            with torch.no_grad():
                head.classifier.weight.copy_(torch.cat((torch.zeros_like(old.weight[:1]), old.weight)))
                head.classifier.bias.copy_(torch.cat((old.bias.new_full((1,), _NEVER), old.bias)))
    return net
