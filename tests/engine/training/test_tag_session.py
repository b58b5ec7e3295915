"""Whole trainings that tag: what they leave, that they learn real photographs, that they ship what they learnt, and that nothing about them is luck."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from sklearn.metrics import average_precision_score

from engine import runs, workspace
from engine.data import projects
from engine.evaluation import tag_report, tags
from engine.events import Epoch, Event, Message, Phase, Step, Usable
from engine.export import tensorrt
from engine.export.folder import deploy_folder
from engine.export.models import export_run
from engine.export.predictor import Predictor
from engine.models import catalogue
from engine.recipe import recipe_from
from engine.training import session
from tests.tagged import CLASSES, manifest

TASK = "multi-label-classification"
SMALL = {"start": "mobilenetv3_small_050", "image_size": 64, "threads": 1, "epochs": 2, "batch_size": 16, "precision": "fp32", "layout": "channels_last"}


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def trained(home: Path, tmp_path: Path) -> Any:
    """Return a function that trains in a folder and gives the outcome, the events and the files."""

    def run(version: dict[str, Any], *, folder: Path | str = "run", wish: Any = lambda events: None, **settings: Any) -> Any:
        recipe = recipe_from({"task": TASK, **SMALL, **settings})
        files = session.Files(tmp_path / folder)
        files.folder.mkdir(exist_ok=True)
        events: list[Event] = []
        start = catalogue.resolve(recipe.start, recipe.task)
        outcome = session.train(recipe=recipe, manifest=version, start=start, files=files, emit=events.append, wish=lambda: wish(events), pressed_t=0.0)
        return outcome, events, files

    return run


def test_a_run_goes_through_its_phases_and_leaves_a_report(home, trained):
    version = manifest(home / "pictures")
    outcome, events, files = trained(version, start="efficientnet_lite0", image_size=96)
    assert outcome.kind == "finished"
    assert [phase.name for phase in of(Phase, events)] == ["read", "features", "head", "finetune", "evaluate"]
    assert all(np.isfinite(step.loss) for step in of(Step, events))
    assert set(of(Usable, events)[0].metrics) == {"map", "macro_f1", "micro_f1", "exact_match", "loss"}
    assert {epoch.phase for epoch in of(Epoch, events)} == {"head", "finetune"}
    report, found = workspace.read_json(files.report), tag_report.read_predictions(files.predictions)
    tested = [item for item in version["items"] if item["split"] == "test"]
    assert (report["task"], report["split"], report["n"]) == (TASK, "test", len(tested))
    assert found.item_ids.tolist() == [item["id"] for item in tested]
    assert [np.flatnonzero(row).tolist() for row in found.targets] == [item["labels"] for item in tested]
    assert report["metrics"]["map"] == outcome.metrics["map"] == pytest.approx(average_precision_score(found.targets, found.probabilities))


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_run_that_was_interrupted_ends_bit_for_bit_the_same(home, trained, stop_at):
    version, settings = manifest(home / "pictures", 96), {"mixup": 0.2, "cutmix": 1.0, "class_balance": "loss", "ema": 0.9}
    whole, _, files = trained(version, folder="whole", **settings)
    leaving = lambda events: "pause" if sum(event.phase == "finetune" for event in of(Step, events)) >= stop_at else None  # noqa: E731
    assert trained(version, folder="cut", wish=leaving, **settings)[0].kind == "paused"
    resumed, _, cut = trained(version, folder="cut", **settings)
    assert resumed == whole
    for name in ("best", "last"):
        ours, theirs = (safetensors.torch.load_file(getattr(row, name)) for row in (cut, files))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (tag_report.read_predictions(cut.predictions).probabilities == tag_report.read_predictions(files.predictions).probabilities).all()


@pytest.mark.parametrize("settings", [{"class_balance": "sampling"}, {"phases": "head", "start": "mlp/mobilenetv3_small_050", "class_balance": "loss"}])
def test_every_way_of_balancing_learns(home, trained, settings):
    outcome, events, _ = trained(manifest(home / "pictures"), epochs=1, **settings)
    assert outcome.kind == "finished"
    assert not [note.text for note in of(Message, events) if "Class balance" in note.text]


def test_it_learns_two_tags_of_real_photographs_and_ships_what_it_learnt(home, trained, tmp_path):
    version = manifest(home / "pictures", 150)
    project = projects.create("Coins and flowers", TASK)
    recipe = recipe_from({"task": TASK, **SMALL, "start": "efficientnet_lite0", "image_size": 96, "epochs": 3})
    run = runs.create_run(project.id, recipe, version)
    trained(version, folder=run.folder, start="efficientnet_lite0", image_size=96, epochs=3)
    report, found = runs.read_report(run), tag_report.read_predictions(run.path("predictions.npz"))
    chance = found.targets.mean()  # ranking by chance has the share of positives as its average precision
    assert report["metrics"]["map"] > chance + 0.3
    assert report["metrics"]["macro_f1"] > 0.75

    assert export_run(run)["passed"]
    predictor = Predictor(run.path("model.onnx"))
    assert (predictor.task, predictor.labels) == (TASK, CLASSES)
    assert list(predictor.thresholds) == report["thresholds"]
    paths = [Path(item["path"]) for item in version["items"] if item["split"] == "test"]
    pictures = [predictor.open(path) for path in paths]
    np.testing.assert_allclose(predictor.probabilities(pictures), found.probabilities, atol=0.02)  # the cache resizes a little differently
    said = [sorted(predictor.labels.index(label) for label, _ in row) for row in predictor.tags(pictures)]
    assert said == [np.flatnonzero(row).tolist() for row in tags.decided(predictor.probabilities(pictures), predictor.thresholds)]
    assert {len(row) for row in said} == {0, 1, 2}

    if importlib.util.find_spec("tensorrt_rtx"):  # there is no wheel for every platform
        engine = tensorrt.build_engine(run.path("model.onnx"), tmp_path / "model.engine")
        assert (engine["bytes"], engine["batches"]) == ((tmp_path / "model.engine").stat().st_size, list(tensorrt.BATCHES))

    with zipfile.ZipFile(deploy_folder(run, tmp_path / "out.zip")) as file:
        file.extractall(tmp_path)
    (folder,) = tmp_path.glob("graft-*")
    command = [sys.executable, folder / "predict.py", "--json", *paths]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [[(entry["label"], entry["probability"]) for entry in json.loads(line)["tags"]] for line in lines]
    assert [[label for label, _ in row] for row in rows] == [[label for label, _ in row] for row in predictor.tags(pictures)]
    card = (folder / "MODEL_CARD.md").read_text()
    assert "| mean average precision |" in card
    assert f"| coin | {report['thresholds'][0]:.2f} |" in card
    assert "which of 2 things a picture shows: coin, flower" in (folder / "README.md").read_text()


def as_run(version: dict[str, Any], **recipe: Any) -> runs.Run:
    project = projects.create("Tags " + str(len(projects.list_projects())), version["task"])
    return runs.create_run(project.id, recipe_from({**SMALL, "task": version["task"], **recipe}), version)


def own_onnx(folder: Path) -> Path:
    """Write a small classifier as somebody else's ONNX file."""
    torch.manual_seed(0)
    network, path = timm.create_model("resnet10t", num_classes=5).eval(), folder / "own.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3, 64, 64),), path, dynamo=False, opset_version=17)
    return path


def sorted_version(version: dict[str, Any]) -> dict[str, Any]:
    """Return the same pictures as sorting sees them: with a flower, or without."""
    entries = [{**{key: value for key, value in item.items() if key != "labels"}, "label": int(1 in item["labels"])} for item in version["items"]]
    return {**version, "task": "image-classification", "items": entries}


@pytest.mark.parametrize("door", ["general", "optimized", "onnx", "run of its own", "run that sorts"])
def test_every_door_leads_to_tagging(home, trained, tmp_path, door):
    version = manifest(home / "pictures")
    start = {"general": "cosine/mobilenetv3_small_050", "optimized": "ready/imagenet_lite0", "onnx": str(own_onnx(tmp_path))}.get(door)
    if start is None:
        before = version if door == "run of its own" else sorted_version(version)
        earlier = as_run(before)
        trained(before, folder=earlier.folder, epochs=1, task=before["task"])
        start = f"run:{earlier.id}"
    run = as_run(version, start=start)
    outcome, events, _ = trained(version, folder=run.folder, start=start, epochs=1)
    assert outcome.kind == "finished"
    assert any("so the last layers are new" in note.text for note in of(Message, events)) == (door == "run that sorts")
    parity = export_run(run)
    assert (parity["passed"], parity["exporter"]) == (True, "graph" if door == "onnx" else "torchscript")
    found = Predictor(run.path("model.onnx"))
    sums = found.probabilities([found.open(Path(item["path"])) for item in version["items"]]).sum(1)
    assert sums.std() > 1e-3  # sigmoids: they sum to anything


def test_the_finished_classifiers_are_offered_for_tagging_too():
    assert catalogue.optimized(TASK) == catalogue.optimized("image-classification") != []


def test_an_estimate_foretells_a_tagging_run(home):
    recipe = recipe_from({"task": TASK, **SMALL, "epochs": 3, "precision": "auto"})
    told = session.estimate(
        recipe=recipe, manifest=manifest(home / "pictures"), start=catalogue.resolve(recipe.start, TASK), emit=lambda event: None, wish=lambda: None
    )
    assert told["seconds"] > 0
    assert told["steps"] == 3 * (32 // told["batch_size"])
