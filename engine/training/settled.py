"""What a run takes where the user left it open, and what of the recipe the network that was built cannot follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from engine import devices
from engine.recipe import Recipe, usual
from engine.training.plan import default_batch

__all__ = ["BATCH_NORM_RATE", "BOUNDS", "OTHER_RATE", "STEPS", "for_network", "settled"]

STEPS = {"quick": 300, "balanced": 900, "best": 2400}
"""Steps of the optimizer that each goal aims at. 900 of 8 pictures are 36 passes over 200 pictures."""

BOUNDS = {"quick": (8, 40), "balanced": (12, 60), "best": (30, 160)}
"""Fewest and most passes: every picture is seen in enough variations, and a handful is not learnt by heart."""

BATCH_NORM_RATE, OTHER_RATE = 5e-4, 2e-4
"""Learning rates of a backbone with and without batch normalisation, which bears larger steps: what scales a layer's weights does not change what
comes out of it (Hoffer et al. 2018, https://arxiv.org/abs/1803.01814). Compared in benchmarks/RESULTS.md."""


def settled(recipe: Recipe, manifest: Mapping[str, Any]) -> Recipe:
    """Return the recipe with its epochs chosen by how many training pictures there are, where they are 0."""
    if recipe.epochs:
        return recipe
    pictures = sum(item["split"] == "train" for item in manifest["items"])
    batch = recipe.batch_size or default_batch(torch.device(devices.choose(recipe.device)), pictures, recipe.task)
    low, high = BOUNDS[recipe.preset]
    return recipe.model_copy(update={"epochs": min(high, max(low, round(STEPS[recipe.preset] / max(1, pictures // batch))))})


def for_network(recipe: Recipe, backbone: nn.Module, *, scratch: bool, pooled: bool) -> Recipe:
    """Return the recipe as this network can follow it.

    Its backbone's learning rate is chosen by what the backbone is made of, where it is 0. A backbone without weights cannot learn, so only the head does;
    and a head on maps of features that say nothing yet would be learnt for nothing, so from scratch everything learns at once;
    nor does a goal freeze anything then.
    """
    changed: dict[str, Any] = {}
    if scratch and recipe.freeze_depth == usual(recipe.task, recipe.preset)["freeze_depth"]:
        changed["freeze_depth"] = 0.0
    if not recipe.lr_backbone:
        normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())
        changed["lr_backbone"] = BATCH_NORM_RATE if normalised else OTHER_RATE
    if recipe.phases != "head" and not any(True for _ in backbone.parameters()):
        changed["phases"] = "head"
    elif scratch and not pooled and recipe.phases == "head_then_all":
        changed["phases"] = "all"
    return recipe.model_copy(update=changed) if changed else recipe
