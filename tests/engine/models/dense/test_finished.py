"""Finished models of each family: used as they are, retrained for other classes, rebuilt from a checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from engine.errors import StudioError
from engine.export import models
from engine.export.predictor import Predictor
from engine.models import build, catalogue, published, weights
from engine.models.dense import finished
from engine.models.dense.upernet import Pooled
from engine.recipe import recipe_from
from engine.training import optim, session
from tests.composed import manifest
from tests.published import MODELS, SEGMENTER, Finished, Hub, finished_hub, finished_models  # noqa: F401 (fixtures)

every_family = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.key)


def fetched(model: Finished) -> published.Published:
    published.accept(model.key)
    weights.download_published(model.key)
    return published.find(model.key)


def theirs(model: Finished, folder: Path) -> Any:
    return finished.FAMILIES[finished.config_of(folder)["model_type"]].auto.from_pretrained(folder).eval()


@pytest.mark.parametrize("model", [model for model in MODELS if model.made], ids=lambda model: model.key)
def test_it_answers_as_transformers_does(home: Path, finished_hub: Hub, model: Finished) -> None:  # noqa: F811
    row = fetched(model)
    network, spec, origin = build.from_published(published.PREFIX + model.key, (), recipe_from({"task": model.task, "image_size": 160}))
    assert (spec.classes, origin, spec.input_hw) == (model.classes, "pretrained", (160, 160))
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected, ours = theirs(model, row.folder)(images), network.eval()(images)
    if model.task == "semantic-segmentation":
        assert torch.allclose(ours["logits_BKHW"][:, 1:], expected.logits, atol=1e-5)
        assert ours["logits_BKHW"].argmax(1).min() > 0, "no pixel is of the background, which it does not know"
    elif model.task == "instance-segmentation":
        assert torch.allclose(ours["classes"], expected.class_queries_logits, atol=1e-5)
        assert torch.allclose(ours["masks"], expected.masks_queries_logits, atol=1e-4)
    else:
        assert torch.allclose(ours["logits_BQK"], expected.logits, atol=1e-6)
        assert torch.allclose(ours["boxes_BQ4"], expected.pred_boxes, atol=1e-6)


@every_family
def test_it_is_exported_with_its_own_classes(home: Path, finished_hub: Hub, model: Finished) -> None:  # noqa: F811
    row = fetched(model)
    predictor = Predictor(models.export_ready(model.key))
    assert predictor.labels == model.classes
    assert predictor.preprocessing.input_hw == (row.image_size, row.image_size)
    assert predictor.origin["licence"] == row.licence
    assert model.hub in predictor.origin["starting_point"]
    assert len(predictor.answers([predictor.open(models._packaged_pictures()[0])])) == 1


@every_family
def test_it_is_retrained_for_other_classes_and_built_again(home: Path, finished_hub: Hub, model: Finished) -> None:  # noqa: F811
    fetched(model)
    version = manifest(home / "coins", model.task)
    small = {"image_size": 160, "threads": 1, "epochs": 2, "lr_head": 1e-3, "batch_size": 4, "precision": "fp32", "layout": "contiguous", "phases": "all"}
    recipe, files = recipe_from({"task": model.task, "start": f"ready/{model.key}", **small}), session.Files(home / "run")
    files.folder.mkdir()
    start = catalogue.resolve(recipe.start, model.task)
    assert (start.door, start.head) == ("optimized", published.find(model.key).architecture)
    outcome = session.train(recipe=recipe, manifest=version, start=start, files=files, emit=lambda event: None, wish=lambda: None, pressed_t=0.0)
    assert outcome.kind == "finished"
    for name in published.FILES:  # a run needs the published files once only
        (published.find(model.key).folder / name).unlink()
    network, spec = build.from_checkpoint(files.best)
    assert spec.classes == ("dark coin", "bright coin")
    parity = models.export_best(files.best, version, home / "run" / "model.onnx", {"starting_point": start.origin, "licence": start.licence})
    assert parity["passed"]
    with torch.no_grad():
        found = network.decode(network(torch.rand(1, 3, *spec.input_hw)), 10)
    assert all(np.isfinite(tensor.numpy()).all() for tensor in found.values())


@every_family
def test_of_other_classes_nothing_is_kept_though_they_be_as_many(finished_models: dict[str, Path], model: Finished) -> None:  # noqa: F811
    folder = finished_models[model.hub]
    own, other = finished.load(folder, model.classes), finished.load(folder, tuple("abcd"[: len(model.classes)]))
    mine, fresh = own.state_dict(), other.state_dict()
    apart = finished.FAMILIES[finished.config_of(folder)["model_type"]].telling_apart
    changed = {name for name in mine if not torch.equal(mine[name], fresh[name])}
    assert changed
    assert all(any(part in name for part in apart) for name in changed)


@every_family
def test_its_backbone_can_be_frozen_by_depth(finished_models: dict[str, Path], model: Finished) -> None:  # noqa: F811
    network = finished.load(finished_models[model.hub], ("a", "b"))
    names = [name for stage in network.stages() for name in stage]
    assert sorted(names) == sorted(network.backbone.state_dict())
    learning = [parameter.requires_grad for parameter in network.head.parameters()]
    some = optim.freeze(network, 0.5)
    assert 0 < len(some) < len(names)
    assert [parameter.requires_grad for parameter in network.head.parameters()] == learning
    rates = {group["lr"] for group in optim.groups(network, recipe_from({"task": model.task, "lr_head": 1e-3, "lr_backbone": 1e-5}))}
    assert rates == {1e-3, 1e-5}


def test_a_segmenter_learns_with_the_head_beside_it_and_keeps_its_statistics(finished_models: dict[str, Path]) -> None:  # noqa: F811
    network = finished.load(finished_models[SEGMENTER.hub], ("a", "b")).train()
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    parts = network.loss(network(torch.rand(1, 3, 96, 96)), torch.zeros(1, 96, 96, dtype=torch.int64))
    assert set(parts) == {"pixels", "overlap", "beside"}
    sum(parts.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
    assert before
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_a_file_that_lacks_weights_is_refused(finished_models: dict[str, Path], tmp_path: Path) -> None:  # noqa: F811
    shutil.copytree(finished_models[SEGMENTER.hub], tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    found = safetensors.torch.load_file(file)
    del found["decode_head.bottleneck.conv.weight"]
    safetensors.torch.save_file(found, file, {"format": "pt"})
    with pytest.raises(StudioError, match=r"1 are missing, first 'decode_head.bottleneck.conv.weight'.*download them again"):
        finished.load(tmp_path / "model", SEGMENTER.classes)


@pytest.mark.parametrize("side", [(16, 16), (10, 16), (1, 2), (7, 3)])
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_pooling_in_products_gives_the_same_means(side: tuple[int, int], cells: int) -> None:
    x = torch.randn(2, 5, *side)
    assert torch.allclose(Pooled(cells)(x), nn.AdaptiveAvgPool2d(cells)(x), atol=1e-6)
