"""Detectors that look twice, with torchvision's matchers, samplers and losses: Faster R-CNN and Mask R-CNN.

The first look (in `forward`) scores anchors; the second needs proposals, which depend on the targets while training, so it runs in
`loss` and in `decode`. Decoding works on whole batches with a fixed number of proposals, so that it can be written as an ONNX graph.

Shapes: B pictures, A anchors, P proposals a picture, R regions in all, K classes, D found, h x w map pixels, H x W input pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import roi_align

from engine.models.dense import boxes
from engine.models.dense.one_stage import Outputs, Targets, ratio_boxes, torchvision_targets
from engine.models.dense.parts import Pyramid

__all__ = ["RCNN", "MaskRCNN", "paste", "sampled"]

_RATIOS = (0.5, 1.0, 2.0)
_ANCHOR = 3.0
"""Side of anchors in strides of their map. torchvision has 8 on a map of 1/4 and pictures of 800 px; this is for a map of 1/8 and smaller pictures."""

_PROPOSALS = {True: 500, False: 300}
"""Proposals a picture while training and after."""

_POOLED_PX, _MASK_POOLED_PX = 7, 14
_CANONICAL_PX, _CANONICAL_LEVEL = 224.0, 4
"""A region of 224 px is read from the map of 1/16 (Lin et al. 2017, equation 1)."""


class RCNN(nn.Module):
    """Faster R-CNN on a feature pyramid."""

    nms_iou = 0.5

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, _size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.classes, self.stride = options["width"], classes, strides[0]
        self.pyramid = Pyramid(strides, channels, width, more="pool")
        self.read_from = len(strides)
        self.sizes = [ratio_boxes([_ANCHOR * stride], _RATIOS) for stride in self.pyramid.strides]
        unused: dict[str, int] = {"training": 0, "testing": 0}
        self.rpn = RegionProposalNetwork(AnchorGenerator(((1,),), (_RATIOS,)), RPNHead(width, len(_RATIOS)), 0.7, 0.3, 256, 0.5, unused, unused, 0.7)
        self.roi = RoIHeads(
            None, TwoMLPHead(width * _POOLED_PX**2, 4 * width), FastRCNNPredictor(4 * width, classes + 1), 0.5, 0.5, 128, 0.25, None, 0.05, self.nms_iou, 100
        )

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Return the pyramid and the first look: how likely each anchor holds a thing, and how its box should move."""
        levels = self.pyramid(maps)
        anchors_A4, counts = boxes.grid_anchors(levels, self.pyramid.strides, self.sizes)
        objectness, moves = concat_box_prediction_layers(*self.rpn.head(levels))
        batch, (height, width) = maps[0].shape[0], maps[0].shape[-2:]
        return {
            "levels": levels,
            "objectness_BA": objectness.float().view(batch, -1),
            "moves_BA4": moves.float().view(batch, -1, 4),
            "anchors": anchors_A4,
            "counts": counts,
            "height": height * self.stride,
            "width": width * self.stride,
        }

    def proposals(self, outputs: Outputs, count: int) -> tuple[Tensor, Tensor]:
        """Return the likeliest boxes [B, P, 4] and 1 for each that is real, 0 for filling [B, P]. No gradient flows back."""
        moves_BA4, anchors_A4 = outputs["moves_BA4"].detach(), outputs["anchors"]
        scores_BM, places_BM = outputs["objectness_BA"].detach().sigmoid().topk(min(boxes.CANDIDATES, anchors_A4.shape[0]))
        moves_BM4 = moves_BA4.gather(1, places_BM[..., None].expand(-1, -1, 4))
        boxes_BM4 = self.rpn.box_coder.decode_single(moves_BM4.reshape(-1, 4), anchors_A4[places_BM.reshape(-1)]).view_as(moves_BM4)
        boxes_BM4 = boxes.clip(boxes_BM4, outputs["height"], outputs["width"])
        ends = torch.tensor(outputs["counts"], device=places_BM.device).cumsum(0)
        levels_BM = (places_BM[..., None] >= ends).sum(-1)
        scores_BM = scores_BM * ((boxes_BM4[..., 2:] - boxes_BM4[..., :2]).amin(-1) > self.rpn.min_size)
        scores_BM = scores_BM * boxes.nms_mask(boxes_BM4, scores_BM, levels_BM, self.rpn.nms_thresh)
        found_BP6, _ = boxes.keep_best(boxes_BM4, scores_BM, levels_BM, count)
        return found_BP6[..., :4], (found_BP6[..., 4] > 0).to(found_BP6.dtype)

    def loss(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Return the losses of the first look (things, places) and the second (classes, boxes)."""
        named = torchvision_targets(targets, first_class=1)
        first = self._first_loss(outputs, named)
        boxes_BP4, real_BP = self.proposals(outputs, _PROPOSALS[True])
        proposed = [own[real > 0] for own, real in zip(boxes_BP4, real_BP, strict=True)]
        chosen, matched, labels, regression = self.roi.select_training_samples(proposed, named)
        logits, codes = self.roi.box_predictor(self.roi.box_head(self.pooled(outputs["levels"], _regions(chosen), _POOLED_PX)))
        classes, places = fastrcnn_loss(logits.float(), codes.float(), labels, regression)
        return first | {"classes": classes, "boxes": places} | self._mask_loss(outputs, named, chosen, matched, labels)

    def _first_loss(self, outputs: Outputs, named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        anchors = [outputs["anchors"]] * len(named)
        labels, matched = self.rpn.assign_targets_to_anchors(anchors, named)
        regression = self.rpn.box_coder.encode(matched, anchors)
        things, places = self.rpn.compute_loss(outputs["objectness_BA"].reshape(-1, 1), outputs["moves_BA4"].reshape(-1, 4), labels, list(regression))
        return {"proposals": things, "proposal_boxes": places}

    def _mask_loss(self, *_: Any) -> dict[str, Tensor]:
        return {}

    def pooled(self, levels: Sequence[Tensor], regions_R5: Tensor, size_px: int) -> Tensor:
        """Cut regions (picture, x1 y1 x2 y2) out of the maps that suit their size: [R, C, size, size]."""
        maps, strides = levels[: self.read_from], self.pyramid.strides[: self.read_from]
        sides_R = (regions_R5[:, 3:] - regions_R5[:, 1:3]).prod(1).clamp(min=1e-6).sqrt()
        levels_R = torch.floor(_CANONICAL_LEVEL + torch.log2(sides_R / _CANONICAL_PX) + 1e-6).clamp(math.log2(strides[0]), math.log2(strides[-1]))
        result = torch.zeros((regions_R5.shape[0], maps[0].shape[1], size_px, size_px), device=regions_R5.device)
        for one, stride in zip(maps, strides, strict=True):
            if boxes.in_plain_steps():  # each region from each map, and all but one of them weighed with 0
                own_R = (levels_R == math.log2(stride)).to(result.dtype)
                result = result + own_R[:, None, None, None] * sampled(one.float(), regions_R5, size_px, stride)
                continue
            rows = torch.where(levels_R == math.log2(stride))[0]
            result = result.index_put((rows,), roi_align(one.float(), regions_R5[rows], (size_px, size_px), 1 / stride, 2))
        return result

    def decode(self, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        """Take the second look at the likeliest places."""
        boxes_BP4, real_BP = self.proposals(outputs, _PROPOSALS[False])
        pooled = self.pooled(outputs["levels"], _regions_of_batch(boxes_BP4), _POOLED_PX)
        logits, codes = self.roi.box_predictor(self.roi.box_head(pooled))
        columns, per_picture = self.classes + 1, boxes_BP4.shape[1]
        decoded = self.roi.box_coder.decode_single(codes.float(), boxes_BP4.reshape(-1, 4)).view(-1, per_picture, columns, 4)
        own_BPK4 = boxes.clip(decoded[:, :, 1:], outputs["height"], outputs["width"])
        scores_BPK = logits.float().softmax(-1).view(-1, per_picture, columns)[..., 1:] * real_BP[..., None]
        return {"detections_BD6": boxes.select(own_BPK4, scores_BPK, limit, iou=self.nms_iou)}


class MaskRCNN(RCNN):
    """Faster R-CNN that outlines what it finds."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides, channels, classes, size, options)
        width = options["width"]
        self.mask_head = MaskRCNNHeads(width, (width,) * (4 if width == 256 else 2), 1)
        self.mask_predictor = MaskRCNNPredictor(width, width, classes + 1)

    def _masks(self, outputs: Outputs, regions_R5: Tensor) -> Tensor:
        return self.mask_predictor(self.mask_head(self.pooled(outputs["levels"], regions_R5, _MASK_POOLED_PX))).float()

    def _mask_loss(
        self, outputs: Outputs, named: list[dict[str, Tensor]], chosen: list[Tensor], matched: list[Tensor], labels: list[Tensor]
    ) -> dict[str, Tensor]:
        """Learn the outlines of the regions that hold a thing. Pictures without one take no part."""
        some = [index for index, own in enumerate(labels) if bool((own > 0).any())]
        if not some:
            return {"masks": sum(part.sum() for part in self.mask_predictor.parameters()) * 0.0}  # type: ignore[dict-item]
        held = [torch.where(labels[index] > 0)[0] for index in some]
        kept = [torch.zeros((0, 4), device=one.device) for one in chosen]
        for index, rows in zip(some, held, strict=True):
            kept[index] = chosen[index][rows]
        logits = self._masks(outputs, _regions(kept))
        own = [chosen[index][rows] for index, rows in zip(some, held, strict=True)]
        truths = [named[index]["masks"] for index in some]
        kinds = [named[index]["labels"] for index in some]
        return {"masks": maskrcnn_loss(logits, own, truths, kinds, [matched[index][rows] for index, rows in zip(some, held, strict=True)])}

    def decode(self, outputs: Outputs, limit: int) -> dict[str, Tensor]:
        """Return the detections and their masks at input size."""
        detections_BD6 = super().decode(outputs, limit)["detections_BD6"]
        logits = self._masks(outputs, _regions_of_batch(detections_BD6[..., :4]))
        kinds = detections_BD6[..., 5].reshape(-1).long() + 1
        shares = logits.gather(1, kinds[:, None, None, None].expand(-1, 1, logits.shape[2], logits.shape[3]))[:, 0].sigmoid()
        masks_BDhw = shares.view(-1, limit, *shares.shape[-2:])
        masks_BDHW = paste(masks_BDhw, detections_BD6[..., :4], outputs["height"], outputs["width"])
        return {"detections_BD6": detections_BD6, "masks_BDHW": masks_BDHW * (detections_BD6[..., 4] > 0)[..., None, None]}


def sampled(map_BChw: Tensor, regions_R5: Tensor, size_px: int, stride: int) -> Tensor:
    """Do what `roi_align` does with two samples a side of each cell, for as many regions in every picture: TensorRT for RTX has no such operator."""
    batch, count = map_BChw.shape[0], 2 * size_px
    low_BP2, high_BP2 = (part.reshape(batch, -1, 2) / stride for part in (regions_R5[:, 1:3], regions_R5[:, 3:]))
    steps_S = (torch.arange(count, device=map_BChw.device, dtype=low_BP2.dtype) + 0.5) / count
    places_BP2S = low_BP2[..., None] + (high_BP2 - low_BP2).clamp(min=1)[..., None] * steps_S  # torchvision counts no region as smaller than a map pixel
    size_2 = torch.tensor((map_BChw.shape[-1], map_BChw.shape[-2]), device=map_BChw.device, dtype=low_BP2.dtype)
    shares_BP2S = (2 * places_BP2S + 1) / size_2[:, None] - 1
    x_BPSS = shares_BP2S[:, :, 0, None, :].expand(-1, -1, count, count)
    y_BPSS = shares_BP2S[:, :, 1, :, None].expand(-1, -1, count, count)
    grid_BKS2 = torch.stack((x_BPSS, y_BPSS), -1).flatten(1, 2)
    found_BCKS = F.grid_sample(map_BChw, grid_BKS2, mode="bilinear", padding_mode="border", align_corners=False)
    cells_BCKs = F.avg_pool2d(found_BCKS, 2)
    return cells_BCKs.reshape(batch, map_BChw.shape[1], -1, size_px, size_px).transpose(1, 2).flatten(0, 1)


def _regions(chosen: Sequence[Tensor]) -> Tensor:
    """Return [R, 5]: the picture's number before each box."""
    return torch.cat([torch.cat((torch.full_like(own[:, :1], number), own), 1) for number, own in enumerate(chosen)])


def _regions_of_batch(boxes_BP4: Tensor) -> Tensor:
    """The same for as many boxes in every picture."""
    numbers_B = torch.arange(boxes_BP4.shape[0], device=boxes_BP4.device, dtype=boxes_BP4.dtype)
    return torch.cat((numbers_B[:, None, None].expand(-1, boxes_BP4.shape[1], 1), boxes_BP4), -1).reshape(-1, 5)


def paste(masks_BDhw: Tensor, boxes_BD4: Tensor, height: Any, width: Any) -> Tensor:
    """Bring the masks of boxes to the picture: bilinear, 0 outside. As two products of matrices, which needs no grid of the picture's size."""
    rows_BDHh = _tents(boxes_BD4[..., 1], boxes_BD4[..., 3], height, masks_BDhw.shape[-2])
    columns_BDWw = _tents(boxes_BD4[..., 0], boxes_BD4[..., 2], width, masks_BDhw.shape[-1])
    return rows_BDHh @ masks_BDhw @ columns_BDWw.transpose(-1, -2)


def _tents(low_BD: Tensor, high_BD: Tensor, length: Any, count: int) -> Tensor:
    """Return how much each of `count` mask pixels between low and high weighs in each of `length` picture pixels."""
    centres_L = torch.arange(length, device=low_BD.device, dtype=low_BD.dtype) + 0.5
    places_BDL = (centres_L - low_BD[..., None]) / (high_BD - low_BD).clamp(min=1e-3)[..., None] * count - 0.5
    return (1 - (places_BDL[..., None] - torch.arange(count, device=low_BD.device, dtype=low_BD.dtype)).abs()).clamp(min=0)
