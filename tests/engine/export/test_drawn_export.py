"""Networks that find and outline things, shipped: the file against torch, and its answers against those that were kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine import runs, workspace
from engine.evaluation import answers
from engine.export import for_tensorrt, metadata, models
from engine.export.folder import deploy_folder
from engine.export.jobs import run_export
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


@pytest.fixture(scope="module", params=list(STARTS))
def run(request: pytest.FixtureRequest, session_home: Path) -> Run:
    """A small trained run of each task, with its ONNX file."""
    version = manifest(session_home / "drawn", request.param, count=30)
    small: dict[str, Any] = {"image_size": 96, "threads": 1, "epochs": 4, "batch_size": 4, "precision": "fp32", "layout": "channels_last", "lr_backbone": 1e-3}
    recipe = recipe_from({"task": request.param, "start": STARTS[request.param], **small})
    made = runs.create_run("p", recipe, version)
    start = catalogue.resolve(recipe.start, recipe.task)
    session.train(recipe=recipe, manifest=version, start=start, files=session.Files(made.folder), emit=lambda event: None, wish=lambda: None, pressed_t=0.0)
    models.export_run(made)
    return made


def test_the_file_answers_as_the_network_did(run: Run) -> None:
    parity = workspace.read_json(run.path("parity.json"))
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
        sure = min(5, len(theirs))  # below, nearly equal scores swap: the cache's pixels differ from Pillow's by up to 2 of 255 (engine.data.decoding)
        np.testing.assert_allclose(ours.scores_D[:sure], theirs.scores_D[:sure], atol=1e-3)
        for place in range(sure):
            nearest = np.abs(ours.boxes_D4 - theirs.boxes_D4[place]).max(1).min()
            assert nearest < 1.0


def test_the_file_says_what_it_is(run: Run) -> None:
    proto = onnx.load(run.path("model.onnx"))
    assert {entry.key for entry in proto.metadata_props} == set(metadata.ABOUT_KEYS)
    assert tuple(output.name for output in proto.graph.output) == OUTPUTS[run.recipe.task]
    about = metadata.parse({entry.key: entry.value for entry in proto.metadata_props})
    assert about is not None
    assert (about.task, about.preprocessing.fit, about.preprocessing.fill) == (run.recipe.task, "whole", 114)
    assert about.origin["run_id"] == run.id


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_tensorrt_engine_is_built_from_the_same_answers_in_other_steps(run: Run, precision: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
    if run.recipe.task == "instance-segmentation" and precision == "fp32":
        pytest.skip("half precision takes the same path, and this is slow")
    request = {"run_id": run.id, "format": "tensorrt", "options": {"precision": precision}}
    told = run_export(request, lambda event: None, lambda: False, tmp_path)
    assert told["bytes"] == Path(told["file"]).stat().st_size > 1_000_000
    assert told["parity"]["passed"]
    assert told["parity"]["max_abs"] <= (1e-3 if precision == "fp32" else 0.05)
    assert told["batches"] == [1, 4, 16]
    assert not list(tmp_path.glob("*.onnx"))
    assert told["parity"]["n"] > 1
    for_tensorrt.write(run, tmp_path / "plain.onnx", precision)
    proto = onnx.load(tmp_path / "plain.onnx")
    assert not {node.op_type for node in proto.graph.node} & {"NonMaxSuppression", "NonZero", "RoiAlign", "Loop", "If"}
    halves = sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in proto.graph.initializer)
    assert (halves > 50) == (precision == "fp16")


def test_the_deploy_folder_answers_as_the_studio_does(run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(deploy_folder(run, tmp_path / "run.zip", project_name="Coins")) as file:
        file.extractall(tmp_path)
    folder, predictor = tmp_path / f"graft-{run.id}", Predictor(run.path("model.onnx"))
    for name in ("README.md", "MODEL_CARD.md"):
        text = (folder / name).read_text()
        assert "dark coin" in text
        assert "$" not in text
    files = [item["path"] for item in workspace.read_json(run.path("version.json"))["items"] if item["split"] == "test"][:3]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GRAFT"))}
    command = [sys.executable, str(folder / "predict.py"), "--json", "--least", "0.02", "--draw", str(tmp_path / "out"), *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    for file, line in zip(files, done.stdout.splitlines(), strict=True):
        (expected,) = predictor.answers([predictor.open(Path(file))])
        expected = expected.above(0.0 if run.recipe.task == "semantic-segmentation" else 0.02)
        told = json.loads(line)["things"]
        assert [one["label"] for one in told] == [predictor.labels[label] for label in expected.classes_D]
        assert [one["score"] for one in told] == pytest.approx(expected.scores_D.tolist(), abs=1e-4)
        np.testing.assert_allclose([one["box"] for one in told] or np.zeros((0, 4)), expected.boxes_D4, atol=0.05)
        assert (tmp_path / "out" / f"{Path(file).stem}.png").exists()
