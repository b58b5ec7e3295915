"""Whole trainings that tag: what they leave, that they learn real photographs, that they ship what they learnt, and that nothing about them is luck."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.metrics import average_precision_score

from engine import runs, workspace
from engine.data import projects
from engine.evaluation import tag_report, tags
from engine.events import Epoch, Event, Message, Phase, Step, Usable
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
