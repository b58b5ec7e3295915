"""Networks that find and outline things, shipped: the file against torch, and its answers against those that were kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine import runs, workspace
from engine.evaluation import answers
from engine.export import metadata, models
from engine.export.predictor import OUTPUTS, Predictor
from engine.models import catalogue
from engine.recipe import recipe_from
from engine.runs import Run
from engine.training import session
from tests.composed import manifest

STARTS = {
    "object-detection": "fcos/mobilenetv3_small_100",
    "semantic-segmentation": "unet/mobilenetv3_small_100",
    "instance-segmentation": "mask_rcnn/mobilenetv3_small_100",
}


@pytest.fixture(params=list(STARTS))
def run(request: pytest.FixtureRequest, home: Path) -> Run:
    """A small trained run of each task."""
    version = manifest(home / "pictures", request.param, count=30)
    small: dict[str, Any] = {"image_size": 96, "threads": 1, "epochs": 4, "batch_size": 4, "precision": "fp32", "layout": "channels_last", "lr_backbone": 1e-3}
    recipe = recipe_from({"task": request.param, "start": STARTS[request.param], **small})
    made = runs.create_run("p", recipe, version)
    start = catalogue.resolve(recipe.start, recipe.task)
    session.train(recipe=recipe, manifest=version, start=start, files=session.Files(made.folder), emit=lambda event: None, wish=lambda: None, pressed_t=0.0)
    return made


def test_the_file_answers_as_the_network_did(run: Run) -> None:
    parity = models.export_run(run)
    assert parity["passed"]
    assert parity["max_abs"] <= 1e-3
    assert parity["latency_ms"] > 0
    predictor, version = Predictor(run.path("model.onnx")), workspace.read_json(run.path("version.json"))
    assert predictor.task == run.recipe.task
    assert predictor.labels == ("dark coin", "bright coin")
    assert predictor.preprocessing.input_hw == (64, 96)
    kept = answers.read(run.path("predictions.npz"))
    paths = {item["id"]: item["path"] for item in version["items"]}
    found = predictor.answers([predictor.open(Path(paths[row.item_id])) for row in kept])
    for ours, theirs in zip(found, kept, strict=True):
        assert (ours.width, ours.height) == (theirs.width, theirs.height) == (128, 96)
        if run.recipe.task == "semantic-segmentation":
            assert (ours.class_map() == theirs.class_map()).mean() > 0.999
            continue
        sure = min(10, len(theirs))
        np.testing.assert_allclose(ours.scores_D[:sure], theirs.scores_D[:sure], atol=1e-3)
        for place in range(sure):
            nearest = np.abs(ours.boxes_D4 - theirs.boxes_D4[place]).max(1).min()
            assert nearest < 1.0


def test_the_file_says_what_it_is(run: Run) -> None:
    models.export_run(run)
    proto = onnx.load(run.path("model.onnx"))
    assert {entry.key for entry in proto.metadata_props} == set(metadata.ABOUT_KEYS)
    assert tuple(output.name for output in proto.graph.output) == OUTPUTS[run.recipe.task]
    about = metadata.parse({entry.key: entry.value for entry in proto.metadata_props})
    assert about is not None
    assert (about.task, about.preprocessing.fit, about.preprocessing.fill) == (run.recipe.task, "whole", 114)
    assert about.origin["run_id"] == run.id
