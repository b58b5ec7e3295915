"""Semantic segmentation heads: maps in, a class for every pixel out.

U-Net and FPN are written here; FCN, DeepLabV3 and LR-ASPP are torchvision's, SegFormer's decoder is transformers'.

Shapes: B pictures, C channels, h x w map pixels, H x W input pixels, K the project's classes (channel 0 is the background, so K + 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.models.segmentation.lraspp import LRASPPHead

from engine.models.dense import IGNORED
from engine.models.dense.parts import Pyramid, conv_block, group_norms

__all__ = ["DeepLab", "FCN", "LRASPP", "PyramidSegmenter", "SegFormer", "Segmenter", "UNet"]

_DILATIONS = (6, 12, 18)
"""Published for a map of 1/16 (Chen et al. 2017)."""


class Segmenter(nn.Module):
    """What all have in common: logits are brought to input size; cross-entropy and Dice."""

    def __init__(self, stride: int, options: Mapping[str, Any]) -> None:
        """`stride`: of the finest map."""
        super().__init__()
        self.stride, self.dice = stride, options["dice"]

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits [B, K + 1, h, w] at any size."""
        raise NotImplementedError

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Any]:
        """Return {"logits_BKHW"} at input size."""
        height, width = maps[0].shape[-2:]
        logits = self.logits(maps).float()
        return {"logits_BKHW": F.interpolate(logits, size=(height * self.stride, width * self.stride), mode="bilinear", align_corners=False)}

    def loss(self, outputs: Mapping[str, Any], targets_BHW: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy, and one minus the Dice overlap of the classes that are there."""
        logits_BKHW = outputs["logits_BKHW"]
        counts = (targets_BHW != IGNORED).sum().clamp(min=1)
        entropy = F.cross_entropy(logits_BKHW, targets_BHW, ignore_index=IGNORED, reduction="sum") / counts
        return {"pixels": entropy} | ({"overlap": _dice_loss(logits_BKHW, targets_BHW)} if self.dice else {})

    def decode(self, outputs: Mapping[str, Any], _limit: int) -> dict[str, Tensor]:
        """Return the logits at input size."""
        return {"logits_BKHW": outputs["logits_BKHW"]}


def _dice_loss(logits_BKHW: Tensor, targets_BHW: Tensor) -> Tensor:
    """One minus the mean Dice coefficient over the classes present in the batch (Milletari et al. 2016, arxiv.org/abs/1606.04797)."""
    counted_B1HW = (targets_BHW != IGNORED)[:, None]
    shares_BKHW = logits_BKHW.softmax(1) * counted_B1HW
    truth_BHWK = F.one_hot(targets_BHW.where(counted_B1HW[:, 0], 0), logits_BKHW.shape[1])
    truth_BKHW = truth_BHWK.permute(0, 3, 1, 2).to(shares_BKHW.dtype) * counted_B1HW
    common_K = (shares_BKHW * truth_BKHW).sum((0, 2, 3))
    truth_K = truth_BKHW.sum((0, 2, 3))
    both_K = shares_BKHW.sum((0, 2, 3)) + truth_K
    there_K = (truth_K > 0).to(common_K.dtype)
    dice_K = 2 * common_K / both_K.clamp(min=1)
    return 1 - (dice_K * there_K).sum() / there_K.sum().clamp(min=1)


class _UpBlock(nn.Module):
    """One step finer: the coarse map is doubled and joined with the backbone's own map of that size."""

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(conv_block(coarse + fine, width), conv_block(width, width))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the finer map."""
        return self.mix(torch.cat((F.interpolate(coarse, size=fine.shape[-2:], mode="nearest"), fine), 1))


class UNet(Segmenter):
    """Ronneberger et al. 2015, with the backbone as its way down. Each finer step has half the channels, 16 at least."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides[0], options)
        widths = [max(16, options["width"] >> step) for step in range(len(channels))]
        self.bottom = conv_block(channels[-1], widths[0], 1)
        fine = list(channels[:-1])[::-1]
        self.up = nn.ModuleList(_UpBlock(coarse, own, width) for coarse, own, width in zip(widths, fine, widths[1:], strict=False))
        self.last = nn.Conv2d(widths[len(fine)], classes + 1, 1)

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the finest map's size."""
        x = self.bottom(maps[-1])
        for block, fine in zip(self.up, list(maps[:-1])[::-1], strict=True):
            x = block(x, fine)
        return self.last(x)


class PyramidSegmenter(Segmenter):
    """Kirillov et al. 2019: a feature pyramid, every level brought to the finest map's size and summed."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides[0], options)
        width = options["width"]
        self.pyramid = Pyramid(strides, channels, width, light=True)
        self.levels = nn.ModuleList(conv_block(width, width) for _ in strides)
        self.last = nn.Sequential(conv_block(width, width), nn.Conv2d(width, classes + 1, 1))

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the finest map's size."""
        levels = [block(one) for block, one in zip(self.levels, self.pyramid(maps), strict=True)]
        size = levels[0].shape[-2:]
        coarse = [F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in levels[1:]]
        return self.last(torch.stack([levels[0], *coarse]).sum(0))


class FCN(Segmenter):
    """torchvision's FCN head on the coarsest map."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides[0], options)
        self.net = FCNHead(channels[-1], classes + 1)
        group_norms(self.net)

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the coarsest map's size."""
        return self.net(maps[-1])


class DeepLab(FCN):
    """torchvision's DeepLabV3 head: convolutions at several distances, and the mean of the picture."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides, channels, classes, _size, options)
        self.net = DeepLabHead(channels[-1], classes + 1, _DILATIONS)
        group_norms(self.net)


class LRASPP(Segmenter):
    """torchvision's light head of two maps."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides[0], options)
        self.net = LRASPPHead(channels[0], channels[-1], classes + 1, 128)
        group_norms(self.net)

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the finer map's size."""
        return self.net({"low": maps[0], "high": maps[-1]})


class SegFormer(Segmenter):
    """transformers' all-linear SegFormer decoder on any backbone's four maps."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides[0], options)
        from transformers import SegformerConfig
        from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

        config = SegformerConfig(hidden_sizes=list(channels), num_encoder_blocks=len(channels), decoder_hidden_size=options["width"], num_labels=classes + 1)  # type: ignore[call-arg]
        self.net = SegformerDecodeHead(config)
        group_norms(self.net)

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits at the finest map's size."""
        return self.net(tuple(maps))
