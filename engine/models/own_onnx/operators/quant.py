"""Quantised operators, run on the values they stand for."""

from __future__ import annotations

import torch
from onnx import TensorProto as T
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.conv import OPERATORS as CONVOLUTIONS
from engine.models.own_onnx.operators.node import Node, Operator
from engine.models.own_onnx.operators.types import TORCH_TYPES, to_type

__all__ = ["OPERATORS"]

_RANGES = {
    T.UINT8: (0, 255),
    T.INT8: (-128, 127),
    T.UINT16: (0, 65535),
    T.INT16: (-32768, 32767),
    T.UINT4: (0, 15),
    T.INT4: (-8, 7),
    T.UINT2: (0, 3),
    T.INT2: (-2, 1),
}
_RANGE_OF = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.uint16: (0, 65535), torch.int16: (-32768, 32767)}


def _spread(value: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Line a scale or zero point up with x: one for all, one a channel, or one a block."""
    if value.numel() == 1 and value.dim() < 2:
        return value.reshape(())
    axis %= x.dim()
    if value.dim() == 1 and not block:
        return value.reshape([-1 if i == axis else 1 for i in range(x.dim())])
    if block:
        return value.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return value


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.int64).float() if x.dtype in (torch.uint16, torch.uint32, torch.uint64) else x.float()


def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    kind = node.get("zero_kind") or node.get("output_dtype", 0)
    if not kind and zero is not None:
        kind = next(number for number, torch_type in TORCH_TYPES.items() if torch_type == zero.dtype)
    kind = kind or T.UINT8
    steps = x / _spread(scale, x, axis, block).to(x.dtype)
    if kind not in _RANGES:
        return to_type(steps.float(), kind, saturate=bool(node.get("saturate", 1)))
    low, high = _RANGES[kind]
    steps = torch.round(steps.float())
    if zero is not None:
        steps = steps + _spread(_wide(zero), x, axis, block)
    narrow = TORCH_TYPES.get(kind, torch.int8 if low < 0 else torch.uint8)
    return steps.clamp(low, high).to(torch.int64).to(narrow)


def _dequantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    values = _wide(x)
    if zero is not None:
        values = values - _spread(_wide(zero), x, axis, block)
    y = values * _spread(scale, x, axis, block).float()
    wanted = node.get("output_dtype", 0)
    return y.to(TORCH_TYPES[wanted] if wanted else scale.dtype)


def _dynamic_quantize(_node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.clamp(x.min(), max=0), torch.clamp(x.max(), min=0)
    scale = (high - low) / 255
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return torch.clamp(torch.round(x / scale) + zero, 0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def _requantized(y: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    low, high = _RANGE_OF.get(zero.dtype, (-128, 127))
    return torch.clamp(torch.round(y / scale) + zero.float(), low, high).to(zero.dtype)


def _vector(value: Tensor, rows: bool) -> Tensor:
    """A scale a row (first operand) or a column (second) of a matrix product."""
    if value.dim() != 1 or value.numel() == 1:
        return value
    return value[:, None] if rows else value


def _matmul(_node: Node, a: Tensor, sa: Tensor, za: Tensor, b: Tensor, sb: Tensor, zb: Tensor, sy: Tensor, zy: Tensor) -> Tensor:
    left = (a.float() - _vector(za.float(), True)) * _vector(sa.float(), True)
    right = (b.float() - _vector(zb.float(), False)) * _vector(sb.float(), False)
    return _requantized(left @ right, sy.float(), zy)


def _conv(node: Node, x: Tensor, sx: Tensor, zx: Tensor, w: Tensor, sw: Tensor, zw: Tensor, sy: Tensor, zy: Tensor, bias: Tensor | None = None) -> Tensor:
    wide = [-1, *[1] * (w.dim() - 1)]
    weight = (w.float() - zw.float().reshape(wide)) * sw.float().reshape(wide)
    y = CONVOLUTIONS["Conv"](node, (x.float() - zx.float()) * sx.float(), weight, None)
    if bias is not None:
        y = y + (bias.float() * sx.float() * sw.float()).reshape(-1, *(1,) * (x.dim() - 2))
    return _requantized(y, sy.float(), zy)


def _matmul_integer(_node: Node, a: Tensor, b: Tensor, za: Tensor | None = None, zb: Tensor | None = None) -> Tensor:
    left = a.to(torch.int32) - (0 if za is None else _vector(za.to(torch.int32), True))
    return left @ (b.to(torch.int32) - (0 if zb is None else zb.to(torch.int32)))


def _conv_integer(node: Node, x: Tensor, w: Tensor, zx: Tensor | None = None, zw: Tensor | None = None) -> Tensor:
    moved = x.float() - (0 if zx is None else zx.float())
    weight = w.float() - (0 if zw is None else zw.float().reshape(-1, *(1,) * (w.dim() - 1) if zw.numel() > 1 else ()))
    return torch.round(CONVOLUTIONS["Conv"](node, moved, weight, None)).to(torch.int32)


def _q_linear(function: str) -> Operator:
    """Element by element operators of ONNX Runtime's quantiser: out of, then back into the quantised range."""

    def run(_node: Node, a: Tensor, sa: Tensor, za: Tensor, b: Tensor, sb: Tensor, zb: Tensor, sy: Tensor, zy: Tensor) -> Tensor:
        left, right = (a.float() - za.float()) * sa, (b.float() - zb.float()) * sb
        return _requantized(left + right if function == "add" else left * right, sy, zy)

    return run


def _q_global_average(_node: Node, x: Tensor, sx: Tensor, zx: Tensor, sy: Tensor, zy: Tensor) -> Tensor:
    values = (x.float() - zx.float()) * sx
    return _requantized(functional.adaptive_avg_pool2d(values, 1), sy, zy)


OPERATORS: dict[str, Operator] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QuantizeLinear": _quantize,
    "com.microsoft.DequantizeLinear": _dequantize,
    "com.microsoft.QLinearAdd": _q_linear("add"),
    "com.microsoft.QLinearGlobalAveragePool": _q_global_average,
    "com.microsoft.QLinearMul": _q_linear("mul"),
    "com.microsoft.QuantizeLinear": _quantize,
}
