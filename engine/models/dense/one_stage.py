"""Detectors that answer in one step, with torchvision's heads, matchers and losses: FCOS, RetinaNet, SSD.

torchvision's models resize and normalise for themselves; our pictures come ready, so only their heads and losses are used.

Shapes: B pictures, A places or anchors, K classes, D found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import _utils as det_utils
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.models.detection.ssdlite import SSDLiteHead, _extra_block

from engine.models.dense import boxes
from engine.models.dense.parts import Pyramid, lighten, norm

__all__ = ["FCOSDetector", "OneStage", "Outputs", "RetinaNetDetector", "SSDDetector", "Targets", "ratio_boxes", "torchvision_targets"]

Outputs = dict[str, Any]
Targets = Sequence[Mapping[str, Tensor]]

_FCOS_START = 2.0
"""Where box edges start, in strides from the middle. torchvision starts at 0 behind a ReLU, where half the edges get no gradient."""


class _Width(nn.Module):
    """Stands where torchvision's detectors want a backbone: they ask for its width only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width


def torchvision_targets(targets: Targets, first_class: int = 0) -> list[dict[str, Tensor]]:
    """Name the targets as torchvision does. `first_class` is 1 where its class 0 is the background."""
    named = []
    for one in targets:
        row = {"boxes": one["boxes_N4"].float(), "labels": one["labels_N"] + first_class}
        named.append(row | ({"masks": one["masks_NHW"]} if "masks_NHW" in one else {}))
    return named


def _decoded(coder: det_utils.BoxCoder, codes_BA4: Tensor, anchors_A4: Tensor) -> Tensor:
    """Decode a whole batch: torchvision's coder takes one list of boxes."""
    anchors = anchors_A4[None].expand(codes_BA4.shape[0], -1, -1).reshape(-1, 4)
    return coder.decode_single(codes_BA4.reshape(-1, 4), anchors).view_as(codes_BA4)


class OneStage(nn.Module):
    """What the three share: maps in, raw outputs with their anchors out."""

    nms_iou = 0.5

    def _outputs(self, raw: Outputs, anchors_A4: Tensor, counts: list[int], maps: Sequence[Tensor], stride: int) -> Outputs:
        height, width = maps[0].shape[-2:]
        floats = {name: tensor.float() for name, tensor in raw.items()}
        return {**floats, "anchors": anchors_A4, "counts": counts, "height": height * stride, "width": width * stride}

    def _found(self, boxes_BA4: Tensor, scores_BAK: Tensor, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        clipped = boxes.clip(boxes_BA4, outputs["height"], outputs["width"])
        return {"detections_BD6": boxes.select(clipped, scores_BAK, limit, iou=self.nms_iou)}


class FCOSDetector(OneStage):
    """Each place says what is there, how far the edges are, and how near the middle it is."""

    nms_iou = 0.6

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.stride = options["width"], strides[0]
        self.pyramid = Pyramid(strides, channels, width, more="p6p7", light=options["light"])
        head = FCOSHead(width, 1, classes, options["convs"])
        nn.init.constant_(head.regression_head.bbox_reg.bias, _FCOS_START)
        if options["light"]:
            lighten(head.classification_head.conv)
            lighten(head.regression_head.conv)
        self.method = FCOS(_Width(width), classes, anchor_generator=AnchorGenerator(((1,),), ((1.0,),)), head=head)
        self.method.transform = nn.Identity()

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Return logits [B, A, K], edges [B, A, 4], middleness [B, A, 1] and the places they are about."""
        levels = self.pyramid(maps)
        sizes = [torch.tensor([[float(stride), float(stride)]]) for stride in self.pyramid.strides]
        anchors_A4, counts = boxes.grid_anchors(levels, self.pyramid.strides, sizes)
        return self._outputs(self.method.head(levels), anchors_A4, counts, maps, self.stride)

    def loss(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Return focal, GIoU and middleness losses."""
        parts = self.method.compute_loss(torchvision_targets(targets), outputs, [outputs["anchors"]] * len(targets), outputs["counts"])
        return {"classes": parts["classification"], "boxes": parts["bbox_regression"], "middles": parts["bbox_ctrness"]}

    def decode(self, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        """Score by the root of class times middleness."""
        boxes_BA4 = self.method.box_coder.decode(outputs["bbox_regression"], outputs["anchors"])
        scores_BAK = torch.sqrt(outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid())
        return self._found(boxes_BA4, scores_BAK, outputs, limit)


class RetinaNetDetector(OneStage):
    """Nine anchor boxes at each place, and the focal loss."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.stride = options["width"], strides[0]
        self.pyramid = Pyramid(strides, channels, width, more="p6p7", light=options["light"])
        scale, ratios = float(options["anchor"]), (0.5, 1.0, 2.0)
        self.sizes = [ratio_boxes([scale * stride * 2 ** (step / 3) for step in range(3)], ratios) for stride in self.pyramid.strides]
        head = RetinaNetHead(width, len(self.sizes[0]), classes, norm_layer=norm)
        for branch in (head.classification_head, head.regression_head):
            branch.conv = branch.conv[: options["convs"]]
            if options["light"]:
                lighten(branch.conv)
        generator = AnchorGenerator(((1, 2, 3),), (ratios,))  # asked for the number of anchors only
        self.method = RetinaNet(_Width(width), classes, anchor_generator=generator, head=head)
        self.method.transform = nn.Identity()

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Return logits [B, A, K], box codes [B, A, 4] and the anchors."""
        levels = self.pyramid(maps)
        anchors_A4, counts = boxes.grid_anchors(levels, self.pyramid.strides, self.sizes)
        return self._outputs(self.method.head(levels), anchors_A4, counts, maps, self.stride)

    def loss(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Return focal and box losses."""
        parts = self.method.compute_loss(torchvision_targets(targets), outputs, [outputs["anchors"]] * len(targets))
        return {"classes": parts["classification"], "boxes": parts["bbox_regression"]}

    def decode(self, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        """Score by class."""
        return self._found(_decoded(self.method.box_coder, outputs["bbox_regression"], outputs["anchors"]), outputs["cls_logits"].sigmoid(), outputs, limit)


def ratio_boxes(sides: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Return [k, 2], width and height: for each ratio (height to width) and side a box of that side's area."""
    return torch.tensor([[side / ratio**0.5, side * ratio**0.5] for ratio in ratios for side in sides])


class SSDDetector(OneStage):
    """Predicts straight from the backbone's maps and three coarser ones; depthwise (SSDLite) by default."""

    EXTRA = (256, 128, 128)
    SCALES = (0.06, 0.95)
    """Sides of the smallest and the largest default boxes, shares of the picture's shorter side."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.stride = strides[0]
        widths = [channels[-1], *self.EXTRA]
        self.extra = nn.ModuleList(_extra_block(inside, outside, norm) for inside, outside in zip(widths, widths[1:], strict=False))
        self.strides = (*strides, *(strides[-1] * 2 ** (step + 1) for step in range(len(self.EXTRA))))
        self.sizes = self._sizes(min(size))
        counts = [len(level) for level in self.sizes]
        inside = [*channels, *self.EXTRA]
        head = SSDLiteHead(inside, counts, classes + 1, norm) if options["light"] else SSDHead(inside, counts, classes + 1)
        self.method = SSD(_Width(0), DefaultBoxGenerator([[2]]), size, classes + 1, head=head)
        self.method.transform = nn.Identity()

    def _sizes(self, side: int) -> list[Tensor]:
        levels = len(self.strides)
        low, high = self.SCALES
        scales = [side * (low + (high - low) * level / (levels - 1)) for level in range(levels)] + [float(side)]
        plain = [ratio_boxes([scale], (1.0, 2.0, 0.5, 3.0, 1 / 3)) for scale in scales[:-1]]
        between = [torch.full((1, 2), (scale * larger) ** 0.5) for scale, larger in zip(scales, scales[1:], strict=False)]
        return [torch.cat(pair) for pair in zip(plain, between, strict=True)]

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Return logits [B, A, 1 + K], background first, box codes [B, A, 4] and the anchors."""
        levels = list(maps)
        for block in self.extra:
            levels.append(block(levels[-1]))
        anchors_A4, counts = boxes.grid_anchors(levels, self.strides, self.sizes)
        return self._outputs(self.method.head(levels), anchors_A4, counts, maps, self.stride)

    def loss(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Return the losses of classes (with the hardest background places) and boxes."""
        named, anchors_A4 = torchvision_targets(targets, first_class=1), outputs["anchors"]
        matched = [self._matched(one["boxes"], anchors_A4) for one in named]
        parts = self.method.compute_loss(named, outputs, [anchors_A4] * len(named), matched)
        return {"classes": parts["classification"], "boxes": parts["bbox_regression"]}

    def _matched(self, boxes_N4: Tensor, anchors_A4: Tensor) -> Tensor:
        if not len(boxes_N4):
            return torch.full((len(anchors_A4),), -1, dtype=torch.int64, device=anchors_A4.device)
        return self.method.proposal_matcher(torchvision.ops.box_iou(boxes_N4, anchors_A4))

    def decode(self, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        """Score by class, the background apart."""
        boxes_BA4 = _decoded(self.method.box_coder, outputs["bbox_regression"], outputs["anchors"])
        return self._found(boxes_BA4, outputs["cls_logits"].softmax(-1)[..., 1:], outputs, limit)
