"""transformers' models with our maps in place of their backbone, built from configuration alone: nothing is downloaded.

Shapes: B pictures, H x W input pixels, h x w map pixels, N things in a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GivenFeatures", "GivenMaps", "drop_aliases", "normalised_targets", "pictures_like", "summed"]


class GivenMaps(nn.Module):
    """Stands where a DETR-like model keeps its backbone, and hands out the maps it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: Sequence[Tensor] = ()

    def forward(self, _images: Tensor, mask_BHW: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each map with the mask of its size: all of every picture counts."""
        return [(one, F.interpolate(mask_BHW[None].float(), size=one.shape[-2:]).to(torch.bool)[0]) for one in self.maps]


class GivenFeatures(GivenMaps):
    """The same in the form Mask2Former asks for."""

    def forward(self, _images: Tensor, *_: Any) -> Any:
        """Return an object with `feature_maps`."""
        return SimpleNamespace(feature_maps=list(self.maps))


def pictures_like(finest: Tensor, stride: int) -> Tensor:
    """Return pictures of the size the maps come from; only their shape is looked at."""
    height, width = finest.shape[-2:]
    return finest.new_zeros((1, 1, 1, 1)).expand(finest.shape[0], 3, height * stride, width * stride)


def normalised_targets(targets: Sequence[Mapping[str, Tensor]], height: int, width: int) -> list[dict[str, Tensor]]:
    """Name the targets as transformers does: boxes as middle and size, in shares of the picture's."""
    named = []
    for one in targets:
        boxes_N4 = one["boxes_N4"].float() / one["boxes_N4"].new_tensor([width, height, width, height], dtype=torch.float32)
        middle_N2, size_N2 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2, boxes_N4[:, 2:] - boxes_N4[:, :2]
        named.append({"class_labels": one["labels_N"], "boxes": torch.cat((middle_N2, size_N2), 1)})
    return named


def summed(parts: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Add up the losses of all layers under plain names: `names` says which beginning becomes which."""
    found: dict[str, Tensor] = {}
    for key, value in parts.items():
        for beginning, name in names.items():
            if key.startswith(beginning):
                found[name] = found[name] + value if name in found else value
    return found


def drop_aliases(module: nn.Module) -> None:
    """Write each tensor that has two names only once into the state: safetensors refuses shared memory. Loading fills the others in."""
    first: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in module.named_parameters(remove_duplicate=False):
        if first.setdefault(id(tensor), name) != name:
            aliases[name] = first[id(tensor)]

    def after(_module: nn.Module, state: dict[str, Tensor], prefix: str, _meta: Any) -> None:
        for alias in aliases:
            state.pop(prefix + alias, None)

    def before(_module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        for alias, name in aliases.items():
            if prefix + name in state:
                state[prefix + alias] = state[prefix + name]

    module.register_state_dict_post_hook(after)
    module.register_load_state_dict_pre_hook(before)
