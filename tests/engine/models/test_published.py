"""Finished detectors: fetched from a hub, used as they are, retrained for other classes, rebuilt from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForObjectDetection

from engine.errors import StudioError
from engine.export import models
from engine.export.predictor import Predictor
from engine.models import build, catalogue, published, weights
from engine.models.dense import finished
from engine.recipe import recipe_from
from engine.training import session
from tests.composed import manifest
from tests.published import CLASSES, KEY, REPOSITORY, Hub, detector, detector_hub  # noqa: F401 (fixtures)

TASK = "object-detection"


def fetched(hub: Hub) -> published.Published:
    published.accept(KEY)
    assert weights.download_published(KEY) == published.find(KEY).folder
    return published.find(KEY)


def test_its_licence_is_asked_for_once_and_its_files_are_checked(home: Path, detector_hub: Hub) -> None:  # noqa: F811
    with pytest.raises(StudioError, match="licence of .* was not accepted"):
        weights.download_published(KEY)
    assert not published.find(KEY).accepted
    detector_hub.cut_after = 100_000
    row = fetched(detector_hub)
    assert row.here
    assert row.accepted
    assert [start for name, start in detector_hub.ranges if name == "model.safetensors"][:3] == [0, 100_000, 200_000]
    for name in published.FILES:
        assert (row.folder / name).read_bytes() == (detector_hub.folder / name).read_bytes()
    asked = len(detector_hub.ranges)
    weights.download_published(KEY)
    assert len(detector_hub.ranges) == asked, "what is here is not fetched again"
    assert json.loads((row.folder / "licence.json").read_bytes())["licence"] == "apache-2.0"


def test_a_file_that_was_changed_on_the_way_is_not_kept(home: Path, detector_hub: Hub) -> None:  # noqa: F811
    published.accept(KEY)
    detector_hub.altered = True
    with pytest.raises(StudioError, match="checksum differs"):
        weights.download_published(KEY)
    assert not published.find(KEY).here


def test_it_answers_as_transformers_does_and_is_exported_with_its_own_classes(home: Path, detector_hub: Hub) -> None:  # noqa: F811
    row = fetched(detector_hub)
    network, spec, origin = build.from_published(published.PREFIX + KEY, (), recipe_from({"task": TASK, "image_size": 128}))
    assert (spec.classes, origin, spec.input_hw) == (CLASSES, "pretrained", (128, 128))
    images = torch.rand(2, 3, 128, 128)
    theirs = AutoModelForObjectDetection.from_pretrained(row.folder).eval()
    with torch.no_grad():
        expected, ours = theirs(images), network.eval()(images)
    assert torch.allclose(ours["logits_BQK"], expected.logits, atol=1e-6)
    assert torch.allclose(ours["boxes_BQ4"], expected.pred_boxes, atol=1e-6)
    predictor = Predictor(models.export_ready(KEY))
    assert predictor.labels == CLASSES
    assert predictor.preprocessing.input_hw == (640, 640)
    assert predictor.origin["licence"] == "apache-2.0"
    assert REPOSITORY in predictor.origin["starting_point"]


def test_it_is_retrained_for_other_classes_and_built_again(home: Path, detector_hub: Hub) -> None:  # noqa: F811
    fetched(detector_hub)
    version = manifest(home / "coins", TASK)
    small = {"image_size": 256, "threads": 1, "epochs": 4, "lr_head": 1e-3, "batch_size": 4, "precision": "fp32", "layout": "contiguous", "phases": "all"}
    recipe, files = recipe_from({"task": TASK, "start": f"ready/{KEY}", **small}), session.Files(home / "run")
    files.folder.mkdir()
    start = catalogue.resolve(recipe.start, TASK)
    assert (start.door, start.head, start.licence) == ("optimized", "rtdetr_v2", "apache-2.0")
    outcome = session.train(recipe=recipe, manifest=version, start=start, files=files, emit=lambda event: None, wish=lambda: None, pressed_t=0.0)
    assert outcome.kind == "finished"
    for name in published.FILES:  # a run needs the published files once only
        (published.find(KEY).folder / name).unlink()
    network, spec = build.from_checkpoint(files.best)
    assert spec.classes == ("dark coin", "bright coin")
    parity = models.export_best(files.best, version, home / "run" / "model.onnx", {"starting_point": start.origin, "licence": start.licence})
    assert parity["passed"]
    with torch.no_grad():
        found = network.decode(network(torch.rand(1, 3, *spec.input_hw)), 10)["detections_BD6"]
    assert np.isfinite(found.numpy()).all()


def test_of_other_classes_nothing_is_kept_though_they_be_as_many(home: Path, detector_hub: Hub) -> None:  # noqa: F811
    row = fetched(detector_hub)
    own, other = finished.load(row.folder, CLASSES), finished.load(row.folder, ("a", "b", "c", "d"))
    mine, theirs = own.head.state_dict(), other.head.state_dict()
    assert any("class_embed" in name and not torch.equal(mine[name], theirs[name]) for name in mine)
    same = [name for name in mine if "class_embed" not in name and "enc_score_head" not in name]
    assert all(torch.equal(mine[name], theirs[name]) for name in same)


@pytest.mark.parametrize(
    ("start", "task", "match"),
    [("ready/coco_rtdetr_v2", TASK, "there is no ready model"), (f"ready/{KEY}", "semantic-segmentation", "is not made for this task")],
)
def test_what_does_not_go_is_a_sentence(home: Path, start: str, task: str, match: str) -> None:
    with pytest.raises(StudioError, match=match):
        catalogue.resolve(start, task)


def test_without_its_files_it_says_how_to_get_them(home: Path) -> None:
    with pytest.raises(StudioError, match="not on this computer yet"):
        build.from_published(published.PREFIX + KEY, (), recipe_from({"task": TASK}))
