"""Putting a backbone and a head together: the rows of `table.ARCHITECTURES` as torch modules.

Shapes: B pictures, H x W input pixels; see `engine.models.dense`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import StudioError
from engine.models import catalogue
from engine.models.dense import backbones, one_stage, plain, semantic, table, two_stage
from engine.models.dense.table import Architecture
from engine.models.published import PREFIX

__all__ = ["BUILDERS", "IMPORTED", "MADE", "Network", "build"]

Builder = Callable[[Sequence[int], Sequence[int], int, tuple[int, int], Mapping[str, Any]], nn.Module]
"""(strides, channels, classes, image size, options) -> a head with forward, loss and decode."""


def _rtdetr_v2(*asked: Any) -> nn.Module:
    from engine.models.dense import queries  # transformers takes seconds to import: only where one of its heads is built

    return queries.RTDETRv2(*asked)


def _dfine(*asked: Any) -> nn.Module:
    from engine.models.dense import queries

    return queries.DFINE(*asked)


def _deformable_detr(*asked: Any) -> nn.Module:
    from engine.models.dense import queries

    return queries.DeformableDETR(*asked)


def _mask2former(*asked: Any) -> nn.Module:
    from engine.models.dense import mask2former

    return mask2former.Instances(*asked)


def _mask2former_semantic(*asked: Any) -> nn.Module:
    from engine.models.dense import mask2former

    return mask2former.Semantic(*asked)


def _upernet(*asked: Any) -> nn.Module:
    from engine.models.dense import upernet

    return upernet.UPerNet(*asked)


def _yolov3(*asked: Any) -> nn.Module:
    from engine.models.dense import yolo

    return yolo.YOLOv3(*asked)


IMPORTED = "onnx-"
"""How the name of a backbone begins that came in as an ONNX file (`engine.models.own_onnx`)."""

MADE = (4, 8, 16, 32)
"""Strides of the maps that are made where a backbone gives one only."""

BUILDERS: dict[str, Builder] = {
    "fcos": one_stage.FCOSDetector,
    "retinanet": one_stage.RetinaNetDetector,
    "ssd": one_stage.SSDDetector,
    "yolov3": _yolov3,
    "faster_rcnn": two_stage.RCNN,
    "mask_rcnn": two_stage.MaskRCNN,
    "rtdetr_v2": _rtdetr_v2,
    "dfine": _dfine,
    "deformable_detr": _deformable_detr,
    "mask2former": _mask2former,
    "mask2former_semantic": _mask2former_semantic,
    "unet": semantic.UNet,
    "fpn": semantic.PyramidSegmenter,
    "deeplabv3": semantic.DeepLab,
    "fcn": semantic.FCN,
    "lraspp": semantic.LRASPP,
    "segformer": semantic.SegFormer,
    "upernet": _upernet,
}


class Network(nn.Module):
    """A backbone and a head (`engine.models.dense.DenseNetwork` says what each method promises)."""

    def __init__(self, row: Architecture, backbone: nn.Module, head: nn.Module, size_step: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.architecture, self.task, self.size_step = row.name, row.task, size_step

    def features(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's maps, the finest first."""
        return self.backbone(images_BCHW)

    def forward(self, images_BCHW: Tensor) -> dict[str, Any]:
        """Return the outputs, for `loss` and `decode`."""
        return self.head(self.backbone(images_BCHW))

    def loss(self, outputs: dict[str, Any], targets: Any) -> dict[str, Tensor]:
        """Return the named parts of the loss."""
        return self.head.loss(outputs, targets)  # type: ignore[operator]

    def decode(self, outputs: dict[str, Any], limit: int = 100) -> dict[str, Tensor]:
        """Return what was found, in full precision whatever the outputs were made in."""
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return self.head.decode(outputs, limit)  # type: ignore[operator]

    def stages(self) -> list[list[str]]:
        """Return the names of the backbone's weights and buffers, grouped by depth."""
        return backbones.stages(self.backbone)


def _used(row: Architecture, given: Sequence[int], options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the strides of the maps a head takes from those a backbone gives."""
    finest = options.get("finest", 0)
    return tuple(stride for stride in sorted(set(given)) if stride in row.strides or (stride in row.wanted and stride >= finest))


def build(
    architecture: str | Architecture,
    backbone: str | nn.Module,
    classes: int,
    image_size: int | tuple[int, int],
    options: Mapping[str, Any] | None = None,
    *,
    pretrained: bool = False,
    seed: int = 0,
    drop_path: float = 0.0,
) -> Network:
    """Build a network; `engine.models.dense.build` says how."""
    row = table.architecture(architecture) if isinstance(architecture, str) else architecture
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if isinstance(backbone, str) and backbone.startswith(PREFIX):
        from engine.models.dense import finished

        return finished.build((options or {})["config"], classes, seed=seed)
    chosen = row.chosen(options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(backbone, str) and backbone.startswith(IMPORTED):
            source, step = _imported(row, backbone, chosen), row.size_step
        elif isinstance(backbone, str):
            source, step = _catalogued(row, backbone, size, chosen, pretrained=pretrained, drop_path=drop_path)
        else:
            source, step = _given(row, backbone, chosen), row.size_step
        _check_size(size, step)
        head = _head(row, tuple(source.strides), tuple(source.channels), classes, size, chosen)  # type: ignore[arg-type, union-attr]
    return Network(row, source, head, step)


def _head(row: Architecture, strides: tuple[int, ...], channels: tuple[int, ...], classes: int, size: tuple[int, int], options: Mapping[str, Any]) -> nn.Module:
    """Build the head; on a backbone of one map only it makes the others first."""
    if not table.Pyramid(strides, channels).single or "output_stride" in options:
        return BUILDERS[row.name](strides, channels, classes, size, options)
    read = _used(row, MADE, options)
    inner = BUILDERS[row.name](read, [plain.expanded_channels(channels[-1])] * len(read), classes, size, options)
    return plain.Expanded(strides[-1], channels[-1], read, inner)


def _check_size(size: tuple[int, int], step: int) -> None:
    if any(side % step or side <= 0 for side in size):
        nearest = " x ".join(str(max(step, round(side / step) * step)) for side in size)
        raise StudioError(f"pictures of {size[0]} x {size[1]} px do not fit: sides must be multiples of {step}", f"Use {nearest}.")


def _catalogued(row: Architecture, name: str, size: tuple[int, int], options: Mapping[str, Any], **more: Any) -> tuple[nn.Module, int]:
    known = catalogue.backbone(name)
    reason = row.takes(known)
    if reason:
        raise StudioError(reason, "Choose another backbone, or another architecture: the Start page shows what goes together.")
    found = table.pyramid(known.name)
    step = max(found.size_step, row.size_step)
    _check_size(size, step)
    denser = {"output_stride": options["output_stride"]} if options.get("output_stride", 32) < 32 else {}
    read = found.strides[-1:] if found.single else _used(row, found.strides, options)
    return backbones.catalogued(known.name, read, found.strides, size, **denser, **more), step


def _imported(row: Architecture, name: str, options: Mapping[str, Any]) -> nn.Module:
    """Build the maps of a user's own ONNX file, with the weights it came with."""
    from engine.models.own_onnx.pyramid import load_pyramid

    source = load_pyramid(name)
    read = _given(row, source, options)
    return source if read is source else load_pyramid(name, tuple(read.strides))  # type: ignore[arg-type, union-attr]


def _given(row: Architecture, source: nn.Module, options: Mapping[str, Any]) -> nn.Module:
    """Take a module of the user's own, which has `strides` and `channels`."""
    strides: tuple[int, ...] = tuple(source.strides)  # type: ignore[arg-type, union-attr]
    reason = table.refusal(row, table.Pyramid(strides, tuple(source.channels)), "This network")  # type: ignore[arg-type, union-attr]
    if reason:
        raise StudioError(reason, "Choose another architecture.")
    if table.Pyramid(strides).single:
        return source
    used = _used(row, strides, options)
    return source if used == strides else backbones.Picked(source, used)
