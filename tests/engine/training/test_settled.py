"""Epochs by how many pictures there are."""

from __future__ import annotations

import pytest

from engine.recipe import recipe_from, usual
from engine.training.settled import BOUNDS, settled


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
    assert [usual(task, "balanced")["epochs"] for task in ("image-classification", "object-detection", "semantic-segmentation")] == [8, 0, 0]
