"""A setting that does nothing is said to do nothing, and one that does something is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.recipe import recipe_from, settings
from engine.training.ignored import Circumstances, ignored

USUAL = Circumstances(door="general", device="cpu", train=600, val=100, solved=True, blends=("mixup", "cutmix"), pooled=True, drops_paths=True)


@pytest.mark.parametrize(
    ("values", "met", "reason", "named"),
    [
        ({"phases": "head", "epochs": 3}, {}, "Only the new last layers learn", ["Epochs"]),
        ({"phases": "head", "rotate_degrees": 45.0, "mixup": 0.5}, {}, "Only the new last layers learn", ["Rotate", "Mixup"]),
        ({"phases": "head", "lr_head": 0.1}, {}, "solved exactly", ["Learning rate, head"]),
        ({"freeze_depth": 1.0, "lr_backbone": 0.1}, {}, "whole backbone is frozen", ["Learning rate, backbone"]),
        ({"drop_path": 0.2}, {"drops_paths": False}, "no branches", ["Stochastic depth"]),
        ({"cutmix": 1.0}, {"blends": ()}, "are not joined", ["CutMix"]),
        ({"reuse_depth": 0.5}, {}, "earlier run", ["Reused share of an earlier run"]),
        ({"cut": "x"}, {}, "ONNX", ["Cut"]),
        ({"threads": 1}, {"device": "cuda"}, "graphics processor", ["Processor threads"]),
        ({"patience": 3}, {"val": 0}, "no validation pictures", ["Early stopping"]),
        ({"patience": 8, "epochs": 8}, {}, "ends after 8 epochs anyway", ["Early stopping"]),
        ({"schedule": "one_cycle", "warmup": 0.2}, {}, "one-cycle schedule rises over 30%", ["Warm-up"]),
        ({"output_stride": "8", "task": "semantic-segmentation"}, {"stride": 32, "head": "fcn", "pooled": False}, "cannot be made finer", ["Coarsest map"]),
        ({"batch_size": 601}, {}, "only 600 training pictures", ["Batch size"]),
    ],
)
def test_what_does_nothing_is_said_once(values: dict[str, Any], met: dict[str, Any], reason: str, named: list[str]) -> None:
    (sentence,) = ignored(recipe_from(values), replace(USUAL, **met))
    assert reason in sentence
    assert sentence.endswith("no effect: " + ", ".join(named) + ".")


@pytest.mark.parametrize(
    ("values", "met"),
    [
        ({}, {}),
        ({"preset": "quick"}, {}),
        ({"preset": "best"}, {}),
        ({"preset": "best", "phases": "head"}, {}),  # the goal set the rest, not the user
        ({"phases": "head", "lr_head": 0.1}, {"solved": False}),
        ({"reuse_depth": 0.5}, {"door": "run"}),
        ({"cut": "x"}, {"door": "onnx"}),
        ({"patience": 3, "epochs": 8}, {}),
        ({"schedule": "one_cycle", "warmup": 0.4}, {}),
        ({"output_stride": "16", "task": "semantic-segmentation"}, {"stride": 16, "head": "fcn", "pooled": False}),
        ({"batch_size": 600, "threads": 1, "drop_path": 0.2, "cutmix": 1.0}, {}),
    ],
)
def test_what_does_something_is_not_complained_about(values: dict[str, Any], met: dict[str, Any]) -> None:
    assert ignored(recipe_from(values), replace(USUAL, **met)) == []


@pytest.mark.parametrize(("door", "idle"), [("general", False), ("onnx", False), ("optimized", True), ("run", True)])
def test_what_comes_with_a_finished_model_cannot_be_set(door: str, idle: bool) -> None:
    met = replace(USUAL, door=door, pooled=False, solved=False, head="rtdetr_v2")
    said = [sentence for sentence in ignored(recipe_from({"task": "object-detection", "queries": 50}), met) if "comes with the starting point" in sentence]
    assert len(said) == idle
    title = next(row.title for row in settings() if row.key == "queries")
    assert all(sentence.endswith(f"no effect: {title}.") for sentence in said)


def test_several_reasons_are_several_sentences_and_name_each_setting_once() -> None:
    sentences = ignored(recipe_from({"phases": "head", "drop_path": 0.2, "reuse_depth": 0.5}), replace(USUAL, drops_paths=False))
    assert len(sentences) == 2
    assert sum("Stochastic depth" in sentence for sentence in sentences) == 1
