"""Finished detectors as their makers publish them (transformers' files), as networks of ours: their backbone, and the rest as a head.

A file's own settings (`config.json`) travel in the spec of each network that comes from it, so that a run needs the published files once only.

Shapes: B pictures, H x W input pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForObjectDetection

from engine.errors import StudioError
from engine.models.dense.given import GivenMaps, drop_aliases
from engine.models.dense.networks import Network
from engine.models.dense.queries import PRIOR, Queries
from engine.models.dense.table import architecture

__all__ = ["FAMILIES", "build", "config_of", "load", "names_of"]

FAMILIES = {"rt_detr_v2": "rtdetr_v2", "d_fine": "dfine"}
"""transformers' name of a family -> ours."""

_ABSENT = ("_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "id2label", "label2id", "num_labels")
"""What of a config is not about the network."""


_TELLING_APART = ("class_embed", "enc_score_head")
"""Layers that tell classes apart: new where the classes are others, though they be as many."""


class _Maps(nn.Module):
    """The published backbone: pictures -> maps, the finest first."""

    def __init__(self, encoder: nn.Module, strides: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.strides = encoder, tuple(strides)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return one map a stride."""
        everywhere_BHW = images_BCHW.new_ones(images_BCHW.shape[0], *images_BCHW.shape[-2:])
        return tuple(found for found, _ in self.encoder(images_BCHW, everywhere_BHW))


class _Published(Queries):
    """The rest of it: encoder, queries and decoder, fed with the backbone's maps."""

    def __init__(self, net: Any, strides: Sequence[int]) -> None:
        nn.Module.__init__(self)
        self.stride, self.queries, self.given = strides[0], net.config.num_queries, GivenMaps()
        net.model.backbone = self.given
        self.net = net
        drop_aliases(self)


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
    strides = tuple(net.config.feat_strides)
    maps = _Maps(net.model.backbone, strides)
    return Network(architecture(FAMILIES[net.config.model_type]), maps, _Published(net, strides), max(strides))


def build(config: Mapping[str, Any], classes: int, *, seed: int = 0) -> Network:
    """Build the network of a published config, with random weights, for so many classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = str(config["model_type"])
        rest = {key: value for key, value in config.items() if key != "model_type"} | {"initializer_bias_prior_prob": PRIOR}
        return _network(AutoModelForObjectDetection.from_config(AutoConfig.for_model(kind, **rest, num_labels=classes)))


def load(folder: Path, classes: Sequence[str], *, seed: int = 0) -> Network:
    """Build it with its published weights; what tells classes apart is new unless they are its own.

    Raises:
        StudioError: if the files are damaged or do not fit.
    """
    _config(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            net = AutoModelForObjectDetection.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise StudioError(f"the weights of the finished model in {folder.name} are damaged", "Delete them and download them again.") from error
        if tuple(classes) == names_of(folder):
            return _network(net)
        fresh = build(config_of(folder), len(classes), seed=seed)
    kept = {name: tensor for name, tensor in _network(net).state_dict().items() if not any(part in name for part in _TELLING_APART)}
    fresh.load_state_dict(kept, strict=False)
    return fresh
