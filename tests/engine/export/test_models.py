"""Runs and ready models as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import workspace
from engine.errors import StudioError
from engine.export import models
from engine.export.predictor import Predictor
from engine.runs import Run


def test_a_run_tells_its_origin_and_was_checked_on_held_out_pictures(shipped: Run) -> None:
    parity = workspace.read_json(shipped.path("parity.json"))
    assert (parity["passed"], parity["n"]) == (True, 8)
    origin = Predictor(shipped.path("model.onnx")).origin
    assert origin["run_id"] == shipped.id
    assert origin["version_id"] == "0f" * 32
    assert "test_resnet" in origin["starting_point"]
    assert origin["licence"] == "apache-2.0"


def test_pictures_that_are_gone_are_passed_over_until_none_is_left(shipped: Run, tmp_path: Path) -> None:
    version = workspace.read_json(shipped.path("version.json"))
    best, out = shipped.path("best.safetensors"), tmp_path / "model.onnx"
    for item in version["items"][1:]:
        item["path"] = str(tmp_path / "gone.jpg")
    version["items"] = [{**item, "split": "test"} for item in version["items"]]
    assert models.export_best(best, version, out, {})["n"] == 1
    version["items"][0]["path"] = str(tmp_path / "gone.jpg")
    with pytest.raises(StudioError, match="no picture is left"):
        models.export_best(best, version, out, {})


def test_a_missing_checkpoint_is_a_sentence(shipped: Run, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="there is no trained model"):
        models.export_best(tmp_path / "best.safetensors", workspace.read_json(shipped.path("version.json")), tmp_path / "m.onnx", {})


def test_the_ready_classifier_knows_a_palace_and_is_made_once(session_home: Path) -> None:
    path = models.export_ready("imagenet_lite0")
    assert path == models.ready_path("imagenet_lite0")
    made = path.stat().st_mtime_ns
    assert models.export_ready("imagenet_lite0").stat().st_mtime_ns == made
    model = Predictor(path)
    assert len(model.labels) == 1000
    palace, daisy = (model.predict([model.open(row)])[0][0][0] for row in models._packaged_pictures()[-2:])
    assert (palace, daisy) == ("palace", "daisy")
    parity = json.loads(models.parity_path("imagenet_lite0").read_bytes())
    assert (parity["passed"], parity["n"]) == (True, 6)


def test_an_unknown_ready_model_is_a_sentence(home: Path) -> None:
    with pytest.raises(StudioError, match="there is no ready model 'imagenet_lite9'"):
        models.export_ready("imagenet_lite9")
