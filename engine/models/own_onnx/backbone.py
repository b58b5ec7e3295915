"""The kept part of an imported network in the form training knows: images in, pooled features out.

`TrainableValues` runs in torch and learns; `FrozenValues`, the floor, runs in ONNX Runtime and does not. Both give any values of
the network and can be written back as an ONNX graph (`as_onnx`). `TrainableBackbone` and `FrozenFeatures` pool the value at a cut
into one row a picture; feature maps at several sizes are `pyramid.py`'s. Joining a graph with a head is `write.py`'s.

Shapes: B pictures, C channels, H x W pixels, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional

from engine.models.own_onnx import stored
from engine.models.own_onnx.cut import Cut
from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.interface import Port
from engine.models.own_onnx.normalise import drop_unused
from engine.models.own_onnx.stored import array_of, gathered, is_apart, tensor_of

__all__ = ["FrozenFeatures", "FrozenValues", "Pool", "TrainableBackbone", "TrainableValues", "session_of", "up_to"]

_GREY = (0.299, 0.587, 0.114)


class Pool(nn.Module):
    """Turns a value of the network into one row of features a picture."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        """Return features [B, F]."""
        if self.how == "map":
            return x.mean((2, 3))
        if self.how == "map_last":
            return x.mean((1, 2))
        return x.mean(1) if self.how == "tokens" else x


def up_to(model: ModelProto, *values: str) -> ModelProto:
    """Return a copy of a model that ends at these values."""
    copy = ModelProto.FromString(model.SerializeToString())
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    del copy.graph.value_info[:]
    drop_unused(copy)
    return copy


def session_of(model: ModelProto | str, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a model in ONNX Runtime, on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if isinstance(model, str):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return stored.session(model, options)


class _Kept(nn.Module):
    """What both forms share: how pictures go in."""

    def __init__(self, port: Port, bgr: bool = False) -> None:
        super().__init__()
        self.port, self.bgr = port, bgr

    @property
    def oblong(self) -> tuple[int, int] | None:
        """Height and width in pixels of a network that takes pictures of one size only and that is no square."""
        height, width = self.port.size
        return (height, width) if height and width and height != width else None

    def arranged(self, images_BCHW: Tensor) -> Tensor:
        """Bring RGB pictures into the layout, the order, the number of channels and, where that is no square, the size the network takes."""
        if self.oblong and tuple(images_BCHW.shape[2:]) != self.oblong:
            images_BCHW = functional.interpolate(images_BCHW, self.oblong, mode="bilinear", align_corners=False)
        if self.port.channels == 1:
            images_BCHW = (images_BCHW * images_BCHW.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
        elif self.bgr:
            images_BCHW = images_BCHW.flip(1)
        return images_BCHW.permute(0, 2, 3, 1) if self.port.layout == "NHWC" else images_BCHW


class TrainableValues(_Kept):
    """The network up to some of its values, as torch parameters."""

    def __init__(self, model: ModelProto, values: Sequence[str], port: Port, *, bgr: bool = False) -> None:
        super().__init__(port, bgr)
        self._proto = up_to(model, *values)
        self.graph = ImportedGraph(self._proto, values, fused=True)
        learnt = self.graph.stored_values()
        for item in self._proto.graph.initializer:  # the module holds these numbers now; twice would be too much
            if item.name in learnt:
                item.ClearField("raw_data")
        self._proto = ModelProto.FromString(self._proto.SerializeToString())  # only a new message gives the memory back
        self._depths = {f"graph.{name}": depth for depth, name in enumerate(self.graph.weight_names)}

    def values(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the values in the order they were asked for."""
        return self.graph.run([self.arranged(images_BCHW)], self.graph.output_names)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:  # noqa: ARG002 (timm's signature)
        """Tell the depth of a parameter by its name, for freezing and learning rates by depth."""
        blocks = self._blocks()
        return lambda name: blocks.get(name, 0)

    def _blocks(self) -> dict[str, int]:
        """Layers in order: the parameters of one layer (one prefix) share a depth."""
        depths: dict[str, int] = {}
        order: dict[str, int] = {}
        for name in self._depths:
            layer = name.rpartition(".")[0]
            depths[name] = order.setdefault(layer, len(order))
        return depths

    def as_onnx(self) -> ModelProto:
        """Return the graph up to the values with the weights as they are now."""
        copy = ModelProto.FromString(self._proto.SerializeToString())
        now = self.graph.stored_values()
        for item in copy.graph.initializer:
            if item.name in now:
                name = item.name
                value = now[name].detach().cpu()
                item.CopyFrom(tensor_of((value.float() if value.is_floating_point() else value).numpy(), name))
        return gathered(copy)


def _digest(model: ModelProto) -> bytes:
    """A hash of a graph and all its numbers, wherever they lie."""
    light = ModelProto.FromString(model.SerializeToString())
    state = hashlib.sha256()
    for item in light.graph.initializer:
        if is_apart(item):
            state.update(array_of(item).view(np.uint8).reshape(-1).data)
            del item.external_data[:]
    state.update(light.SerializeToString(deterministic=True))
    return state.digest()


class FrozenValues(_Kept):
    """The network up to some of its values in ONNX Runtime: what cannot be trained can still describe pictures."""

    fingerprint: Tensor

    def __init__(self, model: ModelProto, values: Sequence[str], port: Port, fixed_batch: int | None = None, *, bgr: bool = False) -> None:
        super().__init__(port, bgr)
        self._proto = up_to(model, *values)
        self._names = list(values)
        self._batch = fixed_batch
        self._session: onnxruntime.InferenceSession | None = None
        self.register_buffer("fingerprint", torch.frombuffer(bytearray(_digest(self._proto)), dtype=torch.uint8).clone())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session behind when copied: it is opened again on first use."""
        return {**super().__getstate__(), "_session": None} if hasattr(super(), "__getstate__") else {**self.__dict__, "_session": None}

    def values(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the values in the order they were asked for; no gradient flows back."""
        if self._session is None:
            self._session = session_of(self._proto)
        pictures = (
            self.arranged(images_BCHW.detach()).float().cpu().contiguous().numpy().astype(self.port.dtype if self.port.dtype != "bfloat16" else "float32")
        )
        found = self._session.run(self._names, {self.port.name: pictures}) if self._batch is None else self._in_parts(pictures, self._batch)
        return tuple(torch.from_numpy(np.asarray(rows, dtype=np.float32)).to(images_BCHW.device) for rows in found)

    def _in_parts(self, pictures: np.ndarray, batch: int) -> list[np.ndarray]:
        """A network of fixed batch size sees that many at a time, the last part filled up."""
        assert self._session is not None
        parts = []
        for start in range(0, len(pictures), batch):
            part = pictures[start : start + batch]
            full = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)]) if len(part) < batch else part
            parts.append([rows[: len(part)] for rows in self._session.run(self._names, {self.port.name: full})])
        return [np.concatenate(rows) for rows in zip(*parts, strict=True)]

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:  # noqa: ARG002 (timm's signature)
        """One depth: there is nothing to train."""
        return lambda _name: 0

    def as_onnx(self) -> ModelProto:
        """Return the graph up to the values."""
        return gathered(ModelProto.FromString(self._proto.SerializeToString()))


class TrainableBackbone(TrainableValues):
    """The network up to the cut, one row of features a picture."""

    def __init__(self, model: ModelProto, cut: Cut, port: Port, *, bgr: bool = False) -> None:
        super().__init__(model, [cut.value], port, bgr=bgr)
        self.cut, self.num_features, self.pool = cut, cut.features, Pool(cut.pool)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features [B, F]."""
        return self.pool(self.values(images_BCHW)[0])


class FrozenFeatures(FrozenValues):
    """The same where the network cannot be trained."""

    def __init__(self, model: ModelProto, cut: Cut, port: Port, fixed_batch: int | None = None, *, bgr: bool = False) -> None:
        super().__init__(model, [cut.value], port, fixed_batch, bgr=bgr)
        self.cut, self.num_features, self.pool = cut, cut.features, Pool(cut.pool)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features [B, F]; no gradient flows back."""
        return self.pool(self.values(images_BCHW)[0])
