"""Turns a file's graph into one that can be trained: full precision, weights where weights belong, nothing quantised.

Each step edits the graph in place and says in words what it did, for the X-ray. Torch-free. Freeing a fixed batch size
needs the graph to run and is `batch.py`'s; what is a weight is `roles.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, inliner
from onnx.reference import ReferenceEvaluator

from engine.models.own_onnx.cut import data_values
from engine.models.own_onnx.load import graphs
from engine.models.own_onnx.quantised import dequantise
from engine.models.own_onnx.roles import FLOATS, reads
from engine.models.own_onnx.stored import array_of, tensor_of

__all__ = ["Prepared", "constant_tensor", "drop_unused", "prepare"]

_TRANSPARENT = ("Identity", "Transpose", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""What may stand between a stored tensor and the layer that reads it; a weight seen through these is still a weight."""

_NEVER_FOLDED = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Loop", "Scan", "If", "Dropout")
_MOST_FOLDED = 1_000_000


@dataclass
class Prepared:
    """A graph that is ready to become a module.

    Attributes:
        notes: what was changed, in words a user understands.
        counts: how often each thing was found ('batch_norms', 'dropouts', 'quantised', 'half').
    """

    model: ModelProto
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def constant_tensor(array: np.ndarray, name: str, *, constant: bool = True) -> TensorProto:
    """Make an initializer; those that are no weights are marked so that `roles` knows."""
    tensor = tensor_of(array, name)
    if constant:
        tensor.doc_string = "constant"
    return tensor


def prepare(model: ModelProto) -> Prepared:
    """Return a normalised copy of a model and what was done to it."""
    copy = inliner.inline_local_functions(model) if model.functions else ModelProto.FromString(model.SerializeToString())
    done = Prepared(copy)
    for step in _STEPS:
        step(done)
    return done


def _constants_to_initializers(done: Prepared) -> None:
    graph, kept = done.model.graph, []
    for node in graph.node:
        value = next((item for item in node.attribute if item.name.startswith("value")), None)
        if node.op_type != "Constant" or value is None or value.type in (AttributeProto.STRING, AttributeProto.STRINGS, AttributeProto.SPARSE_TENSOR):
            kept.append(node)
            continue
        if value.type == AttributeProto.TENSOR:
            array = array_of(value.t)
        else:
            raw = onnx.helper.get_attribute_value(value)
            array = np.array(raw, dtype=np.float32 if value.type in (AttributeProto.FLOAT, AttributeProto.FLOATS) else np.int64)
        graph.initializer.append(constant_tensor(array, node.output[0]))
    _replace_nodes(done.model, kept)


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


_OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


def _raise_tensor(tensor: TensorProto) -> bool:
    if tensor.data_type not in _OTHER_FLOATS:
        return False
    array = array_of(tensor).astype(np.float32)
    name, note = tensor.name, tensor.doc_string
    tensor.CopyFrom(tensor_of(array, name))
    tensor.doc_string = note
    return True


def _full_precision(done: Prepared) -> None:
    """Weights, constants, casts and declared types of other float kinds become float32."""
    changed = 0
    for graph in graphs(done.model.graph):
        changed += sum(_raise_tensor(item) for item in graph.initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in _OTHER_FLOATS:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    changed += _raise_tensor(attribute.t)
                if attribute.name in ("to", "dtype", "output_datatype") and attribute.i in _OTHER_FLOATS:
                    attribute.i = TensorProto.FLOAT
    if changed:
        done.notes.append(f"{changed} tensors were raised to full precision (float32), which training needs")
        done.counts["half"] = changed


def _input_as_float(done: Prepared) -> None:
    """A picture input of bytes takes floats of the same values, so that gradients and any preprocessing can reach it."""
    stored = {item.name for item in done.model.graph.initializer}
    for value in done.model.graph.input:
        kind = value.type.tensor_type
        if value.name not in stored and kind.elem_type in (TensorProto.UINT8, TensorProto.INT8) and len(kind.shape.dim) == 4:
            kind.elem_type = TensorProto.FLOAT
            done.notes.append("the picture input takes bytes (0 to 255); for training it takes the same values as floats")


def _without_quantising(done: Prepared) -> None:
    count = dequantise(done.model)
    if count:
        done.notes.append(f"{count} quantised operators were turned back into ordinary ones: the trained model is a full-precision one")
        done.counts["quantised"] = count


def _inference_flags(done: Prepared) -> None:
    """BatchNorm and Dropout that were exported in training form behave as in use unless the module trains."""
    norms = drops = 0
    training, data = False, data_values(done.model.graph)
    for node in done.model.graph.node:
        if node.op_type == "BatchNormalization" and node.input[0] in data:  # one over a weight standardises it: that one stays
            norms += 1
            training |= any(item.name == "training_mode" and item.i for item in node.attribute)
            del node.output[1:]
            for attribute in [item for item in node.attribute if item.name in ("training_mode", "is_test", "spatial")]:
                node.attribute.remove(attribute)
        elif node.op_type == "Dropout":
            drops += 1
            if len(node.input) > 2:
                training = True
                del node.input[2:]
    done.counts.update(batch_norms=norms, dropouts=drops, training_form=int(training))
    if training:
        done.notes.append("the file was exported in training form, in which its answers change from batch to batch; Graft uses the form for use")
    if norms:
        done.notes.append(f"{norms} BatchNorm layers learn again while training")
    if drops:
        done.notes.append(f"{drops} Dropout layers are active again while training")


def _fold_weights(done: Prepared) -> None:
    """A stored float tensor behind Identity, Transpose, Reshape ... becomes a stored tensor of its own, under the name the layer uses.

    Equal tensors that an exporter had stored once come apart again: they were different weights.
    """
    graph = done.model.graph
    stored = {item.name: item for item in graph.initializer}
    outputs, kept, folded = {value.name for value in graph.output}, [], 0
    for node in graph.node:
        sources = [stored.get(name) for name in node.input if name]
        foldable = node.op_type in _TRANSPARENT and node.domain in ("", "ai.onnx") and sources and all(sources) and node.output[0] not in outputs
        if not foldable or sources[0].data_type not in FLOATS:  # type: ignore[union-attr]
            kept.append(node)
            continue
        array = _evaluate(node, [array_of(item) for item in sources if item is not None], done.model)
        if array is None:
            kept.append(node)
            continue
        tensor = constant_tensor(array, node.output[0], constant=sources[0].doc_string == "constant")  # type: ignore[union-attr]
        graph.initializer.append(tensor)
        stored[tensor.name] = graph.initializer[-1]
        folded += 1
    _replace_nodes(done.model, kept)
    if folded:
        done.notes.append(f"{folded} stored tensors behind copies and reshapes were made weights of their layers again")


def _evaluate(node: NodeProto, arrays: list[np.ndarray], model: ModelProto) -> np.ndarray | None:
    """Compute one node with ONNX's reference evaluator; None where it cannot."""
    if node.op_type == "Identity":
        return arrays[0]
    names = [name for name in node.input if name]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
    ]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name]
    small = onnx.helper.make_model(onnx.helper.make_graph([node], "one", inputs, outputs), opset_imports=model.opset_import)
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(small).run(None, dict(zip(names, arrays, strict=True)))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError, AssertionError, ZeroDivisionError):
        return None
    return np.asarray(list(results)[0]) if len(results) == 1 else None


def _too_large(node: NodeProto, arrays: list[np.ndarray]) -> bool:
    """Tell, before computing, whether a node makes more numbers than folding is worth."""
    if node.op_type in ("ConstantOfShape", "Expand", "Tile", "Reshape", "Resize", "Pad", "Range", "OneHot", "EyeLike", "Upsample", "CenterCropPad", "Col2Im"):
        numbers = [abs(int(value)) for array in arrays if array.size <= 64 and array.dtype.kind in "iu" for value in array.reshape(-1)]
        return bool(np.prod([max(number, 1) for number in numbers], dtype=np.float64) > _MOST_FOLDED)
    return any(array.size > _MOST_FOLDED for array in arrays)


def _fold_constants(done: Prepared) -> None:
    """Compute what depends on whole-number constants alone: shapes, axes, positions."""
    graph = done.model.graph
    known = {item.name: item for item in graph.initializer if item.data_type not in FLOATS or (item.doc_string == "constant" and int(np.prod(item.dims)) <= 1)}
    outputs, kept = {value.name for value in graph.output}, []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if not inputs or node.op_type in _NEVER_FOLDED or len(node.output) != 1 or node.output[0] in outputs or any(name not in known for name in reads(node)):
            kept.append(node)
            continue
        arrays = [array_of(known[name]) for name in inputs]
        array = None if _too_large(node, arrays) else _evaluate(node, arrays, done.model)
        if array is None or array.size > _MOST_FOLDED or array.dtype.kind in "OSU":
            kept.append(node)
            continue
        graph.initializer.append(constant_tensor(array, node.output[0]))
        known[node.output[0]] = graph.initializer[-1]
    _replace_nodes(done.model, kept)


def _drop_unused(done: Prepared) -> None:
    drop_unused(done.model)


def drop_unused(model: ModelProto) -> None:
    """Leave out nodes that reach no output, and stored tensors that nobody reads. Weights stop being inputs (old files list them)."""
    graph = model.graph
    wanted, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(reads(node))
    _replace_nodes(model, kept[::-1])
    stored = [item for item in graph.initializer if item.name in wanted]
    names = {item.name for item in graph.initializer}  # those that nobody reads any more included: they are no inputs either
    copies = [TensorProto.FromString(item.SerializeToString()) for item in stored]
    del graph.initializer[:]
    graph.initializer.extend(copies)
    inputs = [value for value in graph.input if value.name not in names]
    copies_in = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in inputs]
    del graph.input[:]
    graph.input.extend(copies_in)


def _untie_copies(done: Prepared) -> None:
    """Drop the copies (Identity, Cast to the same kind) that were left on the data path."""
    graph = done.model.graph
    outputs, rename, kept = {value.name for value in graph.output}, dict[str, str](), []
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in rename:
                node.input[position] = rename[name]
        inner = any(attribute.type == AttributeProto.GRAPH for attribute in node.attribute)
        if node.op_type == "Identity" and node.output[0] not in outputs and not inner:
            rename[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    if any(name in rename for node in kept for name in reads(node)):  # a subgraph reads one by name: leave all as they are
        return
    _replace_nodes(done.model, kept)


_STEPS: tuple[Callable[[Prepared], None], ...] = (
    _constants_to_initializers,
    _full_precision,
    _input_as_float,
    _fold_constants,
    _without_quantising,
    _fold_weights,
    _fold_constants,
    _inference_flags,
    _untie_copies,
    _drop_unused,
)
