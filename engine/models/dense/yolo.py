"""YOLOv3 (Redmon & Farhadi 2018), written here: its head on any backbone's maps, and Darknet's YOLOv3-tiny as it is published.

What tells classes apart stands in layers of its own beside those about boxes, so that other classes leave the boxes as they were learnt.

Shapes: B pictures, A boxes (level by level, row, column, kind), K classes, N things in a picture, h x w map pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForObjectDetection, PreTrainedConfig, PreTrainedModel

from engine.models.darknet import BODY, BOXES, KIND
from engine.models.dense import boxes
from engine.models.dense.backbones import freeze_norms
from engine.models.dense.one_stage import OneStage, Outputs, Targets
from engine.models.dense.parts import norm

__all__ = ["TinyConfig", "YOLOv3", "YOLOv3Tiny"]

_ANCHORS = {8: ((10, 13), (16, 30), (33, 23)), 16: ((30, 61), (62, 45), (59, 119)), 32: ((116, 90), (156, 198), (373, 326))}
"""Width and height in pixels of pictures of 416: what the paper found on COCO."""
_ANCHORS_PX = 416

_IGNORED = 0.7
"""A box that overlaps a thing more than this is no mistake, though another answers for the thing."""
_LIKELY = 0.01
"""How likely a box is taken for a thing before anything is learnt."""
_MOST_GROWTH = 6.0
"""Largest logarithm of a box's side over its anchor's: where nothing is learnt yet, sides stay finite."""


def _layer(inside: int, outside: int, kernel: int, normed: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False), normed(outside), nn.LeakyReLU(0.1, inplace=True))


class YOLOv3(OneStage):
    """Three boxes at each place of each map; a finer map sees what the coarser one made of the picture."""

    nms_iou = 0.45

    def __init__(
        self,
        strides: Sequence[int],
        channels: Sequence[int],
        classes: int,
        size: tuple[int, int],
        options: Mapping[str, Any],
        *,
        anchors: Mapping[int, Sequence[Sequence[float]]] | None = None,
        normed: Callable[[int], nn.Module] = norm,
    ) -> None:
        super().__init__()
        share = max(size) / _ANCHORS_PX
        own = anchors or {stride: [(width * share, height * share) for width, height in kinds] for stride, kinds in _ANCHORS.items()}
        self.strides, self.stride = tuple(strides), strides[0]
        self.anchors = [[(float(width), float(height)) for width, height in own[stride]] for stride in strides]
        self.mixes, self.tops, self.squeezes, self.boxes, self.classes = (nn.ModuleList() for _ in range(5))
        width, above, finest = int(options["width"]), 0, len(channels) - 1
        for level, inside in enumerate(list(channels)[::-1]):  # from coarse to fine; what goes on to a finer map is mixed first, and so is the only one
            joined = inside + above
            mixed = level < finest or level == 0
            if mixed:
                self.mixes.append(_layer(joined, width, 1, normed))
            if level < finest:
                self.squeezes.append(_layer(width, width // 2, 1, normed))
            self.tops.append(_layer(width if mixed else joined, 2 * width, 3, normed))
            kinds = len(self.anchors[finest - level])
            self.boxes.append(nn.Conv2d(2 * width, kinds * BOXES, 1))
            self.classes.append(nn.Conv2d(2 * width, kinds * classes, 1))
            width, above = width // 2, width // 2
        self._start()

    def _start(self) -> None:
        """Start where hardly anything is a thing."""
        for layer in self.boxes:
            bias = layer.bias.detach().view(-1, BOXES)  # type: ignore[union-attr, operator]
            bias.zero_()[:, 4] = math.log(_LIKELY / (1 - _LIKELY))

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Return numbers about boxes [B, A, 5], logits [B, A, K], the anchors and the cells they stand in."""
        found: list[tuple[Tensor, Tensor]] = []
        middle: Tensor | None = None
        for level, own in enumerate(list(maps)[::-1]):
            joined = own
            if middle is not None:
                joined = torch.cat((F.interpolate(self.squeezes[level - 1](middle), size=own.shape[-2:], mode="nearest"), own), 1)
            middle = self.mixes[level](joined) if level < len(self.mixes) else joined
            top = self.tops[level](middle)
            found.insert(0, (self.boxes[level](top), self.classes[level](top)))
        listed = [[self._listed(one, len(kinds)) for one in level] for level, kinds in zip(found, self.anchors, strict=True)]
        raw = {name: torch.cat([level[place] for level in listed], 1) for place, name in enumerate(("bbox_regression", "cls_logits"))}
        sizes = [torch.tensor(kinds) for kinds in self.anchors]
        anchors_A4, counts = boxes.grid_anchors(maps, self.strides, sizes)
        cells_A4, _ = boxes.grid_anchors(maps, self.strides, [torch.full_like(one, stride) for one, stride in zip(sizes, self.strides, strict=True)])
        return self._outputs(raw, anchors_A4, counts, maps, self.stride) | {"cells": cells_A4}

    @staticmethod
    def _listed(map_BChw: Tensor, kinds: int) -> Tensor:
        batch, channels, height, width = map_BChw.shape
        numbers = channels // kinds
        return map_BChw.view(batch, kinds, numbers, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, numbers)

    def _boxes(self, outputs: Outputs) -> Tensor:
        """Return boxes [B, A, 4], in pixels: the middle within its cell, the sides as multiples of the anchor's."""
        numbers, anchors_A4 = outputs["bbox_regression"], outputs["anchors"]
        first_A2, last_A2 = outputs["cells"][:, :2], outputs["cells"][:, 2:]
        middle = first_A2 + numbers[..., :2].sigmoid() * (last_A2 - first_A2)
        half = (anchors_A4[:, 2:] - anchors_A4[:, :2]) / 2 * numbers[..., 2:4].clamp(max=_MOST_GROWTH).exp()
        return torch.cat((middle - half, middle + half), -1)

    def _owners(self, boxes_N4: Tensor, outputs: Outputs) -> Tensor:
        """Return the place among the A of the box that answers for each thing: the most alike in shape, in the cell the thing's middle lies in."""
        sides_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
        sizes_S2 = boxes_N4.new_tensor([kind for kinds in self.anchors for kind in kinds])
        shared_NS = torch.minimum(sides_N2[:, None], sizes_S2).prod(-1)
        best_N = (shared_NS / (sides_N2.prod(-1)[:, None] + sizes_S2.prod(-1) - shared_NS).clamp(min=1e-6)).argmax(1)
        owners_N, first, start = torch.zeros_like(best_N), 0, 0
        middle_N2 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
        for stride, kinds, count in zip(self.strides, self.anchors, outputs["counts"], strict=True):
            columns, rows = outputs["width"] // stride, outputs["height"] // stride
            column_N = (middle_N2[:, 0] / stride).long().clamp(0, columns - 1)
            row_N = (middle_N2[:, 1] / stride).long().clamp(0, rows - 1)
            own_N = (best_N >= first) & (best_N < first + len(kinds))
            owners_N = torch.where(own_N, start + (row_N * columns + column_N) * len(kinds) + best_N - first, owners_N)
            first, start = first + len(kinds), start + count
        return owners_N

    def loss(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Return the losses of classes, boxes (generalised IoU in place of the paper's squares: Rezatofighi et al. 2019) and of what is a thing at all."""
        boxes_BA4, things_BA, logits_BAK = self._boxes(outputs), outputs["bbox_regression"][..., 4], outputs["cls_logits"]
        total = max(1, sum(len(one["boxes_N4"]) for one in targets))
        parts = {"classes": logits_BAK.sum() * 0, "boxes": boxes_BA4.sum() * 0, "things": things_BA.sum() * 0}
        for boxes_A4, things_A, logits_AK, one in zip(boxes_BA4, things_BA, logits_BAK, targets, strict=True):
            truth_N4, wanted_A, counted_A = one["boxes_N4"].float(), torch.zeros_like(things_A), torch.ones_like(things_A)
            if len(truth_N4):
                owners_N = self._owners(truth_N4, outputs)
                counted_A[torchvision.ops.box_iou(boxes_A4.detach(), truth_N4).amax(1) > _IGNORED] = 0
                wanted_A[owners_N] = counted_A[owners_N] = 1
                parts["boxes"] = parts["boxes"] + torchvision.ops.generalized_box_iou_loss(boxes_A4[owners_N], truth_N4, reduction="sum")
                named_NK = F.one_hot(one["labels_N"], logits_AK.shape[-1]).to(logits_AK.dtype)
                parts["classes"] = parts["classes"] + F.binary_cross_entropy_with_logits(logits_AK[owners_N], named_NK, reduction="sum")
            parts["things"] = parts["things"] + F.binary_cross_entropy_with_logits(things_A, wanted_A, counted_A, reduction="sum")
        return {name: value / total for name, value in parts.items()}

    def decode(self, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        """Score by class times how likely it is a thing at all."""
        scores_BAK = outputs["bbox_regression"][..., 4:].sigmoid() * outputs["cls_logits"].sigmoid()
        return self._found(self._boxes(outputs), scores_BAK, outputs, limit)


class _Published(YOLOv3):
    """The published head: its batch norm uses the statistics it came with."""

    def train(self, mode: bool = True) -> _Published:
        super().train(mode)
        freeze_norms(self)
        return self


class _Body(nn.Module):
    """Seven convolutions with a halving between; pictures -> the maps at 1/16 and 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(inside, outside, 3, nn.BatchNorm2d) for inside, outside in zip((3, *BODY), BODY, strict=False))

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        x, finer = images_BCHW, images_BCHW
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place == 4:
                finer = x
            if place < 5:
                x = F.max_pool2d(x, 2)
            elif place == 5:  # the last one looks at two by two places, too, but at each
                x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 2, 1)
        return finer, x


class TinyConfig(PreTrainedConfig):
    """Settings of YOLOv3-tiny: the anchors, and the classes as all of transformers' settings have them."""

    model_type = KIND
    anchors: dict[str, Any] | None = None


class YOLOv3Tiny(PreTrainedModel):
    """Darknet's YOLOv3-tiny in the form of transformers' models, so that it is read, checked and retrained like them."""

    config_class = TinyConfig
    main_input_name = "pixel_values"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        anchors = {int(stride): sizes for stride, sizes in config.anchors.items()}
        size = (_ANCHORS_PX, _ANCHORS_PX)
        self.body = _Body()
        self.head = _Published((16, 32), (256, 1024), config.num_labels, size, {"width": 256}, anchors=anchors, normed=nn.BatchNorm2d)
        self.post_init()


AutoConfig.register(KIND, TinyConfig)
AutoModelForObjectDetection.register(TinyConfig, YOLOv3Tiny)
