"""ONNX's element types in torch: tables, conversion both ways, and casts.

Types that torch has no arithmetic for (4 and 2 bit numbers, 4 and 6 bit floats) are held as the values they stand for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto as T
from torch import Tensor

from engine.models.own_onnx.operators.node import Node, Operator, OperatorError

__all__ = ["OPERATORS", "TORCH_TYPES", "from_numpy", "to_type"]

TORCH_TYPES: dict[int, torch.dtype] = {
    T.FLOAT: torch.float32,
    T.UINT8: torch.uint8,
    T.INT8: torch.int8,
    T.UINT16: torch.uint16,
    T.INT16: torch.int16,
    T.INT32: torch.int32,
    T.INT64: torch.int64,
    T.BOOL: torch.bool,
    T.FLOAT16: torch.float16,
    T.DOUBLE: torch.float64,
    T.UINT32: torch.uint32,
    T.UINT64: torch.uint64,
    T.COMPLEX64: torch.complex64,
    T.COMPLEX128: torch.complex128,
    T.BFLOAT16: torch.bfloat16,
    T.FLOAT8E4M3FN: torch.float8_e4m3fn,
    T.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    T.FLOAT8E5M2: torch.float8_e5m2,
    T.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    T.FLOAT8E8M0: torch.float8_e8m0fnu,
}
"""Types with a torch type of their own."""

_FLOAT8 = (T.FLOAT8E4M3FN, T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2, T.FLOAT8E5M2FNUZ)
_VIEWED = {"bfloat16": torch.bfloat16, **{str(TORCH_TYPES[kind]).removeprefix("torch."): TORCH_TYPES[kind] for kind in (*_FLOAT8, T.FLOAT8E8M0)}}
_SMALL_INTEGERS = {"int4": np.int8, "int2": np.int8, "uint4": np.uint8, "uint2": np.uint8}


def from_numpy(array: np.ndarray, *, own: bool = True) -> Any:
    """Return an array as a tensor that owns its memory (or shares a writable array's); text stays an array, for torch has none."""
    kind = array.dtype.name
    if array.dtype.kind in "OSUT":
        return array
    if kind in _VIEWED:
        width = np.int16 if array.dtype.itemsize == 2 else np.uint8
        return torch.from_numpy(np.array(array, copy=own or None, order="C").view(width)).view(_VIEWED[kind])
    if kind in _SMALL_INTEGERS:
        return torch.from_numpy(array.astype(_SMALL_INTEGERS[kind]))
    if kind.startswith("float") and array.dtype.itemsize == 1:  # float4 and float6
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(np.array(array, copy=own or None, order="C").reshape(array.shape))


def _to_numpy(x: Any) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    x = x.detach().cpu()
    return x.float().numpy() if x.dtype in _VIEWED.values() else x.numpy()


def to_type(x: Any, kind: int, *, saturate: bool = True, rounding: str = "up") -> Any:
    """Cast to an ONNX element type, by the specification's rules (saturating where it says so)."""
    torch_type = TORCH_TYPES.get(kind)
    if torch_type is not None and isinstance(x, Tensor) and kind not in (*_FLOAT8, T.FLOAT8E8M0):
        if x.dtype == torch_type:
            return x
        if x.is_floating_point() and torch_type in (torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.uint8, torch.int16):
            return x.to(torch.int64).to(torch_type)
        return x.to(torch_type)
    values = _to_numpy(x)
    if kind == T.STRING:
        return values.astype(np.str_)
    target = onnx.helper.tensor_dtype_to_np_dtype(kind)
    if values.dtype.kind in "OSU":
        values = values.astype(np.str_).astype(np.float64 if target.kind not in "iu" else np.int64)
    if kind in _FLOAT8 and saturate:
        return from_numpy(onnx.numpy_helper.saturate_cast(values, target))
    if kind == T.FLOAT8E8M0:
        return from_numpy(onnx.numpy_helper.to_float8e8m0(values, saturate, rounding).astype(target))
    return from_numpy(values.astype(target))


def _cast(node: Node, x: Any) -> Any:
    return to_type(x, node.get("to"), saturate=bool(node.get("saturate", 1)), rounding=node.get("round_mode", "up"))


_KINDS = {torch_type: kind for kind, torch_type in TORCH_TYPES.items()}


def _cast_like(node: Node, x: Any, like: Any) -> Any:
    kind = node.get("like_kind") or (T.STRING if isinstance(like, np.ndarray) else _KINDS[like.dtype])
    return to_type(x, kind, saturate=bool(node.get("saturate", 1)), rounding=node.get("round_mode", "up"))


def _bit_cast(node: Node, x: Tensor) -> Tensor:
    target = TORCH_TYPES.get(node.get("to"))
    if target is None:
        raise OperatorError("BitCast to a type narrower than a byte")
    return x.view(target)


OPERATORS: dict[str, Operator] = {"BitCast": _bit_cast, "Cast": _cast, "CastLike": _cast_like}
