"""Epochs by how many pictures there are, the backbone's rate by what it is made of."""

from __future__ import annotations

import pytest
import timm
from torch import nn

from engine.recipe import recipe_from, usual
from engine.training.settled import BATCH_NORM_RATE, BOUNDS, OTHER_RATE, for_network, settled


@pytest.mark.parametrize(
    ("preset", "pictures", "epochs"),
    [
        ("balanced", 205, 36),  # batches of 8: 25 steps a pass
        ("balanced", 12, 60),
        ("balanced", 20_000, 12),
        ("quick", 205, 12),
        ("best", 205, 96),
    ],
)
def test_few_pictures_are_gone_over_more_often(preset: str, pictures: int, epochs: int) -> None:
    recipe = recipe_from({"task": "object-detection", "device": "cpu"}, preset=preset)
    manifest = {"items": [{"split": "train"}] * pictures + [{"split": "test"}] * 50}
    assert settled(recipe, manifest).epochs == epochs
    assert BOUNDS[preset][0] <= epochs <= BOUNDS[preset][1]


def test_what_the_user_sets_stands() -> None:
    recipe = recipe_from({"task": "object-detection", "epochs": 3})
    assert settled(recipe, {"items": [{"split": "train"}]}) is recipe


def test_tasks_with_drawn_labels_leave_it_open() -> None:
    assert [usual(task, "balanced")["epochs"] for task in ("image-classification", "object-detection", "semantic-segmentation")] == [12, 0, 0]


@pytest.mark.parametrize("scratch", [True, False])
def test_first_layers_that_know_nothing_are_not_frozen(scratch: bool) -> None:
    recipe = recipe_from({"preset": "balanced"})
    assert recipe.freeze_depth > 0
    assert for_network(recipe, nn.Conv2d(3, 4, 1), scratch=scratch, pooled=True).freeze_depth == (0 if scratch else recipe.freeze_depth)


@pytest.mark.parametrize(("backbone", "rate"), [("resnet18", BATCH_NORM_RATE), ("vit_tiny_patch16_224", OTHER_RATE), ("convnext_atto", OTHER_RATE)])
def test_a_backbone_that_normalises_over_batches_takes_larger_steps(backbone: str, rate: float) -> None:
    network = timm.create_model(backbone, pretrained=False)
    assert for_network(recipe_from({}), network, scratch=False, pooled=True).lr_backbone == rate
    assert for_network(recipe_from({"lr_backbone": 1e-5}), network, scratch=False, pooled=True).lr_backbone == 1e-5


@pytest.mark.parametrize(
    ("learns", "scratch", "pooled", "phases"),
    [(True, False, False, "head_then_all"), (True, True, True, "head_then_all"), (True, True, False, "all"), (False, False, True, "head")],
)
def test_phases_are_what_the_network_can_do(learns: bool, scratch: bool, pooled: bool, phases: str) -> None:
    backbone = nn.Conv2d(3, 4, 1) if learns else nn.ReLU()
    assert for_network(recipe_from({}), backbone, scratch=scratch, pooled=pooled).phases == phases
    assert for_network(recipe_from({"phases": "head"}), backbone, scratch=scratch, pooled=pooled).phases == "head"
