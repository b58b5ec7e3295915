"""Networks that find and outline things: a backbone that gives maps at several strides, and a head that reads them. Torch-free at import.

What is offered is `table`'s (no torch, the pages read it); `build` and `for_export` below import torch when they are called.
Training, data and metrics are other parts': they know a network only through `DenseNetwork`.

Shapes: B pictures, H x W input pixels, K the project's classes, N things in one picture, D things found (padded).

Pictures come resized and normalised, sides multiples of the network's `size_step`. Targets are, for detection and instances, one dict a
picture: {"boxes_N4": float x1 y1 x2 y2 in input pixels, "labels_N": int64 0..K-1, "masks_NHW": bool, for instances only}; N may be 0.
For semantic segmentation: int64 [B, H, W], 0 the background, 1..K the project's classes, 255 ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from engine.models.dense.table import ARCHITECTURES, TRAITS, Architecture, architecture, pyramid, rank

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "IGNORED", "TRAITS", "Architecture", "DenseNetwork", "architecture", "build", "for_export", "pyramid", "rank"]

IGNORED = 255
"""The label of pixels that count neither as background nor as a class."""


class DenseNetwork(Protocol):
    """What the training loop, the tasks and the export may ask of a network. It is a torch nn.Module.

    Attributes:
        backbone: images -> tuple of maps, the finest first; its weights may be pretrained.
        head: that tuple -> outputs; everything in it is new.
        task: 'object-detection', 'semantic-segmentation' or 'instance-segmentation'.
        size_step: sides of pictures must be multiples of this.
    """

    backbone: nn.Module
    head: nn.Module
    task: str
    size_step: int

    def __call__(self, images_BCHW: Tensor) -> dict[str, Any]:
        """Return the outputs: opaque, for `loss` and `decode` only. The same as `self.head(self.features(images_BCHW))`.

        In training mode a head may leave work to `loss` that needs the targets (proposals, denoising queries), so call `loss` under
        the same autocast. `decode` wants outputs made in evaluation mode; `loss` takes those too.
        """

    def features(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's maps, the finest first: what may be cached while the backbone is frozen."""

    def loss(self, outputs: dict[str, Any], targets: Sequence[Mapping[str, Tensor]] | Tensor) -> dict[str, Tensor]:
        """Return the parts of the loss by name; their sum is what is trained. Each is a mean over the batch."""

    def decode(self, outputs: dict[str, Any], limit: int = 100) -> dict[str, Tensor]:
        """Return what was found.

        Detection: {"detections_BD6": x1 y1 x2 y2 in input pixels, score, class 0..K-1}, best first, D = limit, padded with score 0.
        Instances: the same and "masks_BDHW", probabilities 0..1 at input size. Semantic: {"logits_BKHW"} at input size, K + 1 channels.
        """

    def stages(self) -> list[list[str]]:
        """Return the names of the backbone's weights and buffers, grouped by depth, the stage nearest the picture first."""


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
) -> Any:
    """Build a network (a `DenseNetwork`).

    Args:
        architecture: a row of ARCHITECTURES, or its name.
        backbone: a catalogued backbone's name, an imported network's ('onnx-...'), or a module that gives maps and has `strides` and `channels`.
        classes: K, without the background.
        image_size: the side, or height and width, in pixels that it will mostly see; other multiples of `size_step` work where the backbone allows.
        options: of the architecture; what is not named takes its default.
        pretrained: load the backbone's weights that lie on this machine. Batch norm statistics of a pretrained backbone stay as they came.
        seed: of the random weights.
        drop_path: share of the backbone's paths that are dropped while training, where it has such.

    Raises:
        StudioError: if the architecture does not go with the backbone, the size is no multiple of `size_step`, or an option is unknown.
    """
    from engine.models.dense import networks

    return networks.build(architecture, backbone, classes, image_size, options, pretrained=pretrained, seed=seed, drop_path=drop_path)


def for_export(network: Any, limit: int = 100, *, plain: bool = False) -> nn.Module:
    """Return a module that holds decoding and NMS: normalised images [B, 3, H, W] -> tensors named by its `output_names`.

    Detection: detections [B, D, 6]. Instances: detections and masks [B, D, H, W]. Semantic: probabilities [B, K + 1, H, W].
    `plain` decodes in steps that TensorRT can run (`engine.models.dense.boxes.plain_steps`), with the same answers.
    `engine.models.dense.onnx_form.to_onnx` writes it as an ONNX graph with a dynamic batch.
    """
    from engine.models.dense import onnx_form

    return onnx_form.ForExport(network, limit, plain=plain)
