"""Takes the quantisation out of a graph: what is left computes with the real numbers the integers stood for.

A quantising step keeps its range as a Clip, because exporters fold ReLU into it. Weights become what they were
rounded to. Torch-free; edits the graph in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from engine.models.own_onnx.stored import array_of, tensor_of

__all__ = ["dequantise"]

_RANGES = {np.dtype(np.uint8): (0, 255), np.dtype(np.int8): (-128, 127), np.dtype(np.uint16): (0, 65535), np.dtype(np.int16): (-32768, 32767)}


class _Rewriting:
    """The state of one pass over a graph: what is stored, and the nodes that are kept."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 13)
        self.stored = {item.name: item for item in model.graph.initializer}
        self.nodes: list[NodeProto] = []
        self.count = 0

    def array(self, name: str) -> np.ndarray | None:
        """A stored value, or None."""
        return array_of(self.stored[name]) if name in self.stored else None

    def store(self, array: np.ndarray, name: str, *, constant: bool = False) -> str:
        """Keep a new float tensor and return its name."""
        tensor = tensor_of(np.asarray(array, dtype=np.float32), name)
        tensor.doc_string = "constant" if constant else ""
        self.graph.initializer.append(tensor)
        self.stored[name] = self.graph.initializer[-1]
        return name

    def add(self, op: str, inputs: list[str], outputs: list[str], name: str, **attributes: Any) -> None:
        """Append a node."""
        self.nodes.append(onnx.helper.make_node(op, inputs, outputs, name=name, **attributes))

    def clip(self, source: str, scale: np.ndarray, zero: np.ndarray, out: str, name: str) -> None:
        """Append the range of a quantised value, where it is one for the whole tensor."""
        low, high = _RANGES.get(zero.dtype, (-128, 127))
        if scale.size != 1 or zero.size != 1:
            self.add("Identity", [source], [out], name)
            return
        edges = [(edge - float(zero.reshape(-1)[0])) * float(scale.reshape(-1)[0]) for edge in (low, high)]
        if self.opset < 11:
            self.add("Clip", [source], [out], name, min=edges[0], max=edges[1])
            return
        names = [self.store(np.array(edge), f"{out}_{side}", constant=True) for edge, side in zip(edges, ("low", "high"), strict=True)]
        self.add("Clip", [source, *names], [out], name)


Rewrite = Callable[[_Rewriting, NodeProto], bool]


def _spread(values: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    if values.size == 1 or not shape:
        return values.reshape(()) if values.size == 1 else values
    axis %= len(shape)
    if block:
        return np.repeat(values, block, axis)[tuple(slice(0, size) for size in shape)]
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))]) if values.ndim == 1 else values


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((item.i for item in node.attribute if item.name == name), default)


def _quantize(work: _Rewriting, node: NodeProto) -> bool:
    scale, zero = work.array(node.input[1]), work.array(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
    if scale is None or zero is None or zero.dtype not in _RANGES:
        return False
    stored = work.array(node.input[0])
    if stored is not None:  # a weight that is quantised while running
        step = _spread(scale.astype(np.float32), stored.shape, _attribute(node, "axis", 1), _attribute(node, "block_size", 0))
        offset = _spread(zero.astype(np.float32), stored.shape, _attribute(node, "axis", 1), _attribute(node, "block_size", 0))
        low, high = _RANGES[zero.dtype]
        work.store((np.clip(np.rint(stored / step) + offset, low, high) - offset) * step, node.output[0])
        return True
    work.clip(node.input[0], scale, zero, node.output[0], node.name)
    return True


def _dequantize(work: _Rewriting, node: NodeProto) -> bool:
    stored = work.array(node.input[0])
    if stored is None or stored.dtype == np.float32:
        work.add("Identity", [node.input[0]], [node.output[0]], node.name)
        return True
    scale, zero = work.array(node.input[1]), work.array(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros((), np.float32)
    if scale is None or zero is None:
        return False
    axis, block = _attribute(node, "axis", 1), _attribute(node, "block_size", 0)
    values = (stored.astype(np.float32) - _spread(zero.astype(np.float32), stored.shape, axis, block)) * _spread(
        scale.astype(np.float32), stored.shape, axis, block
    )
    work.store(values, node.output[0])
    return True


def _real(work: _Rewriting, name: str, scale: str, zero: str, axis: int | None = None) -> str:
    """The real values of a quantised operand: stored ones are converted, computed ones are real already."""
    stored = work.array(name)
    if stored is None or stored.dtype == np.float32:
        return name
    s, z = work.array(scale), work.array(zero) if zero else np.zeros((), np.float32)
    assert s is not None
    assert z is not None
    new = f"{name}_real"
    if new not in work.stored:
        values = stored.astype(np.float32) - _spread(z.astype(np.float32), stored.shape, axis or 0, 0)
        work.store(values * _spread(s.astype(np.float32), stored.shape, axis or 0, 0), new)
    return new


def _q_conv(work: _Rewriting, node: NodeProto) -> bool:
    x, sx, zx, w, sw, zw, sy, zy = node.input[:8]
    scales = [work.array(name) for name in (sx, sw, sy, zy)]
    if any(value is None for value in scales):
        return False
    inputs = [_real(work, x, sx, zx), _real(work, w, sw, zw, 0)]
    if len(node.input) > 8 and node.input[8]:
        bias = work.array(node.input[8])
        assert bias is not None
        inputs.append(work.store(bias.astype(np.float32) * scales[0].reshape(-1) * scales[1].reshape(-1), f"{node.output[0]}_bias"))  # type: ignore[union-attr]
    made = f"{node.output[0]}_whole"
    work.nodes.append(onnx.helper.make_node("Conv", inputs, [made], name=node.name))
    work.nodes[-1].attribute.extend(node.attribute)
    work.clip(made, scales[2], scales[3], node.output[0], f"{node.name}_range")  # type: ignore[arg-type]
    return True


def _q_binary(op: str) -> Rewrite:
    def rewrite(work: _Rewriting, node: NodeProto) -> bool:
        a, sa, za, b, sb, zb, sy, zy = node.input[:8]
        scale, zero = work.array(sy), work.array(zy)
        if scale is None or zero is None:
            return False
        made = f"{node.output[0]}_whole"
        work.add(op, [_real(work, a, sa, za), _real(work, b, sb, zb, 1 if op == "MatMul" else None)], [made], node.name)
        work.clip(made, scale, zero, node.output[0], f"{node.name}_range")
        return True

    return rewrite


def _q_gemm(work: _Rewriting, node: NodeProto) -> bool:
    a, sa, za, b, sb, zb = node.input[:6]
    sy, zy = (work.array(node.input[i]) if len(node.input) > i and node.input[i] else None for i in (7, 8))
    inputs = [_real(work, a, sa, za), _real(work, b, sb, zb, 0 if _attribute(node, "transB", 0) else 1)]
    bias = work.array(node.input[6]) if len(node.input) > 6 and node.input[6] else None
    if bias is not None:
        scale_a, scale_b = work.array(sa), work.array(sb)
        assert scale_a is not None
        assert scale_b is not None
        inputs.append(work.store(bias.astype(np.float32) * scale_a.reshape(-1) * scale_b.reshape(-1), f"{node.output[0]}_bias"))
    made = f"{node.output[0]}_whole" if sy is not None else node.output[0]
    work.nodes.append(onnx.helper.make_node("Gemm", inputs, [made], name=node.name))
    work.nodes[-1].attribute.extend(node.attribute)
    if sy is not None and zy is not None:
        work.clip(made, sy, zy, node.output[0], f"{node.name}_range")
    return True


def _q_pool(work: _Rewriting, node: NodeProto) -> bool:
    work.add("GlobalAveragePool", [node.input[0]], [node.output[0]], node.name)
    return not _attribute(node, "channels_last", 0)


def _q_unary(op: str) -> Rewrite:
    def rewrite(work: _Rewriting, node: NodeProto) -> bool:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        work.add(op, [node.input[0]], [node.output[0]], node.name, **attributes)
        return True

    return rewrite


def _q_concat(work: _Rewriting, node: NodeProto) -> bool:
    names = [_real(work, node.input[i], node.input[i + 1], node.input[i + 2]) for i in range(2, len(node.input), 3)]
    work.add("Concat", names, [node.output[0]], node.name, axis=_attribute(node, "axis", 1))
    return True


def _dynamic(work: _Rewriting, node: NodeProto) -> bool:
    """Quantised while running: real values, a scale of one and a zero point of nought."""
    work.add("Identity", [node.input[0]], [node.output[0]], node.name)
    work.store(np.array(1.0), node.output[1], constant=True)
    work.store(np.array(0.0), node.output[2], constant=True)
    return True


def _integer(op: str) -> Rewrite:
    def rewrite(work: _Rewriting, node: NodeProto) -> bool:
        weight, zero = work.array(node.input[1]), work.array(node.input[3]) if len(node.input) > 3 and node.input[3] else np.zeros((), np.float32)
        if weight is None or zero is None:
            return False
        axis = 1 if op == "MatMul" else 0
        name = work.store(weight.astype(np.float32) - _spread(zero.astype(np.float32), weight.shape, axis, 0), f"{node.input[1]}_real_{work.count}")
        work.nodes.append(onnx.helper.make_node(op, [node.input[0], name], [node.output[0]], name=node.name))
        work.nodes[-1].attribute.extend(node.attribute)
        return True

    return rewrite


_REWRITES: dict[str, Rewrite] = {
    "ConvInteger": _integer("Conv"),
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _integer("MatMul"),
    "QGemm": _q_gemm,
    "QLinearAdd": _q_binary("Add"),
    "QLinearAveragePool": _q_unary("AveragePool"),
    "QLinearConcat": _q_concat,
    "QLinearConv": _q_conv,
    "QLinearGlobalAveragePool": _q_pool,
    "QLinearLeakyRelu": _q_unary("LeakyRelu"),
    "QLinearMatMul": _q_binary("MatMul"),
    "QLinearMul": _q_binary("Mul"),
    "QLinearSigmoid": _q_unary("Sigmoid"),
    "QuantizeLinear": _quantize,
}


def dequantise(model: ModelProto) -> int:
    """Rewrite every quantised operator whose scales are stored; return how many there were."""
    work = _Rewriting(model)
    if not any(node.op_type in _REWRITES for node in model.graph.node):
        return 0
    for node in model.graph.node:
        rewrite = _REWRITES.get(node.op_type)
        before = len(work.nodes)
        if rewrite is None or not rewrite(work, node):
            del work.nodes[before:]
            work.nodes.append(node)
        else:
            work.count += 1
    copies = [NodeProto.FromString(node.SerializeToString()) for node in work.nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    _scale_integer_products(model)
    for value in model.graph.value_info:
        if value.type.tensor_type.elem_type in (TensorProto.UINT8, TensorProto.INT8):
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return work.count


def _scale_integer_products(model: ModelProto) -> None:
    """Move the scale that follows a dynamically quantised product into its weight: steps of ±127 hardly learn."""
    stored = {item.name: item for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type != "Mul":
            continue
        product, scale = (makers.get(name) for name in node.input)
        if product is None or product.op_type != "Cast" or scale is None or scale.op_type != "Mul":
            continue
        source = makers.get(product.input[0])
        factors = [stored[name] for name in scale.input if name in stored]
        if source is None or source.op_type not in ("MatMul", "Conv") or "_real_" not in source.input[1] or len(factors) != 2:
            continue
        total = array_of(factors[0]).astype(np.float32) * array_of(factors[1]).astype(np.float32)
        weight = stored[source.input[1]]
        values = array_of(weight)
        shaped = total if source.op_type == "MatMul" else np.asarray(total).reshape(-1, *(1,) * (values.ndim - 1)) if np.size(total) > 1 else total
        weight.CopyFrom(tensor_of((values * shaped).astype(np.float32), weight.name))
        one = tensor_of(np.ones_like(np.asarray(total, dtype=np.float32)), f"{scale.output[0]}_one")
        one.doc_string = "constant"
        model.graph.initializer.append(one)
        node.input[list(node.input).index(scale.output[0])] = one.name
