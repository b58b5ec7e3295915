"""Feature maps of an imported network at several sizes, for heads that need places: detection and segmentation.

Which values of the graph serve is found by structure alone (`feature_levels`): at each stride the last value, before the cut,
through which all of the network flows. `load_pyramid` builds the module that gives them out as maps, `write_maps` writes
it with a head behind it as one ONNX graph.

Shapes: B pictures, C channels, H x W pixels; the map of a level of stride S is B x C x ceil(H / S) x ceil(W / S).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from onnx import ModelProto, NodeProto
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import StudioError
from engine.models.own_onnx.backbone import FrozenValues, TrainableValues
from engine.models.own_onnx.cut import Shapes, data_values, threads
from engine.models.own_onnx.interface import Port
from engine.models.own_onnx.library import named
from engine.models.own_onnx.roles import needed_nodes
from engine.models.own_onnx.write import join

__all__ = ["STRIDES", "FrozenPyramid", "Level", "TrainablePyramid", "feature_levels", "load_pyramid", "write_maps"]

_MOST_BYTES = 2_000_000_000

STRIDES = (4, 8, 16, 32)
_OFF = 0.22
"""How far a map's size may be from the picture's over the stride: unpadded networks lose a rim (299 px become 8 places at stride 32)."""

_OFF_BESIDE = 0.06
"""The same for values that are no seam, among which attention maps and other squares lie."""

_FEWEST_CHANNELS = 8
_MOST_EXTRA_TOKENS = 8
_PATCHES = (4, 8, 14, 16, 32)
_EXPANDS = 2
_ELEMENTWISE = ("BatchNormalization", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Mul", "PRelu", "Relu", "Sigmoid", "Softplus")
_MAKES_MAPS = (*_ELEMENTWISE, "Add", "AveragePool", "Concat", "Conv", "MaxPool")


@dataclass(frozen=True)
class Level:
    """A value of the graph that holds a feature map.

    Attributes:
        value: its name.
        node: the name of the node that makes it.
        stride: pixels of the picture per place of the map along each side, as the nearest power of two (patches of 14 count as 16).
        shape: of the value itself, at the batch of the file's example.
        layout: how it lies: 'NCHW', 'NHWC' or 'tokens' (B x places x C, row by row).
        extra: of tokens: how many come before the places (class token, registers).
    """

    value: str
    node: str
    stride: int
    channels: int
    shape: tuple[int, ...]
    layout: Literal["NCHW", "NHWC", "tokens"] = "NCHW"
    extra: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "shape": list(self.shape)}


class _Finder:
    """What is looked up again and again while levels are found."""

    def __init__(self, model: ModelProto, shapes: Shapes, port: Port, ends: Sequence[str]) -> None:
        picture = shapes[port.name]
        self.batch = picture[0]
        self.height, self.width = (picture[1], picture[2]) if port.layout == "NHWC" else (picture[2], picture[3])
        self.shapes, self.ends, self.graph = shapes, ends, model.graph
        self.nodes = needed_nodes(model.graph, ends)
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.data = data_values(model.graph)

    def level(self, name: str, off: float = _OFF) -> Level | None:
        """Return the level a value is, or None."""
        shape, maker = tuple(self.shapes.get(name, ())), self.makers.get(name)
        if maker is None or maker.op_type == "Pad" or name not in self.data or len(shape) not in (3, 4) or shape[0] != self.batch:
            return None
        if len(shape) == 3:
            return self._of_tokens(name, shape, maker)
        first, last = self._stride(shape[2], shape[3], off), self._stride(shape[1], shape[2], off)
        if first and last:  # as many channels as places: the operator tells
            first, last = (0, last) if maker.op_type in ("LayerNormalization", "MatMul") else (first, 0)
        if first:
            return Level(name, maker.name, first, shape[1], shape)
        return Level(name, maker.name, last, shape[3], shape, "NHWC") if last else None

    def _stride(self, rows: int, columns: int, off: float) -> int:
        """Pixels per place if it is the same power of two both ways, else 0."""
        if min(rows, columns) < 2:
            return 0
        found = set()
        for places, pixels in ((rows, self.height), (columns, self.width)):
            nearest = 2 ** max(round(math.log2(pixels / places)), 0)
            found.add(nearest if abs(math.ceil(pixels / nearest) - places) <= off * places else 0)
        return found.pop() if len(found) == 1 else 0

    def _of_tokens(self, name: str, shape: tuple[int, ...], maker: NodeProto) -> Level | None:
        for patch in _PATCHES:
            places = (self.height // patch) * (self.width // patch)
            if places > 3 and 0 <= shape[1] - places <= _MOST_EXTRA_TOKENS and shape[2] >= _FEWEST_CHANNELS:
                return Level(name, maker.name, 2 ** round(math.log2(patch)), shape[2], shape, "tokens", shape[1] - places)
        return None

    def at_seams(self) -> dict[int, Level]:
        """The last seam of each stride."""
        found = (self.level(name) for name in threads(self.graph, self.ends))
        return {level.stride: self._before_widening(level) for level in found if level is not None}

    def beside_seams(self) -> dict[int, Level]:
        """The last map of each stride, seam or not: networks whose branches run side by side have few seams."""
        found = (self.level(node.output[0], _OFF_BESIDE) for node in self.nodes if node.op_type in _MAKES_MAPS)
        return {level.stride: level for level in found if level is not None and level.layout == "NCHW" and level.channels >= _FEWEST_CHANNELS}

    def _before_widening(self, level: Level) -> Level:
        """Step back over a 1x1 convolution that widens a block's result for the next step: the same places in fewer channels."""
        name = level.value
        while name in self.makers and self.makers[name].op_type in _ELEMENTWISE:
            name = next((item for item in self.makers[name].input if item in self.data), "")
        node = self.makers.get(name)
        if level.layout != "NCHW" or node is None or node.op_type != "Conv":
            return level
        kernel = next((list(item.ints) for item in node.attribute if item.name == "kernel_shape"), [1])
        source = self.level(node.input[0])
        widens = source is not None and source.stride == level.stride and max(kernel) == 1 and level.channels >= _EXPANDS * source.channels
        return source if widens and source is not None and source.channels >= _FEWEST_CHANNELS else level


def feature_levels(model: ModelProto, shapes: Shapes, port: Port, cut: str = "", strides: Sequence[int] = STRIDES) -> list[Level]:
    """Find the feature maps a network offers, the finest first.

    Args:
        model: the imported graph.
        shapes: of its values (`Imported.about["shapes"]`).
        port: its picture input.
        cut: value after which nothing is looked at; empty looks at all of the network.
        strides: the wanted ones. A network may lack some: a plain vision transformer has one.

    Returns:
        At most one level for each stride; nothing where no value keeps places.
    """
    if len(shapes.get(port.name, ())) != 4:
        return []
    finder = _Finder(model, shapes, port, [cut] if cut else [value.name for value in model.graph.output])
    found = finder.at_seams()
    if all(level.layout == "NCHW" for level in found.values()):
        found = {**finder.beside_seams(), **found}
    return [found[stride] for stride in sorted(found) if stride in strides]


def _arranged(levels: Sequence[Level], values: Sequence[Tensor], height: int, width: int, fed: tuple[int, int] | None = None) -> list[Tensor]:
    """Bring raw values into maps [B, C, ceil(H / stride), ceil(W / stride)]; `fed` is the size the network saw, where it is another."""
    maps = []
    for level, value in zip(levels, values, strict=True):
        if level.layout == "tokens":
            places = value[:, level.extra :].transpose(1, 2)
            tall, wide = fed or (height, width)
            rows = round(math.sqrt(int(places.shape[2]) * tall / wide))
            value = places.unflatten(2, (rows, int(places.shape[2]) // rows))
        elif level.layout == "NHWC":
            value = value.permute(0, 3, 1, 2)
        size = (math.ceil(height / level.stride), math.ceil(width / level.stride))
        if (int(value.shape[2]), int(value.shape[3])) != size:
            value = functional.interpolate(value, size, mode="bilinear", align_corners=False)
        maps.append(value)
    return maps


class _Maps:
    """What both forms of a pyramid say of themselves."""

    levels: tuple[Level, ...]

    @property
    def channels(self) -> list[int]:
        """Channels of each map."""
        return [level.channels for level in self.levels]

    @property
    def strides(self) -> list[int]:
        """Stride of each map."""
        return [level.stride for level in self.levels]


class TrainablePyramid(TrainableValues, _Maps):
    """Pictures in, feature maps out, all of it learning."""

    def __init__(self, model: ModelProto, levels: Sequence[Level], port: Port, *, bgr: bool = False) -> None:
        super().__init__(model, [level.value for level in levels], port, bgr=bgr)
        self.levels = tuple(levels)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return the maps, the finest first."""
        return _arranged(self.levels, self.values(images_BCHW), int(images_BCHW.shape[2]), int(images_BCHW.shape[3]), self.oblong)


class FrozenPyramid(FrozenValues, _Maps):
    """The same where the network cannot be trained: it runs in ONNX Runtime."""

    def __init__(self, model: ModelProto, levels: Sequence[Level], port: Port, fixed_batch: int | None = None, *, bgr: bool = False) -> None:
        super().__init__(model, [level.value for level in levels], port, fixed_batch, bgr=bgr)
        self.levels = tuple(levels)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return the maps, the finest first; no gradient flows back."""
        return _arranged(self.levels, self.values(images_BCHW), int(images_BCHW.shape[2]), int(images_BCHW.shape[3]), self.oblong)


def load_pyramid(name: str, strides: Sequence[int] = STRIDES) -> TrainablePyramid | FrozenPyramid:
    """Build the pyramid of the imported network that a model spec names (`library.reference`), up to its cut.

    Raises:
        StudioError: if it is not in the workspace, or keeps no places before the cut.
    """
    found = named(name)
    held = 4 * found.imported.about["parameters"]["total"]
    if held > _MOST_BYTES:  # torch writes these networks in one piece; said before anything is trained
        raise StudioError(
            f"this network has {held / 1e9:.1f} GB of weights; for finding and outlining things Graft takes up to {_MOST_BYTES / 1e9:.0f} GB",
            "Retrain it for sorting whole pictures, or choose a smaller variant.",
        )
    shapes = {key: tuple(shape) for key, shape in found.imported.about["shapes"].items()}
    model = found.imported.model
    levels = feature_levels(model, shapes, found.port, found.cut.value, strides)
    if not levels:
        raise StudioError(
            "this network keeps no map of the picture before the cut, so it cannot tell where things are", "Choose a cut further up, or another network."
        )
    if found.imported.about["trainable"]:
        return TrainablePyramid(model, levels, found.port, bgr=found.bgr)
    return FrozenPyramid(model, levels, found.port, found.imported.about["fixed_batch"], bgr=found.bgr)


class _Behind(nn.Module):
    """Arranging the maps, then the head."""

    def __init__(self, levels: Sequence[Level], head: nn.Module, image_size: int, fed: tuple[int, int] | None) -> None:
        super().__init__()
        self.levels, self.head, self.image_size, self.fed = levels, head, image_size, fed

    def forward(self, *values: Tensor) -> Any:
        """Return what the head makes of the maps."""
        return self.head(_arranged(self.levels, values, self.image_size, self.image_size, self.fed))


def write_maps(
    pyramid: TrainablePyramid | FrozenPyramid, head: nn.Module, outputs: Sequence[str], mean: Sequence[float], std: Sequence[float], image_size: int
) -> ModelProto:
    """Return one ONNX model from `images` (RGB, 0..255, batch x 3 x H x W) to what the head gives.

    Args:
        head: takes the list of maps and returns one tensor for each of `outputs`, the batch first; must be traceable by torch's exporter.
    """
    with torch.no_grad():
        values = pyramid.eval().values(torch.zeros(1, 3, image_size, image_size, device=next(iter(pyramid.state_dict().values())).device))
    return join(pyramid, _Behind(pyramid.levels, head, image_size, pyramid.oblong), [tuple(value.shape) for value in values], outputs, mean, std, image_size)
