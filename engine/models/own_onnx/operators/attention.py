"""Attention in its ONNX forms: softmax attention with caches and masks, linear attention, rotary positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator
from engine.models.own_onnx.operators.types import TORCH_TYPES

__all__ = ["OPERATORS"]


def _heads(x: Tensor, count: int) -> Tensor:
    """B x T x (H*D) as B x H x T x D."""
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def _bias(node: Node, q: Tensor, k: Tensor, mask: Tensor | None, past: int, lengths: Tensor | None) -> Tensor | None:
    """Everything that is added to the scores: the mask, the causal frontier, the window and the padding."""
    rows, columns = q.shape[2], k.shape[2]
    i, j = torch.arange(rows, device=q.device)[:, None], torch.arange(columns, device=q.device)[None]
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    forbidden = torch.full((), -math.inf, dtype=q.dtype, device=q.device)
    total: Tensor | None = None
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.where(mask, torch.zeros_like(forbidden), forbidden)
        short = columns - mask.shape[-1]
        total = functional.pad(mask, [0, short], value=-math.inf) if short > 0 else mask
    offset: Tensor | int = past
    if lengths is not None and past == 0:
        offset = (lengths.reshape(-1) - rows).reshape(-1, 1, 1, 1)
    allowed: Tensor | None = None
    if node.get("is_causal", 0):
        allowed = j <= i + offset
    if left >= 0:
        near = i + offset - j <= left
        allowed = near if allowed is None else allowed & near
    if right >= 0:
        near = j - (i + offset) <= right
        allowed = near if allowed is None else allowed & near
    if lengths is not None:
        real = (j < lengths.reshape(-1, 1)).reshape(-1, 1, 1, columns)
        allowed = real if allowed is None else allowed & real
    if allowed is None:
        return total
    seen = torch.where(allowed, torch.zeros_like(forbidden), forbidden)
    return seen if total is None else total + seen


def _softmax(scores: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax in which a row that may look at nothing gives zeros, not NaN."""
    if bias is None:
        return functional.softmax(scores, -1)
    blind = torch.isneginf(bias.amax(-1, keepdim=True))
    if not bool(blind.any()):
        return functional.softmax(scores, -1)
    return torch.where(blind, torch.zeros_like(scores), functional.softmax(torch.where(blind, torch.zeros_like(scores), scores), -1))


def _attention(
    node: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    flat = q.dim() == 3
    if flat:
        q, k, v = _heads(q, node.get("q_num_heads")), _heads(k, node.get("kv_num_heads")), _heads(v, node.get("kv_num_heads"))
    past = 0 if past_key is None else past_key.shape[2]
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    present = (k, v)
    bias = _bias(node, q, k, mask, past, lengths)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scale = node.get("scale") or 1 / math.sqrt(q.shape[-1])
    cap, wide = node.get("softcap", 0.0), node.get("softmax_precision")
    if not cap and not wide and not node.wants(3) and bias is None:
        y = functional.scaled_dot_product_attention(q, k, v, scale=scale)
        return y.transpose(1, 2).flatten(2) if flat else y, *present
    root = math.sqrt(scale)
    scores = (q * root) @ (k * root).transpose(-1, -2)
    mode = node.get("qk_matmul_output_mode", 0)
    shown = scores
    if cap:
        scores = torch.tanh(scores / cap) * cap
        shown = scores if mode == 1 else shown
        shown = scores if mode == 0 else shown
    biased = scores if bias is None else scores + bias
    shown = biased if mode == 2 else shown
    kind = q.dtype
    weights = _softmax(biased.to(TORCH_TYPES[wide]) if wide else biased, bias)
    shown = weights if mode == 3 else shown
    y = weights.to(kind) @ v
    return y.transpose(1, 2).flatten(2) if flat else y, *present, shown.to(kind)


def _linear_attention(
    node: Node, q: Tensor, k: Tensor, v: Tensor, past: Tensor | None = None, decay: Tensor | None = None, beta: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A recurrence over a state of shape B x H x Dk x Dv: decay, correct, write, read."""
    q_heads, kv_heads, rule = node.get("q_num_heads"), node.get("kv_num_heads"), node.get("update_rule", "gated_delta")
    kind = q.dtype
    qh, kh, vh = _heads(q, q_heads).float(), _heads(k, kv_heads).float(), _heads(v, kv_heads).float()
    steps, width = qh.shape[2], qh.shape[3]
    state = qh.new_zeros(q.shape[0], kv_heads, width, vh.shape[3]) if past is None else past.float()
    gate = _heads(decay, kv_heads).float() if decay is not None and "gated" in rule else None
    rate = beta.reshape(beta.shape[0], steps, beta.shape[-1], 1).transpose(1, 2).float() if beta is not None and "delta" in rule else None
    scale, rows = node.get("scale") or 1 / math.sqrt(width), []
    for t in range(steps):
        key, value = kh[:, :, t], vh[:, :, t]
        if gate is not None:
            state = state * torch.exp(gate[:, :, t])[..., None]
        if rate is not None:
            value = rate[:, :, t] * (value - torch.einsum("bhdm,bhd->bhm", state, key))
        state = state + key[..., :, None] * value[..., None, :]
        read = state.repeat_interleave(q_heads // kv_heads, 1)
        rows.append(scale * torch.einsum("bhd,bhdm->bhm", qh[:, :, t], read))
    y = torch.stack(rows, 2).transpose(1, 2).flatten(2)
    return y.to(kind), state.to(kind if past is None else past.dtype)


def _rotary(node: Node, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
    shape = x.shape
    y = x.transpose(1, 2) if x.dim() == 4 else x.reshape(x.shape[0], x.shape[1], node.get("num_heads"), -1)
    width = node.get("rotary_embedding_dim", 0) or y.shape[-1]
    turned, rest = y[..., :width], y[..., width:]
    if positions is not None:
        cos, sin = cos[positions.long()], sin[positions.long()]
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    if node.get("interleaved", 0):
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([cos * a - sin * b, sin * a + cos * b], -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat([cos * a - sin * b, sin * a + cos * b], -1)
    y = torch.cat([turned, rest], -1)
    return y.transpose(1, 2) if len(shape) == 4 else y.reshape(shape)


def _attended(node: Node, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without a mask, in one piece (`own_onnx.fused`): q, v [..., T, D]; k the same, or [..., D, T] as the product takes it."""
    if not node.get("transposed", 0):
        k = k.transpose(-1, -2)
    if q.dim() == 3:
        return functional.scaled_dot_product_attention(q[None], k[None], v[None], scale=node.get("scale"))[0]
    return functional.scaled_dot_product_attention(q, k, v, scale=node.get("scale"))


OPERATORS: dict[str, Operator] = {
    "Attention": _attention,
    "LinearAttention": _linear_attention,
    "RotaryEmbedding": _rotary,
    "graft.Attended": _attended,
}
