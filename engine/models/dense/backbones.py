"""Backbones as sources of maps: any timm network with maps at strides, with the weights that lie on this machine.

Which backbone gives what is assets/catalog/pyramids.csv's; what is built on the maps is `networks.py`'s.

Shapes: B pictures, C channels, H x W pixels.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import timm
import torch
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from engine.errors import StudioError
from engine.models import catalogue, weights
from engine.models.build import ARCHITECTURES as TIMM_NAMES
from engine.models.build import read_weights

__all__ = ["MapSource", "Picked", "catalogued", "create", "freeze_norms", "stages"]

_NORMS = (nn.modules.batchnorm._BatchNorm,)


class MapSource(nn.Module):
    """images [B, 3, H, W] -> the maps of the chosen strides, the finest first.

    Attributes:
        strides: input pixels to one map pixel, of the maps as they come out; channels: of each map.
        norms_stay: batch norm uses the statistics it came with, also while training: batches are small, and pictures of things to find
            look like those it was pretrained on. Set for pretrained weights, not for random ones.
    """

    def __init__(self, net: nn.Module, given: Sequence[int], strides: Sequence[int], *, norms_stay: bool = False, denser: bool = False) -> None:
        """`denser`: built to lose less size than `given` says, by dilation; the network knows."""
        super().__init__()
        self.net = net
        self._picked = [max(index for index, own in enumerate(given) if own == stride) for stride in strides]
        info = net.feature_info.channels()  # type: ignore[union-attr, operator]
        self._channels_last = str(getattr(getattr(net, "output_fmt", None), "value", "NCHW")) == "NHWC"  # Swin and its kin
        self.strides = tuple(int(net.feature_info.reduction()[index]) for index in self._picked) if denser else tuple(strides)  # type: ignore[union-attr, operator]
        self.channels = tuple(int(info[index]) for index in self._picked)
        self.norms_stay = norms_stay

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps."""
        maps = self.net(images_BCHW)
        if self._channels_last:
            maps = [one.permute(0, 3, 1, 2) for one in maps]
        return tuple(maps[index] for index in self._picked)

    def train(self, mode: bool = True) -> MapSource:
        """Switch to training, the batch norm statistics apart where they stay."""
        super().train(mode)
        if self.norms_stay:
            freeze_norms(self)
        return self


class Picked(nn.Module):
    """Some of the maps that another source gives."""

    def __init__(self, source: nn.Module, strides: Sequence[int]) -> None:
        super().__init__()
        self.source, given = source, list(source.strides)  # type: ignore[arg-type, union-attr]
        self._places = [given.index(stride) for stride in strides]
        self.strides = tuple(strides)
        self.channels = tuple(source.channels[place] for place in self._places)  # type: ignore[index, union-attr]

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps."""
        maps = self.source(images_BCHW)
        return tuple(maps[place] for place in self._places)


def freeze_norms(module: nn.Module) -> None:
    """Put every batch norm below into evaluation mode."""
    for part in module.modules():
        if isinstance(part, _NORMS):
            part.eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep timm from warning of the last layers' weights, which a source of maps has no use for."""
    logger = logging.getLogger("timm.models._builder")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def create(timm_name: str, image_size: tuple[int, int], *, drop_path: float = 0.0, state: Mapping[str, Tensor] | None = None, **more: Any) -> nn.Module:
    """Build timm's network as a source of maps, random or with `state` (timm's names). Options it does not know are left out.

    Raises:
        StudioError: if the network gives no maps, or takes no pictures of this size.
    """
    config = timm.models.get_pretrained_cfg(timm_name)
    options: dict[str, Any] = dict(more)
    if drop_path:
        options["drop_path_rate"] = drop_path
    if config is not None and config.fixed_input_size and tuple(config.input_size[-2:]) != image_size:
        options["img_size"] = image_size
    if state is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state)}}
    for dropped in ((), ("drop_path_rate",), ("output_stride",), ("drop_path_rate", "output_stride")):
        try:
            with _quiet():
                return timm.create_model(timm_name, features_only=True, **{key: value for key, value in options.items() if key not in dropped})
        except (TypeError, NotImplementedError, AssertionError):  # some families assert that the stride is 32
            continue
        except RuntimeError as error:  # weights of another shape: some networks are made for one picture size
            if state is None:
                raise
            raise StudioError(
                f"the weights of '{timm_name}' do not fit pictures of {image_size[0]} x {image_size[1]} px", "Use the size it was made for."
            ) from error
    raise StudioError(f"'{timm_name}' gives no maps at this picture size", "Choose another backbone, or the picture size it was made for.")


def _named_as_timm(timm_name: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a weight file's tensors timm's names: they have them, or they come in timm's order (the packaged files)."""
    with torch.device("meta"):
        own = timm.create_model(timm_name, num_classes=0).state_dict()
    if set(own) <= set(found):
        return {name: found[name] for name in own}
    matched = dict(zip(own, found.values(), strict=False))
    wrong = [name for name, tensor in own.items() if name not in matched or matched[name].shape != tensor.shape]
    if wrong:
        raise StudioError(f"the weights do not fit '{timm_name}' ({len(wrong)} of {len(own)} tensors, first '{wrong[0]}')", "Choose other weights.")
    return matched


def catalogued(
    name: str, strides: Sequence[int], given: Sequence[int], image_size: tuple[int, int], *, pretrained: bool, drop_path: float = 0.0, **more: Any
) -> MapSource:
    """Build a catalogued backbone as a source of maps.

    Args:
        strides: the maps wanted, the finest first; given: all those that the backbone gives.
        pretrained: load the weights that lie on this machine; without any, they are random.
        more: what timm should know besides, e.g. `output_stride`; left out where it does not know it.

    Raises:
        StudioError: if the weight file is damaged, or the network takes no pictures of this size.
    """
    row = catalogue.backbone(name)
    timm_name = TIMM_NAMES.get(row.name, row.name)
    path = weights.find(row.name) if pretrained else None
    state = _named_as_timm(timm_name, read_weights(path)) if path else None
    net = create(timm_name, image_size, drop_path=drop_path, state=state, **more)
    return MapSource(net, given, strides, norms_stay=state is not None, denser="output_stride" in more)


def stages(backbone: nn.Module) -> list[list[str]]:
    """Return the names of a backbone's weights and buffers, grouped by depth, the stage nearest the picture first."""
    names = list(backbone.state_dict())
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is not None:
        groups = group_with_matcher(((name, None) for name in names), matcher(coarse=False), return_values=False, reverse=False)
        return [groups[depth] for depth in sorted(groups)]
    order: dict[str, list[str]] = {}
    for name in names:  # layers stand in the order they run; the weights of one share its name
        order.setdefault(name.rpartition(".")[0], []).append(name)
    return list(order.values())
