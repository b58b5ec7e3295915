"""Arithmetic, comparison, logic and activations: operators that work element by element, and matrix products."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.models.own_onnx.operators.node import Node, Operator, OperatorError

__all__ = ["OPERATORS"]


def _plain(function: Callable[..., Any]) -> Operator:
    """An operator without attributes."""
    return lambda _node, *inputs: function(*inputs)


def _folded(function: Callable[[Any, Any], Any]) -> Operator:
    """An operator of any number of inputs, taken two at a time."""
    return lambda _node, *inputs: reduce(function, inputs)


def _broadcast(function: Callable[[Any, Any], Any]) -> Operator:
    """A binary operator; before opset 7 the attributes `broadcast` and `axis` said how the second input lines up."""

    def run(node: Node, a: Tensor, b: Tensor) -> Tensor:
        if node.opset < 7 and node.get("broadcast") and node.get("axis") is not None:
            b = b.reshape(b.shape + (1,) * (a.dim() - node.get("axis") % a.dim() - b.dim()))
        return function(a, b)

    return run


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _equal(a: Any, b: Any) -> Tensor:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return torch.from_numpy(np.asarray(np.asarray(a) == np.asarray(b)))
    return torch.eq(a, b)


def _power(_node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    if exponent.numel() == 1 and exponent.dim() == 0 and base.is_floating_point():
        return torch.pow(base, exponent.to(base.device))
    return torch.pow(base, exponent).to(base.dtype)


def _modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _shift(node: Node, a: Tensor, b: Tensor) -> Tensor:
    wide, by = a.to(torch.int64), b.to(torch.int64)
    return (wide << by if node.get("direction") == "LEFT" else wide >> by).to(a.dtype)


def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.opset < 11:
        return _between(x, node.get("min"), node.get("max"))
    return _between(x, None if low is None else low.item(), None if high is None else high.item())


def _between(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Clip in one pass: ReLU and ReLU6 come as this from exporters."""
    if high is None or low is None or not x.is_floating_point() or low > high:
        return torch.relu(x) if low == 0 and high is None else x if low is None and high is None else torch.clamp(x, low, high)
    return functional.hardtanh(x, low, high)


def _mean(_node: Node, *inputs: Tensor) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


def _infinite(node: Node, x: Tensor) -> Tensor:
    down, up = node.get("detect_negative", 1), node.get("detect_positive", 1)
    if down and up:
        return torch.isinf(x)
    return torch.isneginf(x) if down else torch.isposinf(x) if up else torch.zeros_like(x, dtype=torch.bool)


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return functional.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0, 1)


def _elu(node: Node, x: Tensor) -> Tensor:
    return functional.elu(x, node.get("alpha", 1.0))


def _celu(node: Node, x: Tensor) -> Tensor:
    return functional.celu(x, node.get("alpha", 1.0))


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))


def _gelu(node: Node, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=node.get("approximate", "none"))


def _leaky(node: Node, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, node.get("alpha", 0.01))


def _prelu(_node: Node, x: Tensor, slope: Tensor) -> Tensor:
    if slope.dim() == 1 and x.dim() > 1 and slope.numel() == x.shape[1] != x.shape[-1]:  # written by old exporters, one slope a channel
        slope = slope.reshape(-1, *(1,) * (x.dim() - 2))
    return torch.where(x >= 0, x, slope * x)


def _shrink(node: Node, x: Tensor) -> Tensor:
    bias, edge = node.get("bias", 0.0), node.get("lambd", 0.5)
    moved = torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, torch.zeros_like(x)))
    return moved.to(x.dtype)


def _thresholded(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > node.get("alpha", 1.0), x, torch.zeros_like(x))


def _swish(node: Node, x: Tensor) -> Tensor:
    alpha = node.get("alpha", 1.0)
    return functional.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def _swiglu(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return _swish(node, a) * b


def _softmax_axis(node: Node, x: Tensor) -> tuple[Tensor, int, tuple[int, ...] | None]:
    """Before opset 13 everything from the axis on is one flat row."""
    if node.opset >= 13:
        return x, node.get("axis", -1), None
    axis = node.get("axis", 1) % x.dim()
    if axis == x.dim() - 1:
        return x, -1, None
    return x.reshape(*x.shape[:axis], -1), -1, tuple(x.shape)


def _rows(function: Callable[[Tensor, int], Tensor]) -> Operator:
    def run(node: Node, x: Tensor) -> Tensor:
        flat, axis, shape = _softmax_axis(node, x)
        y = function(flat, axis)
        return y if shape is None else y.reshape(shape)

    return run


def _hardmax(x: Tensor, axis: int) -> Tensor:
    return torch.zeros_like(x).scatter(axis, torch.argmax(x, axis, keepdim=True), 1)


def _matmul(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b) if a.dtype == b.dtype or torch.is_autocast_enabled(a.device.type) else torch.matmul(*_lower(a, b))


def _lower(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Bring two factors to the lower precision of the two: in a module of lower precision a cast in the file may have raised one."""
    low = min(a.dtype, b.dtype, key=lambda kind: kind.itemsize)
    return a.to(low), b.to(low)


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a if a.dtype == b.dtype or torch.is_autocast_enabled(a.device.type) else a.to(b.dtype)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    if node.get("transA", 0):
        a = a.t()
    if alpha == 1 and beta == 1 and (c is None or c.dim() == 1):
        if node.get("transB", 0):
            return functional.linear(a, b, c)
        return torch.mm(a, b) if c is None else torch.addmm(c, a, b)
    product = torch.mm(a, b.t() if node.get("transB", 0) else b)
    product = product if alpha == 1 else alpha * product
    return product if c is None else product + (c if beta == 1 else beta * c)


def _einsum(node: Node, *inputs: Tensor) -> Tensor:
    return torch.einsum(node.get("equation").replace(" ", ""), *inputs)


def _det(_node: Node, x: Tensor) -> Tensor:
    return torch.linalg.det(x)


def _fused_matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    a = a.transpose(-1, -2) if node.get("transA", 0) else a
    b = b.transpose(-1, -2) if node.get("transB", 0) else b
    return node.get("alpha", 1.0) * torch.matmul(a, b)


def _fused_gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    y = _gemm(node, a, b, c)
    name = node.get("activation", "")
    if name not in ("", "Relu", "Sigmoid", "Tanh", "LeakyRelu"):
        raise OperatorError(f"a product fused with {name}")
    if name == "LeakyRelu":
        return functional.leaky_relu(y, node.get("activation_alpha", 0.01))
    return {"": lambda x: x, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh}[name](y)


def _bias_gelu(_node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.gelu(x if bias is None else x + bias)


def _fast_gelu(_node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


def _quick_gelu(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.get("alpha", 1.702) * x)


def _linear(_node: Node, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A product and its bias in one piece (`own_onnx.fused`)."""
    return functional.linear(x, weight.t(), bias)


OPERATORS: dict[str, Operator] = {
    "graft.Linear": _linear,
    "Abs": _plain(torch.abs),
    "Acos": _plain(torch.acos),
    "Acosh": _plain(torch.acosh),
    "Add": _broadcast(torch.add),
    "And": _broadcast(torch.logical_and),
    "Asin": _plain(torch.asin),
    "Asinh": _plain(torch.asinh),
    "Atan": _plain(torch.atan),
    "Atanh": _plain(torch.atanh),
    "BitShift": _shift,
    "BitwiseAnd": _plain(torch.bitwise_and),
    "BitwiseNot": _plain(torch.bitwise_not),
    "BitwiseOr": _plain(torch.bitwise_or),
    "BitwiseXor": _plain(torch.bitwise_xor),
    "Ceil": _plain(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _plain(torch.cos),
    "Cosh": _plain(torch.cosh),
    "Det": _det,
    "Div": _broadcast(_divide),
    "Einsum": _einsum,
    "Elu": _elu,
    "Equal": _broadcast(_equal),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Floor": _plain(torch.floor),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": _broadcast(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Hardmax": _rows(_hardmax),
    "IsInf": _infinite,
    "IsNaN": _plain(torch.isnan),
    "LeakyRelu": _leaky,
    "Less": _broadcast(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "LogSoftmax": _rows(functional.log_softmax),
    "MatMul": _matmul,
    "Max": _folded(torch.maximum),
    "Mean": _mean,
    "Min": _folded(torch.minimum),
    "Mish": _plain(functional.mish),
    "Mod": _modulo,
    "Mul": _broadcast(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _broadcast(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Round": _plain(torch.round),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Sinh": _plain(torch.sinh),
    "Softmax": _rows(functional.softmax),
    "Softplus": _plain(functional.softplus),
    "Softsign": _plain(functional.softsign),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _broadcast(torch.sub),
    "Sum": _folded(torch.add),
    "SwiGLU": _swiglu,
    "Swish": _swish,
    "Tan": _plain(torch.tan),
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": _thresholded,
    "Xor": _broadcast(torch.logical_xor),
    "com.microsoft.BiasGelu": _bias_gelu,
    "com.microsoft.FastGelu": _fast_gelu,
    "com.microsoft.FusedGemm": _fused_gemm,
    "com.microsoft.FusedMatMul": _fused_matmul,
    "com.microsoft.Gelu": _bias_gelu,
    "com.microsoft.QuickGelu": _quick_gelu,
    "com.microsoft.TransposeMatMul": _fused_matmul,
}
