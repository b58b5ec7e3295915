"""Learning rates, freezing, averages."""

from __future__ import annotations

import pytest
import torch

from engine.models.build import ModelSpec, Network, build
from engine.recipe import recipe_from
from engine.training import optim


@pytest.fixture(scope="module")
def network() -> Network:
    return build(ModelSpec("mobilenetv3_small_050", classes=("a", "b"), image_size=32))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "one_cycle"])
def test_the_rate_rises_then_falls(schedule):
    recipe = recipe_from({"schedule": schedule, "warmup": 0.2})
    course = [optim.learning_rate_share(step, 100, recipe) for step in range(100)]
    top = course.index(max(course))
    assert 0 < course[0] < 0.1
    assert max(course) == pytest.approx(1, abs=0.01)
    assert course[: top + 1] == sorted(course[: top + 1])
    assert course[top:] == sorted(course[top:], reverse=True)
    assert course[-1] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=0.02)


@pytest.mark.parametrize(("depth", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_freezing_takes_the_first_share_of_the_stages(network, depth, share):
    stages = network.stages()
    frozen = optim.freeze(network, depth)
    whole = [all(name in frozen for name in stage) for stage in stages]
    assert sum(whole) == round(share * len(stages))
    assert whole == sorted(whole, reverse=True)
    assert all(parameter.requires_grad for parameter in network.head.parameters())


def test_frozen_parts_stay_in_evaluation_mode(network):
    optim.freeze(network, 0.5)
    optim.training_mode(network, keep_statistics=False)
    assert not network.backbone.bn1.training
    assert network.head.training
    optim.freeze(network, 0.0)
    optim.training_mode(network, keep_statistics=True)
    assert not network.backbone.bn1.training
    optim.training_mode(network, keep_statistics=False)
    assert network.backbone.bn1.training


def test_groups_have_their_own_rates_and_spare_biases(network):
    optim.freeze(network, 0.0)
    rows = optim.groups(network, recipe_from({"lr_head": 0.5, "lr_backbone": 0.25, "weight_decay": 0.1}))
    assert {row["lr"] for row in rows} == {0.5, 0.25}
    for row in rows:
        assert all((parameter.ndim > 1) == (row["weight_decay"] > 0) for parameter in row["params"])
    assert sum(len(row["params"]) for row in rows) == len(list(network.parameters()))


def test_an_average_moves_towards_the_weights():
    layer = torch.nn.Linear(2, 2)
    average = optim.Average(layer, 0.9)
    old = average.weights["weight"].clone()
    with torch.no_grad():
        layer.weight += 1
    average.update(layer, step=10_000)
    assert torch.allclose(average.weights["weight"], old + 0.1)
