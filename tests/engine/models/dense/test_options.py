"""Settings of a recipe as options of an architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import StudioError
from engine.models import build, catalogue
from engine.models.dense.options import SETTINGS, idle_settings, options_of
from engine.models.dense.table import ARCHITECTURES, architecture
from engine.recipe import Recipe, recipe_from, settings


@pytest.mark.parametrize(
    ("head", "values", "options"),
    [
        ("fcos", {}, {}),
        ("fcos", {"head_width": 160, "head_layers": 4, "head_light": "on"}, {"width": 160, "convs": 4, "light": True}),
        ("ssd", {"head_light": "off", "anchor_size": 2}, {"light": False}),
        ("retinanet", {"anchor_size": 2}, {"anchor": 2}),
        ("faster_rcnn", {"finest_map": "4", "queries": 50}, {"finest": 4}),
        ("dfine", {"head_width": 96, "queries": 60, "head_layers": 2}, {"hidden": 96, "queries": 60, "layers": 2}),
        ("deeplabv3", {"output_stride": "8", "dice": "off"}, {"output_stride": 8, "dice": False}),
    ],
)
def test_settings_become_options(head: str, values: dict[str, Any], options: dict[str, Any]) -> None:
    recipe = recipe_from({"task": architecture(head).task, **values})
    assert options_of(architecture(head), recipe.model_dump()) == options


def test_a_value_that_the_architecture_does_not_take_is_a_sentence() -> None:
    with pytest.raises(StudioError, match="'width' cannot be 512") as told:
        options_of(architecture("fcos"), {"head_width": 512})
    assert told.value.remedy == "Use 64 to 256 in steps of 32."


def test_every_option_can_be_set_and_every_setting_is_one() -> None:
    names = {name for names in SETTINGS.values() for name in names}
    assert {name for row in ARCHITECTURES.values() for name in row.options} == names
    for row in ARCHITECTURES.values():
        shown = {one.key for one in settings(row.task)}
        assert set(SETTINGS) - set(idle_settings(row.name)) <= shown, row.name
    assert set(SETTINGS) <= set(Recipe.model_fields)
    assert set(idle_settings("")) == set(SETTINGS)


@pytest.mark.parametrize(("head", "values"), [("fcos", {"head_width": 160}), ("dfine", {"head_width": 96, "queries": 50}), ("unet", {"head_width": 96})])
def test_a_network_is_built_with_them_kept_and_built_again(head: str, values: dict[str, Any], tmp_path: Path) -> None:
    start = catalogue.resolve(f"{head}/mobilenetv3_small_100", architecture(head).task)
    recipe = recipe_from({"task": architecture(head).task, "start": start.key, "image_size": 64, **values})
    network, spec, _ = build.from_start(start, recipe, ("a", "b"))
    plain, _, _ = build.from_start(start, recipe_from({**recipe.model_dump(), **dict.fromkeys(values, 0)}), ("a", "b"))
    sizes = [sum(weights.numel() for weights in one.head.parameters()) for one in (network, plain)]
    assert sizes[0] != sizes[1]
    build.save(network.state_dict(), spec, tmp_path / "best.safetensors")
    again, told = build.from_checkpoint(tmp_path / "best.safetensors")
    assert dict(told.options) == dict(spec.options)
    images = torch.rand(1, 3, 64, 64)
    first, second = (one.eval().decode(one.eval()(images), 5) for one in (network, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
