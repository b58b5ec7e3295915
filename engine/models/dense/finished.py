"""Finished detectors and segmenters as their makers publish them (files as transformers has them), as networks of ours: a backbone and a head.

A file's own settings (`config.json`) travel in the spec of each network that comes from it, so that a run needs the published files once only.

Shapes: B pictures, H x W input pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForObjectDetection, AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation

from engine.errors import StudioError
from engine.models.dense import mask2former, upernet, yolo
from engine.models.dense.given import GivenMaps, drop_aliases
from engine.models.dense.networks import Network
from engine.models.dense.queries import PRIOR, Queries
from engine.models.dense.table import architecture

__all__ = ["FAMILIES", "Family", "build", "config_of", "load", "names_of"]

_ABSENT = ("_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "id2label", "label2id", "num_labels")
"""What of a config is not about the network."""


class _Maps(nn.Module):
    """The published backbone of a detector: pictures -> maps, the finest first."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return one map a stride."""
        everywhere_BHW = images_BCHW.new_ones(images_BCHW.shape[0], *images_BCHW.shape[-2:])
        return tuple(found for found, _ in self.encoder(images_BCHW, everywhere_BHW))


class _FeatureMaps(_Maps):
    """The published backbone of a segmenter."""

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return one map a stride."""
        return tuple(self.encoder(images_BCHW).feature_maps)


class _Published(Queries):
    """The rest of a detector: encoder, queries and decoder, fed with the backbone's maps."""

    def __init__(self, net: Any, strides: Sequence[int]) -> None:
        nn.Module.__init__(self)
        self.stride, self.queries, self.given = strides[0], net.config.num_queries, GivenMaps()
        net.model.backbone = self.given
        self.net = net
        drop_aliases(self)


def _detector(net: Any) -> tuple[nn.Module, nn.Module, int]:
    strides = tuple(net.config.feat_strides)
    return _Maps(net.model.backbone), _Published(net, strides), max(strides)


def _segmenter(net: Any) -> tuple[nn.Module, nn.Module, int]:
    row = architecture("upernet")
    return _FeatureMaps(net.backbone), upernet.Published(net, row.strides[0]), row.size_step


def _outliner(net: Any) -> tuple[nn.Module, nn.Module, int]:
    row = architecture("mask2former")
    return _FeatureMaps(net.model.pixel_level_module.encoder), mask2former.Published(net, row.strides[0]), row.size_step


def _yolo(net: Any) -> tuple[nn.Module, nn.Module, int]:
    return net.body, net.head, max(net.head.strides)


@dataclass(frozen=True)
class Family:
    """How the models of one family become networks of ours.

    Attributes:
        architecture: ours; auto: transformers' class that builds them.
        taken_apart: a model -> backbone, head, and what sides of pictures must be multiples of.
        telling_apart: in the names of layers that tell classes apart: new where the classes are others, though they be as many.
        completed: a model with its own classes -> with all outputs a head of ours has; more: how many outputs that adds.
        settings: of a network that is built anew.
    """

    architecture: str
    auto: Any
    taken_apart: Callable[[Any], tuple[nn.Module, nn.Module, int]]
    telling_apart: tuple[str, ...]
    completed: Callable[[Any], Any] = lambda net: net
    more: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


_DETECTOR: dict[str, Any] = {
    "auto": AutoModelForObjectDetection,
    "taken_apart": _detector,
    "telling_apart": ("class_embed", "enc_score_head"),
    "settings": {"initializer_bias_prior_prob": PRIOR},
}

FAMILIES = {
    "rt_detr_v2": Family("rtdetr_v2", **_DETECTOR),
    "d_fine": Family("dfine", **_DETECTOR),
    "upernet": Family("upernet", AutoModelForSemanticSegmentation, _segmenter, ("classifier",), upernet.with_background, 1),
    "mask2former": Family("mask2former", AutoModelForUniversalSegmentation, _outliner, ("class_predictor", "criterion")),
    yolo.KIND: Family("yolov3", AutoModelForObjectDetection, _yolo, ("classes.",)),
}
"""transformers' name of a family -> what is to know of it."""


def config_of(folder: Path) -> dict[str, Any]:
    """Return what of a published config is about the network, as plain JSON.

    Raises:
        StudioError: if there is none, or it is of a family that is not known here.
    """
    found = _config(folder)
    return {key: value for key, value in found.to_dict().items() if key not in _ABSENT}


def names_of(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes it was trained on, in the order of its outputs."""
    labels = _config(folder).id2label
    return tuple(str(labels[place]) for place in sorted(labels))


def _config(folder: Path) -> Any:
    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise StudioError(f"the settings of the finished model in {folder.name} cannot be read", "Delete it and download it again.") from error
    if found.model_type not in FAMILIES:
        raise StudioError(f"finished models of the family '{found.model_type}' are not known here", f"Known are {', '.join(FAMILIES)}.")
    return found


def _network(net: Any) -> Network:
    family = FAMILIES[net.config.model_type]
    return Network(architecture(family.architecture), *family.taken_apart(net))


def build(config: Mapping[str, Any], classes: int, *, seed: int = 0) -> Network:
    """Build the network of a published config, with random weights, for so many classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = str(config["model_type"])
        family = FAMILIES[kind]
        rest = {key: value for key, value in config.items() if key != "model_type"} | dict(family.settings)
        return _network(family.auto.from_config(AutoConfig.for_model(kind, **rest, num_labels=classes + family.more)))


def load(folder: Path, classes: Sequence[str], *, seed: int = 0) -> Network:
    """Build it with its published weights; what tells classes apart is new unless they are its own.

    Raises:
        StudioError: if the files are damaged or do not fit.
    """
    family = FAMILIES[_config(folder).model_type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _read(folder, family)
        if tuple(classes) == names_of(folder):
            return _network(family.completed(net))
        fresh = build(config_of(folder), len(classes), seed=seed)
    kept = {name: tensor for name, tensor in _network(net).state_dict().items() if not any(part in name for part in family.telling_apart)}
    fresh.load_state_dict(kept, strict=False)
    return fresh


def _read(folder: Path, family: Family) -> Any:
    """Return transformers' model with the weights of the file; transformers itself would make up those that are not in it."""
    try:
        net, told = family.auto.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise StudioError(f"the weights of the finished model in {folder.name} are damaged", "Delete them and download them again.") from error
    learnt = {name for name, weights in net.named_parameters() if weights.requires_grad}
    missing = sorted(name for name in told["missing_keys"] if name in learnt or "running_" in name)
    if missing:
        raise StudioError(
            f"the weights of the finished model in {folder.name} do not fit it ({len(missing)} are missing, first '{missing[0]}')",
            "Delete them and download them again.",
        )
    return net
