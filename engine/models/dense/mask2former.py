"""Mask2Former on any backbone's maps, for classes of pixels and for single things, with transformers' layers, matching and losses.

Shapes: B pictures, Q queries, K classes, N masks of a picture, D found, h x w pixels of the finest map, H x W input pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from engine.models.dense import IGNORED, boxes
from engine.models.dense.given import GivenFeatures, pictures_like, summed

__all__ = ["Instances", "Published", "Semantic"]

_HEAD_WIDTH = 32
_NAMES = {"loss_cross_entropy": "classes", "loss_mask": "pixels", "loss_dice": "overlap"}
_INSIDE = 0.5
"""A pixel belongs to a thing from this probability."""


class _Masks(nn.Module):
    """What the two share: queries that each answer with a class and a mask."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], labels: int, size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.stride, hidden = strides[0], options["hidden"]
        config = Mask2FormerConfig(  # type: ignore[call-arg]
            backbone_config=SwinConfig(image_size=32, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, out_features=[f"stage{n}" for n in range(1, 5)]),  # type: ignore[call-arg]
            num_labels=labels,
            feature_size=hidden,
            mask_feature_size=hidden,
            hidden_dim=hidden,
            encoder_feedforward_dim=4 * hidden,
            dim_feedforward=4 * hidden,
            num_attention_heads=hidden // _HEAD_WIDTH,
            encoder_layers=6 if options["layers"] == 10 else 3,
            decoder_layers=options["layers"],
            num_queries=options["queries"],
            train_num_points=min(12544, size[0] * size[1] // 16),
        )
        self.net: Any = Mask2FormerForUniversalSegmentation(config)
        self.given = GivenFeatures()
        pixels = self.net.model.pixel_level_module
        pixels.encoder = self.given  # the backbone it came with is never used
        pixels.decoder = Mask2FormerPixelDecoder(config, feature_channels=list(channels))
        pixels.decoder.apply(self.net._init_weights)

    def _run(self, maps: Sequence[Tensor], **labels: Any) -> Any:
        self.given.maps = maps
        try:
            return self.net(pictures_like(maps[0], self.stride), **labels)
        finally:
            self.given.maps = ()

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Any]:
        """Return the maps while training, else classes [B, Q, labels + 1] and mask logits [B, Q, h, w] as well."""
        outputs: dict[str, Any] = {"maps": tuple(maps)}
        if self.training:
            return outputs
        answer = self._run(maps)
        return outputs | {"classes": answer.class_queries_logits.float(), "masks": answer.masks_queries_logits.float()}

    def _loss(self, outputs: Mapping[str, Any], masks: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        parts = self._matched(outputs, masks, labels)
        return summed(parts, _NAMES)

    def _matched(self, outputs: Mapping[str, Any], masks: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        """Run the decoder and hold its answers against the targets, layer by layer."""
        self.given.maps = outputs["maps"]
        try:
            net, images = self.net, pictures_like(outputs["maps"][0], self.stride)
            answer = net.model(pixel_values=images, output_hidden_states=True, return_dict=True)
        finally:
            self.given.maps = ()
        states = [state.transpose(0, 1) for state in answer.transformer_decoder_intermediate_states]
        classes = [net.class_predictor(state).float() for state in states]
        answered = [one.float() for one in answer.masks_queries_logits]
        return net.get_loss_dict(answered[-1], classes[-1], masks, labels, net.get_auxiliary_logits(classes, answered))

    def _size(self, outputs: Mapping[str, Any]) -> tuple[Any, Any]:
        height, width = outputs["maps"][0].shape[-2:]
        return height * self.stride, width * self.stride


class Semantic(_Masks):
    """Each query answers for the pixels of one class; the background is a class like the others."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides, channels, classes + 1, size, options)

    def loss(self, outputs: Mapping[str, Any], targets_BHW: Tensor) -> dict[str, Tensor]:
        """Return the losses of all layers, summed by kind."""
        labels = [torch.unique(one[one != IGNORED]) for one in targets_BHW]
        masks = [(one[None] == own[:, None, None]).float() for one, own in zip(targets_BHW, labels, strict=True)]
        return self._loss(outputs, masks, labels)

    def decode(self, outputs: Mapping[str, Any], _limit: int) -> dict[str, Tensor]:
        """Return the logarithm of each class's share at input size: its softmax is the share."""
        shares_BQK = outputs["classes"].softmax(-1)[..., :-1]
        scores = torch.einsum("bqk,bqhw->bkhw", shares_BQK, outputs["masks"].sigmoid())
        scores = F.interpolate(scores, size=self._size(outputs), mode="bilinear", align_corners=False)
        return {"logits_BKHW": scores.clamp(min=1e-6).log()}


class Instances(_Masks):
    """Each query answers for one thing."""

    def loss(self, outputs: Mapping[str, Any], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of all layers, summed by kind."""
        return self._loss(outputs, [one["masks_NHW"].float() for one in targets], [one["labels_N"] for one in targets])

    def decode(self, outputs: Mapping[str, Any], limit: int) -> dict[str, Tensor]:
        """Score by class and by how sure the mask's own pixels are; boxes are drawn around the masks."""
        shares_BQK = outputs["classes"].softmax(-1)[..., :-1]
        count, classes = min(limit, shares_BQK.shape[1] * shares_BQK.shape[2]), shares_BQK.shape[2]
        scores_BD, places_BD = shares_BQK.flatten(1).topk(count)
        rows_BD = torch.div(places_BD, classes, rounding_mode="floor")
        shape = outputs["masks"].shape
        masks_BDhw = outputs["masks"].gather(1, rows_BD[..., None, None].expand(-1, -1, shape[2], shape[3]))
        masks_BDHW = F.interpolate(masks_BDhw, size=self._size(outputs), mode="bilinear", align_corners=False).sigmoid()
        inside_BDHW = (masks_BDHW > _INSIDE).to(masks_BDHW.dtype)
        area_BD = inside_BDHW.sum((2, 3))
        scores_BD = scores_BD * (masks_BDHW * inside_BDHW).sum((2, 3)) / area_BD.clamp(min=1)
        detections_BD6, order_BD = boxes.keep_best(_around(inside_BDHW), scores_BD, places_BD % classes, limit)
        ordered = masks_BDHW.gather(1, order_BD[..., None, None].expand(-1, -1, *masks_BDHW.shape[2:]))
        return {"detections_BD6": detections_BD6, "masks_BDHW": ordered * (detections_BD6[..., 4] > 0)[..., None, None]}


class Published(Instances):
    """A published network without its backbone, fed with the backbone's maps."""

    def __init__(self, net: Any, stride: int) -> None:
        nn.Module.__init__(self)
        self.stride, self.net, self.given = stride, net, GivenFeatures()
        net.model.pixel_level_module.encoder = self.given


def _around(inside_BDHW: Tensor) -> Tensor:
    """Return the boxes [B, D, 4] around the pixels that are 1."""
    edges = []
    for dim in (2, 3):  # columns are what is left when rows are reduced
        line_BDL = inside_BDHW.amax(dim)
        length = line_BDL.shape[-1]
        places_L = torch.arange(length, device=line_BDL.device, dtype=line_BDL.dtype)
        low_BD = (places_L + (1 - line_BDL) * length).amin(-1).clamp(max=length)
        high_BD = ((places_L + 1) * line_BDL).amax(-1)
        edges.append((torch.minimum(low_BD, high_BD), high_BD))
    (x1, x2), (y1, y2) = edges
    return torch.stack((x1, y1, x2, y2), -1)
