"""What turns gradients into weights: parameter groups, optimisers, the learning rate's course, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from engine.models.build import Network
from engine.recipe import Recipe

__all__ = ["ONE_CYCLE_RISE", "Average", "decaying", "freeze", "groups", "learning_rate_share", "make", "set_learning_rate", "trainable", "training_mode"]

_MOMENTUM = 0.9
ONE_CYCLE_RISE = 0.3


def freeze(network: Network, depth: float) -> set[str]:
    """Stop the first share of the backbone's stages from learning; return the names of its frozen weights."""
    stages = network.stages()
    frozen = {name for stage in stages[: math.ceil(depth * len(stages) - 1e-9)] for name in stage}
    for name, parameter in network.backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return frozen


def training_mode(network: Network, *, keep_statistics: bool) -> None:
    """Put the network in training mode, all but its wholly frozen parts: these drop nothing and keep their statistics.

    Args:
        network: what is trained.
        keep_statistics: let the backbone's normalisation layers keep the statistics they came with. Else a head learnt on those statistics meets
            other features at the first step: its loss went from 0.3 to 5.6, and small batches estimate statistics badly.
    """
    network.train()
    if keep_statistics:
        for module in network.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that learn."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def groups(network: Network, recipe: Recipe) -> list[dict[str, Any]]:
    """Return parameter groups: head and backbone at their own rates; biases and norms are not pulled towards zero."""
    found: list[dict[str, Any]] = []
    for part, rate in ((network.head, recipe.lr_head), (network.backbone, recipe.lr_backbone)):
        found += decaying(part, rate, recipe.weight_decay)
    return found


def decaying(part: nn.Module, rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameter groups of one part at one learning rate: those that are pulled towards zero, and biases and norms, which are not."""
    found: list[dict[str, Any]] = []
    for decays in (True, False):
        parameters = [parameter for parameter in trainable(part) if (parameter.ndim > 1) is decays]
        if parameters:
            found.append({"params": parameters, "lr": rate, "full_lr": rate, "weight_decay": weight_decay if decays else 0.0})
    return found


def make(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser a recipe asks for."""
    rows = groups(network, recipe)
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adamw": lambda: torch.optim.AdamW(rows, fused=True),
        "adam": lambda: torch.optim.Adam(rows, fused=True),
        "sgd": lambda: torch.optim.SGD(rows, momentum=_MOMENTUM, nesterov=True, fused=True),
        "rmsprop": lambda: torch.optim.RMSprop(rows, momentum=_MOMENTUM),
    }
    return makers[recipe.optimizer]()


def learning_rate_share(step: int, steps: int, recipe: Recipe) -> float:
    """Return which share of the full learning rate step number `step` of `steps` takes."""
    rise = max(recipe.warmup, ONE_CYCLE_RISE) if recipe.schedule == "one_cycle" else recipe.warmup
    rising = rise * steps
    if step < rising:
        done = (step + 1) / (rising + 1)
        return (1 - math.cos(math.pi * done)) / 2 if recipe.schedule == "one_cycle" else done
    done = (step - rising) / max(1.0, steps - rising)
    return {"constant": 1.0, "linear": 1 - done}.get(recipe.schedule, (1 + math.cos(math.pi * done)) / 2)


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> float:
    """Set every group's learning rate to a share of its full one; return the first group's, the head's."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * share
    return float(optimizer.param_groups[0]["lr"])


class Average:
    """A running average of a network's weights and statistics (Polyak & Juditsky 1992), younger ones counting more."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`. The first steps count fully, so that a short run is not held back."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = _floats(self.weights.values()), _floats(network.state_dict().values())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                self.weights[name].copy_(tensor)


def _floats(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]
