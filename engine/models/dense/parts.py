"""Layers that several heads are made of. Group norm everywhere: batches are small, and a batch of one must train as well.

Shapes: B pictures, C channels, h x w map pixels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torchvision
from torch import Tensor, nn

__all__ = ["Pyramid", "conv_block", "group_norms", "lighten", "norm"]

_GROUPS = 32


def norm(channels: int) -> nn.GroupNorm:
    """Return a group norm of 32 groups, fewer where they do not divide the channels."""
    return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)


def conv_block(inside: int, outside: int, kernel: int = 3) -> nn.Sequential:
    """Return convolution, norm, ReLU at the same size."""
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False), norm(outside), nn.ReLU(inplace=True))


def lighten(module: nn.Module) -> None:
    """Replace each full 3 x 3 convolution below by a depthwise one and a pointwise one, in place."""
    for name, part in module.named_children():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3) and part.groups == 1 and part.stride == (1, 1):
            pointwise = nn.Conv2d(part.in_channels, part.out_channels, 1, bias=part.bias is not None)
            if part.bias is not None and pointwise.bias is not None:
                pointwise.bias.data.copy_(part.bias.data)
            setattr(module, name, nn.Sequential(nn.Conv2d(part.in_channels, part.in_channels, 3, padding=1, groups=part.in_channels, bias=False), pointwise))
        else:
            lighten(part)


def group_norms(module: nn.Module) -> None:
    """Replace each batch norm below by a group norm, in place."""
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm2d):
            setattr(module, name, norm(part.num_features))
        else:
            group_norms(part)


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017, arxiv.org/abs/1612.03144): maps of one width, coarse meaning added to the fine maps.

    Attributes:
        strides: of the maps that come out.
    """

    def __init__(self, strides: Sequence[int], channels: Sequence[int], width: int, *, more: str = "", light: bool = False) -> None:
        """`more`: 'p6p7' adds two coarser maps by convolution, 'pool' one by taking every second place."""
        super().__init__()
        ops = torchvision.ops.feature_pyramid_network
        extra = {"": None, "p6p7": ops.LastLevelP6P7(width, width), "pool": ops.LastLevelMaxPool()}[more]
        self.net = torchvision.ops.FeaturePyramidNetwork(list(channels), width, extra, norm_layer=norm)  # backbones differ in scale by 100
        if light:
            lighten(self.net.layer_blocks)
        coarsest = strides[-1]
        self.strides = (*strides, *{"": (), "p6p7": (2 * coarsest, 4 * coarsest), "pool": (2 * coarsest,)}[more])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return maps [B, width, h, w], the finest first."""
        return list(self.net(OrderedDict((str(level), one) for level, one in enumerate(maps))).values())
