"""The kept part of an imported network in the form training knows: images in, pooled features out.

`TrainableBackbone` runs in torch and learns; `FrozenFeatures`, the floor, runs in ONNX Runtime and does not. Both can be
written back as an ONNX graph (`as_onnx`). Joining that with a head is `write.py`'s.

Shapes: B pictures, C channels, H x W pixels, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from engine.models.own_onnx.cut import Cut
from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.interface import Port
from engine.models.own_onnx.normalise import drop_unused

__all__ = ["FrozenFeatures", "Pool", "TrainableBackbone", "session_of", "up_to"]

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


def up_to(model: ModelProto, value: str) -> ModelProto:
    """Return a copy of a model that ends at a value."""
    copy = ModelProto.FromString(model.SerializeToString())
    del copy.graph.output[:]
    copy.graph.output.append(onnx.ValueInfoProto(name=value))
    del copy.graph.value_info[:]
    drop_unused(copy)
    return copy


def session_of(model: ModelProto | str, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a model in ONNX Runtime, on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    content = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class _Kept(nn.Module):
    """What both forms share: how pictures go in and how features come out."""

    def __init__(self, cut: Cut, port: Port, bgr: bool = False) -> None:
        super().__init__()
        self.cut, self.port, self.bgr = cut, port, bgr
        self.num_features = cut.features
        self.pool = Pool(cut.pool)

    def arranged(self, images_BCHW: Tensor) -> Tensor:
        """Bring RGB pictures into the layout, the order and the number of channels the network takes."""
        if self.port.channels == 1:
            images_BCHW = (images_BCHW * images_BCHW.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
        elif self.bgr:
            images_BCHW = images_BCHW.flip(1)
        return images_BCHW.permute(0, 2, 3, 1) if self.port.layout == "NHWC" else images_BCHW


class TrainableBackbone(_Kept):
    """The network up to the cut as torch parameters."""

    def __init__(self, model: ModelProto, cut: Cut, port: Port, *, bgr: bool = False) -> None:
        super().__init__(cut, port, bgr)
        self._proto = up_to(model, cut.value)
        self.graph = ImportedGraph(self._proto, [cut.value])
        learnt = self.graph.stored_values()
        for item in self._proto.graph.initializer:  # the module holds these numbers now; twice would be too much
            if item.name in learnt:
                item.ClearField("raw_data")
        self._depths = {f"graph.{name}": depth for depth, name in enumerate(self.graph.weight_names)}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features [B, F]."""
        return self.pool(self.graph(self.arranged(images_BCHW)))

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
        """Return the graph up to the cut with the weights as they are now."""
        copy = ModelProto.FromString(self._proto.SerializeToString())
        now = self.graph.stored_values()
        for item in copy.graph.initializer:
            if item.name in now:
                name = item.name
                item.CopyFrom(
                    numpy_helper.from_array(now[name].detach().cpu().float().numpy() if now[name].is_floating_point() else now[name].cpu().numpy(), name)
                )
        return copy


class FrozenFeatures(_Kept):
    """The network up to the cut in ONNX Runtime: what cannot be trained can still describe pictures."""

    fingerprint: Tensor

    def __init__(self, model: ModelProto, cut: Cut, port: Port, fixed_batch: int | None = None, *, bgr: bool = False) -> None:
        super().__init__(cut, port, bgr)
        self._proto = up_to(model, cut.value)
        self._batch = fixed_batch
        self._session: onnxruntime.InferenceSession | None = None
        digest = hashlib.sha256(self._proto.SerializeToString(deterministic=True)).digest()
        self.register_buffer("fingerprint", torch.frombuffer(bytearray(digest), dtype=torch.uint8).clone())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session behind when copied: it is opened again on first use."""
        return {**super().__getstate__(), "_session": None} if hasattr(super(), "__getstate__") else {**self.__dict__, "_session": None}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features [B, F]; no gradient flows back."""
        if self._session is None:
            self._session = session_of(self._proto)
        pictures = (
            self.arranged(images_BCHW.detach()).float().cpu().contiguous().numpy().astype(self.port.dtype if self.port.dtype != "bfloat16" else "float32")
        )
        rows = self._session.run([self.cut.value], {self.port.name: pictures})[0] if self._batch is None else self._in_parts(pictures)
        return self.pool(torch.from_numpy(np.asarray(rows, dtype=np.float32)).to(images_BCHW.device))

    def _in_parts(self, pictures: np.ndarray) -> np.ndarray:
        """A network of fixed batch size sees that many at a time, the last part filled up."""
        assert self._session is not None
        assert self._batch is not None
        rows = []
        for start in range(0, len(pictures), self._batch):
            part = pictures[start : start + self._batch]
            full = np.concatenate([part, np.repeat(part[-1:], self._batch - len(part), 0)]) if len(part) < self._batch else part
            rows.append(self._session.run([self.cut.value], {self.port.name: full})[0][: len(part)])
        return np.concatenate(rows)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:  # noqa: ARG002 (timm's signature)
        """One depth: there is nothing to train."""
        return lambda _name: 0

    def as_onnx(self) -> ModelProto:
        """Return the graph up to the cut."""
        return ModelProto.FromString(self._proto.SerializeToString())
