"""Judges a model's structure before anything runs: is it a network at all, and is anything in it out of all proportion?

Runs in the child process of `child.py`. Torch-free; opens nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

from engine.models.own_onnx.limits import DOMAINS, MOST
from engine.models.own_onnx.load import graphs, refuse, tensors
from engine.models.own_onnx.roles import reads

__all__ = ["inspect"]

_POSITIVE = ("kernel_shape", "strides", "dilations", "group", "blocksize", "num_groups", "hidden_size", "q_num_heads", "kv_num_heads", "num_heads")
_BOUNDED = (
    *_POSITIVE,
    "pads",
    "output_padding",
    "output_shape",
    "axis",
    "axes",
    "perm",
    "split",
    "num_outputs",
    "sampling_ratio",
    "output_height",
    "output_width",
    "size",
)


def inspect(model: ModelProto) -> None:
    """Raise a StudioError with one sentence if the model is not one that can be worked with."""
    _check_versions(model)
    _check_amounts(model)
    _check_functions(model)
    for graph in graphs(model.graph):
        for node in graph.node:
            _check_node(node, model)
    for tensor in tensors(model):
        _check_tensor(tensor)
    _check_ends(model)
    _check_sizes(model)


def _check_versions(model: ModelProto) -> None:
    opsets = {item.domain: item.version for item in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx"))
    if opset is None:
        raise refuse("the file does not say which version of ONNX's operators it uses")
    if not 1 <= opset <= onnx.defs.onnx_opset_version():
        raise refuse(
            f"the file uses version {opset} of ONNX's operators; this Graft knows 1 to {onnx.defs.onnx_opset_version()}",
            "Export it for an older opset, such as 17.",
        )
    strange = [domain for domain in opsets if domain not in DOMAINS and not any(function.domain == domain for function in model.functions)]
    used = {node.domain for graph in graphs(model.graph) for node in graph.node}
    for domain in strange:
        if domain in used:
            raise refuse(f"the file needs operators of a library of its own ('{domain[:60]}')", "Export it with standard ONNX operators only.")


def _check_amounts(model: ModelProto) -> None:
    every = list(graphs(model.graph))
    nodes, stored = sum(len(graph.node) for graph in every), sum(len(graph.initializer) for graph in every)
    if not nodes:
        raise refuse("the file holds no network: its graph has no operators")
    if nodes > MOST["nodes"]:
        raise refuse(f"the graph has {nodes:,} operators; the most is {MOST['nodes']:,}", "Simplify the model before exporting it.")
    if stored > MOST["tensors"]:
        raise refuse(f"the graph has {stored:,} stored tensors; the most is {MOST['tensors']:,}", "Simplify the model before exporting it.")
    for graph in every:
        if any(item.values.dims for item in graph.sparse_initializer):
            raise refuse("the file stores weights in sparse form, which cannot be trained", "Export it with ordinary (dense) weights.")
        for node in graph.node:
            if max((len(name) for name in (node.name, node.op_type, *node.input, *node.output)), default=0) > MOST["name"]:
                raise refuse(f"a name in the file is longer than {MOST['name']} letters")


def _check_functions(model: ModelProto) -> None:
    """Functions may call functions: count what they unfold to, and refuse circles."""
    table = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size_of(key: tuple[str, str], path: tuple[tuple[str, str], ...]) -> int:
        if key in path:
            raise refuse(f"the function '{key[1][:60]}' calls itself")
        if len(path) > MOST["depth"]:
            raise refuse(f"functions call functions more than {MOST['depth']} deep")
        if key not in sizes:
            total = 0
            for node in table[key].node:
                inner = (node.domain, node.op_type)
                total += size_of(inner, (*path, key)) if inner in table else 1
            sizes[key] = min(total, 10 * MOST["expanded_nodes"])
        return sizes[key]

    calls = [(node.domain, node.op_type) for graph in graphs(model.graph) for node in graph.node]
    total = sum(size_of(key, ()) if key in table else 1 for key in calls)
    if total > MOST["expanded_nodes"]:
        raise refuse(f"the file's functions unfold to more than {MOST['expanded_nodes']:,} operators")


def _numbers(attribute: AttributeProto) -> Iterable[int]:
    if attribute.type == AttributeProto.INT:
        return (attribute.i,)
    return attribute.ints if attribute.type == AttributeProto.INTS else ()


def _check_node(node: NodeProto, model: ModelProto) -> None:
    where = (node.name or node.op_type)[:80]
    if not node.op_type:
        raise refuse("an operator in the file has no name")
    if not node.output:
        raise refuse(f"the operator {node.op_type[:60]} at '{where}' gives nothing out")
    if node.domain not in DOMAINS and not any(function.domain == node.domain for function in model.functions):
        raise refuse(
            f"'{where}' needs an operator of a library of its own ('{node.domain[:60]}.{node.op_type[:60]}')", "Export it with standard ONNX operators only."
        )
    for attribute in node.attribute:
        values = list(_numbers(attribute))
        if len(values) > MOST["attribute_ints"]:
            raise refuse(f"'{where}' has {len(values):,} numbers in its setting {attribute.name[:40]}")
        if attribute.name in _POSITIVE and any(value < 1 for value in values):
            raise refuse(f"'{where}' has {attribute.name} {values[:8]}, which must be positive")
        if attribute.name in _BOUNDED and any(abs(value) > MOST["attribute"] for value in values):
            raise refuse(f"'{where}' has {attribute.name} {values[:8]}, which is out of all proportion")
        if attribute.name == "perm" and sorted(values) != list(range(len(values))):
            raise refuse(f"'{where}' has perm {values[:8]}, which is no order of axes")
        if attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS) and attribute.name in ("epsilon", "scale") and not math.isfinite(attribute.f):
            raise refuse(f"'{where}' has {attribute.name} {attribute.f}, which is no finite number")


_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.DOUBLE: 8,
    TensorProto.INT64: 8,
    TensorProto.INT32: 4,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.BOOL: 1,
}
_FIELDS: dict[int, str] = {TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data", TensorProto.INT64: "int64_data", TensorProto.INT32: "int32_data"}


def _check_tensor(tensor: TensorProto) -> None:
    name = tensor.name[:80] or "a constant"
    if len(tensor.dims) > MOST["rank"]:
        raise refuse(f"'{name}' has {len(tensor.dims)} axes; the most is {MOST['rank']}")
    if any(size < 0 for size in tensor.dims):
        raise refuse(f"'{name}' has a negative size: {list(tensor.dims)}")
    count = math.prod(tensor.dims)
    if count > MOST["elements"]:
        raise refuse(f"'{name}' claims {count:,} numbers, more than any network here can hold")
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise refuse(f"'{name}' has numbers of an unknown kind ({tensor.data_type})")
    size = _BYTES.get(tensor.data_type)
    if size is None or tensor.data_location == TensorProto.EXTERNAL:
        return
    held = len(tensor.raw_data) // size if tensor.HasField("raw_data") else len(getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data")))
    if held != count or (tensor.HasField("raw_data") and len(tensor.raw_data) != count * size):
        raise refuse(f"'{name}' should hold {count:,} numbers and holds {held:,}: the file is cut off or damaged")


def _check_ends(model: ModelProto) -> None:
    """There must be a way from an input to an output."""
    graph, stored = model.graph, {item.name for item in model.graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if not inputs:
        raise refuse("the network takes no input, so there is nothing it could look at")
    if not graph.output:
        raise refuse("the network gives no output")
    for value in inputs:
        dims = value.type.tensor_type.shape.dim  # -1 is how some exporters write an open size
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            raise refuse(f"the input '{value.name[:80]}' is no tensor", "Export a network that takes plain tensors.")
        if len(dims) > MOST["rank"] or any(dim.dim_value < -1 for dim in dims) or math.prod(max(dim.dim_value, 1) for dim in dims) > MOST["elements"]:
            raise refuse(f"the input '{value.name[:80]}' has an impossible shape")
    fed = {value.name for value in inputs}
    made = fed | stored
    for node in graph.node:
        made.update(node.output)
        if fed & reads(node):
            fed.update(node.output)
    for value in graph.output:
        if value.name not in made:
            raise refuse(f"nothing in the network makes its output '{value.name[:80]}'")
    if not any(value.name in fed for value in graph.output):
        raise refuse("no output of the network depends on its input")


def _check_sizes(model: ModelProto) -> None:
    """Follow shapes through the graph, one picture at a time, and refuse values that no machine could hold."""
    constants = {}
    for item in model.graph.initializer:
        if item.data_type in (TensorProto.INT64, TensorProto.INT32) and math.prod(item.dims) <= 64 and item.data_location != TensorProto.EXTERNAL:
            constants[item.name] = numpy_helper.to_array(item)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t") and math.prod(node.attribute[0].t.dims) <= 64:
            value = numpy_helper.to_array(node.attribute[0].t)
            if value.dtype.kind in "iu":
                constants[node.output[0]] = value
        _fold_small(node, constants)
        _check_growth(node, constants)
    light = ModelProto()
    light.CopyFrom(model)
    for item in light.graph.initializer:
        if math.prod(item.dims) > 1024:
            item.ClearField("raw_data")
    for value in light.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return
    for value in inferred.graph.value_info:
        count = math.prod(max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim)
        if count > MOST["elements"]:
            raise refuse(
                f"the value '{value.name[:80]}' would hold {count:,} numbers, more than any machine can", "Check the shapes in the model, then export it again."
            )


def _fold_small(node: NodeProto, constants: dict[str, np.ndarray]) -> None:
    """Compute with small whole-number constants, so that a bomb cannot hide behind a product."""
    if len(node.input) not in (1, 2) or any(name not in constants for name in node.input):
        return
    values = [constants[name].astype(object) for name in node.input]
    with np.errstate(all="ignore"):
        result = {"Mul": lambda: values[0] * values[1], "Add": lambda: values[0] + values[1], "Identity": lambda: values[0], "Cast": lambda: values[0]}.get(
            node.op_type
        )
        if result is not None:
            constants[node.output[0]] = np.asarray(result(), dtype=object)


def _check_growth(node: NodeProto, constants: dict[str, np.ndarray]) -> None:
    where = (node.name or node.op_type)[:80]
    position = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Reshape": 1, "Pad": 1, "Resize": 3, "OneHot": 1, "Range": 1}.get(node.op_type)
    if position is not None and len(node.input) > position and node.input[position] in constants:
        sizes = [abs(int(value)) for value in constants[node.input[position]].reshape(-1).tolist()]
        if (math.prod(max(size, 1) for size in sizes) if node.op_type != "Pad" else sum(sizes)) > MOST["elements"]:
            raise refuse(f"'{where}' would make a tensor of {'x'.join(map(str, sizes[:8]))} numbers, more than any machine can hold")
    if node.op_type == "Loop":
        rounds = constants.get(node.input[0]) if node.input and node.input[0] else None
        if rounds is not None and int(rounds.reshape(-1)[0]) > MOST["loop_rounds"]:
            raise refuse(f"the loop at '{where}' would go round {int(rounds.reshape(-1)[0]):,} times")
        if not node.input or not node.input[0]:
            body = next(attribute.g for attribute in node.attribute if attribute.type == AttributeProto.GRAPH)
            going, last = (body.input[1].name if len(body.input) > 1 else ""), body.output[0].name
            sources = {name: item for item in body.node for name in item.output}
            while last in sources and sources[last].op_type == "Identity":
                last = sources[last].input[0]
            if last == going or (last in sources and sources[last].op_type == "Constant") or last in {item.name for item in body.initializer}:
                raise refuse(f"the loop at '{where}' would never end")
