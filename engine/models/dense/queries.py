"""Transformers that ask for things: RT-DETR v2, D-FINE and Deformable DETR, with transformers' layers, matching and losses.

While training, `forward` only hands the maps on: the decoder also answers noised copies of the targets, so it runs in `loss`.

Shapes: B pictures, Q queries, K classes, D found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DFineConfig,
    DFineForObjectDetection,
    ResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)

from engine.models.dense import boxes
from engine.models.dense.given import GivenMaps, drop_aliases, normalised_targets, pictures_like, summed
from engine.models.dense.parts import group_norms, norm

__all__ = ["DFINE", "PRIOR", "DeformableDETR", "Queries", "RTDETRv2"]

_HEAD_WIDTH = 32
PRIOR = 0.01
"""How likely a query is taken for a thing before anything is learnt."""

_NAMES = {"loss_vfl": "classes", "loss_ce": "classes", "loss_bbox": "boxes", "loss_giou": "overlap", "loss_fgl": "edges", "loss_ddf": "agreement"}


def _no_backbone() -> ResNetConfig:
    """Return the smallest backbone that can be built: it is replaced at once."""
    return ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, layer_type="basic", out_features=["stage2", "stage3", "stage4"])  # type: ignore[call-arg]


class Queries(nn.Module):
    """What the three share. `net` is transformers' model."""

    net: Any

    def __init__(self, strides: Sequence[int], size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.stride = strides[0]
        places = sum((size[0] // stride) * (size[1] // stride) for stride in strides)
        self.queries = min(options["queries"], places)
        self.given = GivenMaps()

    def _settings(self, classes: int, options: Mapping[str, Any]) -> dict[str, Any]:
        hidden = options["hidden"]
        return {
            "backbone_config": _no_backbone(),
            "num_labels": classes,
            "d_model": hidden,
            "encoder_ffn_dim": 4 * hidden,
            "decoder_ffn_dim": 4 * hidden,
            "encoder_attention_heads": hidden // _HEAD_WIDTH,
            "decoder_attention_heads": hidden // _HEAD_WIDTH,
            "decoder_layers": options["layers"],
            "num_queries": self.queries,
            "initializer_bias_prior_prob": PRIOR,
        }

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Any]:
        """Return the maps while training, else what the queries answer: logits [B, Q, K] and boxes [B, Q, 4]."""
        outputs: dict[str, Any] = {"maps": tuple(maps)}
        if self.training:
            return outputs
        answer = self._run(maps, None)
        return outputs | {"logits_BQK": answer.logits.float(), "boxes_BQ4": answer.pred_boxes.float()}

    def _run(self, maps: Sequence[Tensor], labels: list[dict[str, Tensor]] | None) -> Any:
        self.given.maps = maps
        try:
            return self.net(pictures_like(maps[0], self.stride), labels=labels)
        finally:
            self.given.maps = ()

    def loss(self, outputs: Mapping[str, Any], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of all decoder layers, summed by kind."""
        finest = outputs["maps"][0]
        labels = normalised_targets(targets, finest.shape[-2] * self.stride, finest.shape[-1] * self.stride)
        answer = self._run(outputs["maps"], labels)
        return summed(self._weighted(answer.loss_dict), _NAMES)

    def _weighted(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        return parts

    def decode(self, outputs: Mapping[str, Any], limit: int) -> dict[str, Tensor]:
        """Take the best answers; none repeats another, so there is nothing to suppress."""
        height, width = (side * self.stride for side in outputs["maps"][0].shape[-2:])
        middle_BQ2, half_BQ2 = outputs["boxes_BQ4"][..., :2], outputs["boxes_BQ4"][..., 2:] / 2
        shares_BQ4 = torch.cat((middle_BQ2 - half_BQ2, middle_BQ2 + half_BQ2), -1)
        x_BQ2, y_BQ2 = shares_BQ4[..., 0::2] * width, shares_BQ4[..., 1::2] * height
        boxes_BQ4 = torch.stack((x_BQ2[..., 0], y_BQ2[..., 0], x_BQ2[..., 1], y_BQ2[..., 1]), -1)
        return {"detections_BD6": boxes.top(boxes.clip(boxes_BQ4, height, width), outputs["logits_BQK"].sigmoid(), limit)}


def _projections(channels: Sequence[int], width: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Sequential(nn.Conv2d(own, width, 1, bias=False), norm(width)) for own in channels)


class RTDETRv2(Queries):
    """Lv et al. 2024."""

    config: Any = RTDetrV2Config
    model: Any = RTDetrV2ForObjectDetection

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides, size, options)
        hidden = options["hidden"]
        levels: dict[str, Any] = {"encoder_in_channels": list(channels), "decoder_in_channels": [hidden] * len(channels), "feat_strides": list(strides)}
        small: dict[str, Any] = {"hidden_expansion": 0.5} if hidden < 256 else {}
        self.net = self.model(self.config(**self._settings(classes, options), encoder_hidden_dim=hidden, **levels, **small))
        self.net.model.backbone = self.given
        self.net.model.encoder_input_proj = _projections(channels, hidden)
        group_norms(self.net)
        drop_aliases(self)


class DFINE(RTDETRv2):
    """Peng et al. 2024."""

    config = DFineConfig
    model = DFineForObjectDetection


class DeformableDETR(Queries):
    """Zhu et al. 2021, with boxes refined layer by layer."""

    def __init__(self, strides: Sequence[int], channels: Sequence[int], classes: int, size: tuple[int, int], options: Mapping[str, Any]) -> None:
        super().__init__(strides, size, options)
        settings = self._settings(classes, options) | {"encoder_layers": options["layers"], "num_feature_levels": len(channels)}
        self.net = DeformableDetrForObjectDetection(
            DeformableDetrConfig(**settings, with_box_refine=True, auxiliary_loss=True, disable_custom_kernels=True, dropout=0.0)
        )
        self.net.model.backbone = self.given
        self.net.model.input_proj = _projections(channels, options["hidden"])
        self._start()
        drop_aliases(self)

    def _start(self) -> None:
        """Start as the authors' code does: hardly anything is a thing, boxes keep to where they look. transformers leaves this to trained weights."""
        for layer in self.net.class_embed:
            nn.init.constant_(layer.bias, math.log(PRIOR / (1 - PRIOR)))
        for number, branch in enumerate(self.net.bbox_embed):
            nn.init.zeros_(branch.layers[-1].weight)
            nn.init.zeros_(branch.layers[-1].bias)
            if number == 0:
                nn.init.constant_(branch.layers[-1].bias[2:], -2.0)

    def _weighted(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        config = self.net.config
        weights = {"loss_ce": 1.0, "loss_bbox": config.bbox_loss_coefficient, "loss_giou": config.giou_loss_coefficient}
        return {key: value * weight for key, value in parts.items() for name, weight in weights.items() if key.startswith(name)}
