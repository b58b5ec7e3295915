"""Finds where to cut off a network's old head, by structure alone, and says why. Torch-free.

A cut is the name of a value: everything up to it is kept as the backbone. Shapes are those of one run at a small batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto

from engine.errors import StudioError
from engine.models.own_onnx.roles import consumers, needed_nodes, reads

__all__ = ["Cut", "Cuts", "choose", "data_values", "find_cuts", "threads"]

Shapes = Mapping[str, tuple[int, ...]]

_SEEN_THROUGH = (
    "ArgMax",
    "Cast",
    "Clip",
    "Dropout",
    "Exp",
    "Flatten",
    "HardSigmoid",
    "Hardmax",
    "Identity",
    "Log",
    "LogSoftmax",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "TopK",
)
"""What stands between a head's last layer and the output without learning anything."""

_POOLS = ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "AveragePool", "MaxPool")
_ENLARGING = ("Resize", "Upsample", "DepthToSpace", "Slice", "Pad", "Concat", "ConvTranspose")
_LINEAR = ("Gemm", "MatMul")
_MOST_FEATURES = 65_536


@dataclass(frozen=True)
class Cut:
    """A place to cut.

    Attributes:
        value: the name of the value that becomes the feature.
        node: the name of the node that makes it.
        features: how many numbers a picture is described by after pooling.
        pool: how the value becomes one row a picture: 'none', 'map' (mean over height and width), 'map_last' (the same,
            channels last), 'tokens' (mean over the sequence).
        reason: in words.
        kept_share: share of the network's weights that is kept.
    """

    value: str
    node: str
    shape: tuple[int, ...]
    features: int
    pool: str
    reason: str
    kept_share: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Cuts:
    """The proposed cut, others worth a look, and what the network was made for."""

    proposed: Cut
    alternatives: tuple[Cut, ...] = ()
    made_for: str = "features"
    classes: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)


def data_values(graph: GraphProto) -> set[str]:
    """Every value that depends on an input."""
    stored = {item.name for item in graph.initializer}
    found = {value.name for value in graph.input if value.name not in stored}
    for node in graph.node:
        if node.op_type in ("Shape", "Size"):
            continue
        if found & reads(node):
            found.update(name for name in node.output if name)
    return found


def _makers(graph: GraphProto) -> dict[str, NodeProto]:
    return {name: node for node in graph.node for name in node.output if name}


def threads(graph: GraphProto, outputs: Sequence[str]) -> list[str]:
    """Values through which everything flows: at that point nothing else computed from the input is still needed.

    These are the seams between a network's blocks.
    """
    nodes, data = needed_nodes(graph, outputs), data_values(graph)
    left = dict.fromkeys(outputs, 1)
    for node in nodes:
        for name in reads(node) & data:
            left[name] = left.get(name, 0) + 1
    live, found = {value.name for value in graph.input if value.name in left}, []
    for node in nodes:
        for name in reads(node) & data:
            left[name] -= 1
            if not left[name]:
                live.discard(name)
        live.update(name for name in node.output if name in data and left.get(name))
        if len(live) == 1 and node.output and node.output[0] in live:
            found.append(node.output[0])
    return found


def _pooling(graph: GraphProto, value: str, shape: tuple[int, ...]) -> tuple[str, int] | None:
    """How a value of this shape becomes one row a picture, and how long the row is."""
    if len(shape) == 2:
        return "none", shape[1]
    if len(shape) == 3:
        return "tokens", shape[2]
    if len(shape) != 4:
        return None
    if shape[2] == shape[3] == 1:
        return "map", shape[1]
    near = [node.op_type for node, _ in consumers(graph.node).get(value, [])]
    maker = _makers(graph).get(value)
    near += [maker.op_type] if maker is not None else []
    last = ("LayerNormalization", "MatMul") if not any(op in near for op in ("Conv", "GlobalAveragePool", "BatchNormalization", "AveragePool")) else ()
    if any(op in near for op in last) or (shape[1] == shape[2] != shape[3] and shape[3] > shape[1] and "Conv" not in near and "Relu" not in near):
        return "map_last", shape[3]
    return "map", shape[1]


def _main_output(model: ModelProto, shapes: Shapes) -> str:
    """The output a head is looked for behind: scores before feature maps before anything else."""
    names = [value.name for value in model.graph.output]
    order = {2: 0, 4: 1, 3: 2}
    return min(names, key=lambda name: (order.get(len(shapes.get(name, ())), 3), names.index(name)))


def _data_input(node: NodeProto, data: set[str]) -> str | None:
    found = [name for name in node.input if name in data]
    return found[0] if len(found) == 1 else None


def _back(name: str, makers: Mapping[str, NodeProto], data: set[str], through: Sequence[str]) -> str:
    """Follow a value back through nodes that learn nothing."""
    while name in makers:
        node = makers[name]
        before = _data_input(node, data)
        plain = node.op_type in through or (node.op_type in ("Mul", "Add", "Div", "Sub") and _is_scalar_step(node, makers, data))
        if before is None or not plain:
            return name
        name = before
    return name


def _is_scalar_step(node: NodeProto, makers: Mapping[str, NodeProto], data: set[str]) -> bool:
    before = _data_input(node, data)
    return before is not None and not (before in makers and makers[before].op_type in _LINEAR)


def _last_layer(name: str, makers: Mapping[str, NodeProto], data: set[str]) -> tuple[NodeProto, str] | None:
    """The fully connected layer or convolution that makes a value (a bias added behind it included), and what it reads."""
    node = makers.get(name)
    if node is None:
        return None
    if node.op_type == "Add":
        inner = _data_input(node, data)
        node = makers.get(inner) if inner is not None else None
        if node is None or node.op_type not in (*_LINEAR, "Conv"):
            return None
    if node.op_type in (*_LINEAR, "Conv") and node.input[0] in data and len(node.input) > 1 and node.input[1] not in data:
        return node, node.input[0]
    return None


def _label(node: NodeProto) -> str:
    """A node's name as a reader would say it: the layer, without the operator behind it."""
    parts = [part for part in node.name.split("/") if part]
    return (parts[-2] if len(parts) > 1 and parts[-1].startswith(node.op_type) else parts[-1] if parts else node.op_type)[:60]


def find_cuts(model: ModelProto, shapes: Shapes) -> Cuts:
    """Propose where to cut.

    Raises:
        StudioError: if no value of the network can serve as a feature.
    """
    graph, data, makers = model.graph, data_values(model.graph), _makers(model.graph)
    main = _main_output(model, shapes)
    shape = shapes.get(main, ())
    dense = len(shape) == 4 and shape[2] * shape[3] > 4
    several = len(graph.output) > 1 and any(len(shapes.get(value.name, ())) >= 3 for value in graph.output)
    found: tuple[str, str, str, int] | None = None
    if len(shape) in (2, 4) and not dense:
        found = _classifier_cut(main, shape, makers, data, shapes)
    elif dense and not several:
        found = _dense_cut(main, makers, data, shapes)
    if found is None and not several:
        found = _two_heads(graph, main, shape, makers, data)
    if found is None and (several or any(node.op_type == "NonMaxSuppression" for node in graph.node)):
        found = _shared_cut(graph, shapes)
    if found is None:
        found = main, "the network has no head to cut off: what it gives out is features already", "features", 0
    value, reason, made_for, classes = found
    value = _back(value, makers, data, ("Dropout", "Identity"))
    seams = threads(graph, [item.name for item in graph.output])
    proposed = _cut_at(model, value, shapes, reason)
    if proposed is None:
        proposed, reason = next(
            ((cut, reason) for cut in (_cut_at(model, name, shapes, "the last value all of the network flows through") for name in reversed(seams)) if cut),
            (None, ""),
        )
    if proposed is None:
        raise StudioError("nothing in this network can serve as a feature of a picture", "Choose a network that gives out scores, features or maps.")
    return Cuts(proposed, _alternatives(model, seams, proposed, shapes), made_for, classes)


def _classifier_cut(main: str, shape: tuple[int, ...], makers: Mapping[str, NodeProto], data: set[str], shapes: Shapes) -> tuple[str, str, str, int] | None:
    end = _back(main, makers, data, _SEEN_THROUGH)
    layer = _last_layer(end, makers, data)
    if layer is None:  # a convolution gives the scores, and an average over the picture follows (SqueezeNet)
        end = _back(end, makers, data, (*_SEEN_THROUGH, *_POOLS, "Relu"))
        layer = _last_layer(end, makers, data)
        if layer is None or layer[0].op_type != "Conv" or shapes.get(end, (0, 0))[1] != shape[1]:
            return None
    node, features = layer
    count = shape[1]
    width = shapes.get(features, (0, 0))
    size = width[1] if len(width) in (2, 4) else width[-1]
    kind = "fully connected layer" if node.op_type in _LINEAR else "convolution"
    return (
        features,
        f"'{_label(node)}', the last {kind}, turns {size} features into the {count} scores the network gives out; those features are kept",
        "classification",
        count,
    )


def _two_heads(graph: GraphProto, main: str, shape: tuple[int, ...], makers: Mapping[str, NodeProto], data: set[str]) -> tuple[str, str, str, int] | None:
    """Two heads whose scores are added up (a distilled classifier, a low and a high resolution): cut before they part."""
    end = _back(main, makers, data, (*_SEEN_THROUGH, *_ENLARGING))
    for _ in range(2):
        node = makers.get(end)
        parts = [name for name in node.input if name in data] if node is not None and node.op_type in ("Add", "Mean", "Sum") else []
        layers = [_last_layer(_back(name, makers, data, (*_SEEN_THROUGH, *_ENLARGING)), makers, data) for name in parts]
        if len(layers) == 2 and all(layers):
            above = [{node.output[0] for node in needed_nodes(graph, [layer[1]])} for layer in layers]  # type: ignore[index]
            if layers[0][0].output[0] in above[1] or layers[1][0].output[0] in above[0]:  # type: ignore[index]
                return None  # one feeds the other: a block and its shortcut, no heads
            seams = threads(graph, [main])
            inner = {name for other in needed_nodes(graph, [layers[0][1], layers[1][1]]) for name in other.output}  # type: ignore[index]
            shared = [name for name in seams if name in inner or name in (layers[0][1], layers[1][1])]  # type: ignore[index]
            made_for = "segmentation" if len(shape) == 4 and shape[2] * shape[3] > 4 else "classification"
            words = f"two heads add up to the {shape[1]} scores the network gives out; what both read is kept"
            return (shared[-1], words, made_for, shape[1]) if shared else None
        end = _back(parts[0], makers, data, _SEEN_THROUGH) if len(parts) == 1 else end
    return None


def _dense_cut(main: str, makers: Mapping[str, NodeProto], data: set[str], shapes: Shapes) -> tuple[str, str, str, int] | None:
    end = _back(main, makers, data, (*_SEEN_THROUGH, *_ENLARGING))
    layer = _last_layer(end, makers, data)
    if layer is None:
        return None
    node, features = layer
    shape = shapes.get(main, (0, 0, 0, 0))
    words = (
        f"'{_label(node)}', the last convolution, makes the {shape[1]} maps of {shape[2]} x {shape[3]} the network gives out; the feature map it reads is kept"
    )
    return features, words, "segmentation", shape[1]


def _shared_cut(graph: GraphProto, shapes: Shapes) -> tuple[str, str, str, int] | None:
    maps = [name for name in threads(graph, [value.name for value in graph.output]) if len(shapes.get(name, ())) == 4]
    if not maps:
        return None
    count = len(graph.output)
    shown = [shapes.get(value.name, ()) for value in graph.output]
    alike = all(len(shape) == 4 and shape[2:] == shown[0][2:] for shape in shown) and min(shown[0][2:]) > 1
    words = f"the last feature map that all {count} outputs share; what follows it are their heads"
    return maps[-1], words, "segmentation" if alike else "detection", 0


def _weights_up_to(model: ModelProto, value: str) -> float:
    sizes = {item.name: math.prod(item.dims) for item in model.graph.initializer}
    names = {name for node in needed_nodes(model.graph, [value]) for name in node.input if name in sizes}
    return sum(sizes[name] for name in names) / max(sum(sizes.values()), 1)


def _cut_at(model: ModelProto, value: str, shapes: Shapes, reason: str) -> Cut | None:
    shape = shapes.get(value)
    pooled = _pooling(model.graph, value, shape) if shape else None
    if shape is None or pooled is None or not 1 <= pooled[1] <= _MOST_FEATURES:
        return None
    maker = _makers(model.graph).get(value)
    return Cut(value, maker.name if maker is not None else "", tuple(shape), pooled[1], pooled[0], reason, round(_weights_up_to(model, value), 4))


def _alternatives(model: ModelProto, seams: Sequence[str], proposed: Cut, shapes: Shapes) -> tuple[Cut, ...]:
    """A few other seams: where the proposed feature was still a map, and after each of the last blocks."""
    inner = {name for node in needed_nodes(model.graph, [proposed.value]) for name in node.output}
    before = [name for name in seams if name != proposed.value and name in inner]
    cuts: list[Cut] = []
    for name in reversed(before):
        cut = _cut_at(model, name, shapes, "a seam between two blocks: all of the network flows through here")
        if cut is None or any(other.shape == cut.shape and other.kept_share - cut.kept_share < 0.15 for other in (proposed, *cuts)) or cut.features < 8:
            continue
        cuts.append(cut)
        if len(cuts) == 6:
            break
    return tuple(cuts)


def choose(model: ModelProto, shapes: Shapes, wanted: str) -> Cut:
    """Return the cut a user asked for, by the name of a value or a node.

    Raises:
        StudioError: if it is not there, or is no feature of a picture; the sentence says why.
    """
    graph, data = model.graph, data_values(model.graph)
    by_node = {node.name: node.output[0] for node in graph.node if node.name and node.output}
    value = wanted if wanted in _makers(graph) else by_node.get(wanted, "")
    remedy = "Click another place on the graph, or leave the cut to Graft."
    if not value:
        raise StudioError(f"there is no node or value '{wanted[:80]}' in this network", remedy)
    if value not in data:
        raise StudioError(f"'{wanted[:80]}' does not depend on the picture, so it describes none", remedy)
    shape = shapes.get(value)
    if shape is None or len(shape) < 2:
        raise StudioError(f"'{wanted[:80]}' is no feature of a picture: it is a single number or a shape", remedy)
    pooled = _pooling(graph, value, shape)
    if pooled is None:
        raise StudioError(f"'{wanted[:80]}' has {len(shape)} axes ({'x'.join(map(str, shape))}); a feature has 2 to 4", remedy)
    if pooled[1] > _MOST_FEATURES:
        raise StudioError(f"'{wanted[:80]}' has {pooled[1]:,} features a picture; the most is {_MOST_FEATURES:,}", remedy)
    cut = _cut_at(model, value, shapes, "chosen by you")
    assert cut is not None
    return cut
