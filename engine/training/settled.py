"""How often a run goes over its pictures where the user left that open: as many times as make a number of steps, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from engine import devices
from engine.recipe import Recipe
from engine.training.plan import default_batch

__all__ = ["BOUNDS", "STEPS", "settled"]

STEPS = {"quick": 300, "balanced": 900, "best": 2400}
"""Steps of the optimizer that each goal aims at. 900 of 8 pictures are 36 passes over 200 pictures."""

BOUNDS = {"quick": (8, 40), "balanced": (12, 60), "best": (30, 160)}
"""Fewest and most passes: every picture is seen in enough variations, and a handful is not learnt by heart."""


def settled(recipe: Recipe, manifest: Mapping[str, Any]) -> Recipe:
    """Return the recipe with its epochs chosen by how many training pictures there are, where they are 0."""
    if recipe.epochs:
        return recipe
    pictures = sum(item["split"] == "train" for item in manifest["items"])
    batch = recipe.batch_size or default_batch(torch.device(devices.choose(recipe.device)), pictures, recipe.task)
    low, high = BOUNDS[recipe.preset]
    return recipe.model_copy(update={"epochs": min(high, max(low, round(STEPS[recipe.preset] / max(1, pictures // batch))))})
