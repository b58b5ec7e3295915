"""The dry run: tries what may be tried, keeps what it found."""

from __future__ import annotations

import pytest
import torch

from engine import workspace
from engine.models.build import ModelSpec, build, digest
from engine.recipe import recipe_from
from engine.training import plan as plans

SPEC = ModelSpec("mobilenetv3_small_050", classes=("a", "b"), image_size=32)


def trial(leave: bool = False, **settings: object) -> plans.Trial:
    network, recipe = build(SPEC), recipe_from(settings)
    pictures = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return plans.Trial(network, SPEC, recipe, torch.device("cpu"), 1, lambda count: pictures[:count], lambda: leave)


def test_it_is_measured_once_and_leaves_the_network_alone(home):
    given = trial()
    before = digest(given.network)
    first = plans.for_training(given, plans.for_features(given), 1000)
    assert digest(given.network) == before
    kept = sorted(path.name for path in workspace.cache("estimates").iterdir())
    assert plans.for_training(given, plans.for_features(given), 1000) == first
    assert sorted(path.name for path in workspace.cache("estimates").iterdir()) == kept
    assert plans.Plan.from_json(plans.as_values(first)) == first
    assert first.batch_size == 32
    assert plans.for_training(given, first, 20).batch_size == 5


@pytest.mark.parametrize(("precision", "layout"), [("fp32", "contiguous"), ("bf16", "channels_last")])
def test_what_the_recipe_says_is_not_questioned(home, precision, layout):
    given = trial(precision=precision, layout=layout, batch_size=7)
    found = plans.for_training(given, plans.for_features(given), 1000)
    assert (found.precision, found.layout, found.frozen_precision, found.batch_size) == (precision, layout, precision, 7)


def test_a_batch_that_does_not_fit_is_taken_in_parts(home, monkeypatch):
    given = trial(batch_size=64)
    base = plans.for_features(given)
    whole = plans.for_training(given, base, 1000)
    monkeypatch.setattr(plans, "_MEMORY_SHARE", whole.memory_mb * 0.9 / plans._free_mb(torch.device("cpu")))
    smaller = plans.for_training(given, base, 1000)
    assert smaller.batch_size == 64
    assert smaller.accumulate > 1 == whole.accumulate


def test_it_leaves_when_told(home):
    with pytest.raises(plans.Unfinished):
        plans.for_features(trial(leave=True))


@pytest.mark.parametrize(("pictures", "batch"), [(3, 4), (24, 6), (150, 8), (420, 16), (5000, 32)])
def test_few_pictures_make_small_batches_so_that_a_pass_has_steps(pictures: int, batch: int):
    assert plans.default_batch(torch.device("cpu"), pictures) == batch
