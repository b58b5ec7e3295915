"""Normalisation and dropout. BatchNormalization and Dropout of an inference graph learn again in training mode."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator

__all__ = ["OPERATORS"]


def _batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor | tuple[Tensor, ...]:
    """In training mode batch statistics are used and the running ones, buffers of the module, follow in place."""
    momentum = 1 - node.get("momentum", 0.9)  # torch weighs the new value, ONNX the old
    epsilon = node.get("epsilon", 1e-5)
    if node.get("training_mode", 0) and node.wants(1) and not node.training:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        now, spread = x.mean(axes), x.var(axes, unbiased=False)
        y = functional.batch_norm(x, now, spread, scale, bias, False, 0.0, epsilon)
        return y, mean * (1 - momentum) + now * momentum, variance * (1 - momentum) + spread * momentum
    if mean.requires_grad or variance.requires_grad:  # statistics of a weight, computed in the graph: standardised weights
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        factor = scale.reshape(shape) * torch.rsqrt(variance.reshape(shape) + epsilon)
        return (x - mean.reshape(shape)) * factor + bias.reshape(shape)
    learning = (node.training or bool(node.get("training_mode", 0))) and (x.numel() > x.shape[1])
    kind = x.dtype
    if kind != scale.dtype and not torch.is_autocast_enabled(x.device.type):
        x = x.to(scale.dtype)
    return functional.batch_norm(x, mean, variance, scale, bias, learning, momentum if node.training else 0.0, epsilon)


def _dropout(node: Node, x: Tensor, ratio: Tensor | None = None, mode: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    share = node.get("ratio", 0.5) if ratio is None else float(ratio)
    active = node.training or (mode is not None and bool(mode))
    if not active or share == 0:
        return x, torch.ones_like(x, dtype=torch.bool) if node.wants(1) else None
    if not node.wants(1):
        return functional.dropout(x, share, training=True), None
    kept = torch.rand_like(x) >= share
    return torch.where(kept, x / (1 - share), torch.zeros_like(x)), kept


def _layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    axis, epsilon = node.get("axis", -1) % x.dim(), node.get("epsilon", 1e-5)
    shape = x.shape[axis:]
    if x.dtype != scale.dtype and not torch.is_autocast_enabled(x.device.type):
        x = x.to(scale.dtype)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        y = functional.layer_norm(x, shape, scale, bias, epsilon)
    else:
        y = functional.layer_norm(x, shape, None, None, epsilon) * scale
        y = y if bias is None else y + bias
    if not (node.wants(1) or node.wants(2)):
        return y
    axes = list(range(axis, x.dim()))
    mean = x.mean(axes, keepdim=True)
    return y, mean, torch.rsqrt(x.var(axes, unbiased=False, keepdim=True) + epsilon)


def _rms_norm(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    axis = node.get("axis", -1) % x.dim()
    wide = x.float() if node.get("stash_type", 1) == 1 and x.dtype in (torch.float16, torch.bfloat16) else x
    root = torch.rsqrt(wide.square().mean(list(range(axis, x.dim())), keepdim=True) + node.get("epsilon", 1e-5))
    return (wide * root).to(x.dtype) * scale


def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def _group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.get("num_groups")
    if scale.numel() != x.shape[1]:  # opset 18: one scale a group
        scale, bias = scale.repeat_interleave(x.shape[1] // groups), bias.repeat_interleave(x.shape[1] // groups)
    return functional.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


def _lp_normalization(node: Node, x: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(x, node.get("p", 2), dim=node.get("axis", -1), keepdim=True)
    return torch.where(length == 0, torch.zeros_like(x), x / length)


def _mean_variance(node: Node, x: Tensor) -> Tensor:
    axes = node.get("axes") or [0, 2, 3]
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean(axes, keepdim=True).sqrt() + 1e-9)


def _lrn(node: Node, x: Tensor) -> Tensor:
    size = node.get("size")
    before = (size - 1) // 2
    square = functional.pad(x.square().flatten(2).unsqueeze(1), [0, 0, before, size - 1 - before])
    total = functional.avg_pool2d(square, (size, 1), 1).squeeze(1).reshape(x.shape)
    return x / (node.get("bias", 1.0) + node.get("alpha", 1e-4) * total) ** node.get("beta", 0.75)


def _skip_layer_norm(node: Node, x: Tensor, skip: Tensor, gamma: Tensor, beta: Tensor | None = None, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    total = x + skip if bias is None else x + skip + bias
    y = functional.layer_norm(total, total.shape[-1:], gamma, beta, node.get("epsilon", 1e-12))
    return y, None, None, total  # type: ignore[return-value]


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_normalization,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
    "com.microsoft.SkipLayerNormalization": _skip_layer_norm,
}
