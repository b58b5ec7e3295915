"""A drawn project from a shell to a shipped model: real processes, the worker, kill -9 and resume."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from engine import events, runs
from engine.data import importing, items, marks, projects
from engine.data.marks import Mark
from tests.composed import manifest
from tests.shell import graft, sets

SMALL = ["image_size=96", "epochs=2", "batch_size=4", "precision=fp32", "layout=channels_last", "threads=1", "device=cpu"]
START = "fcos/mobilenetv3_small_100"


@pytest.fixture
def project(home: Path, tmp_path: Path) -> str:
    """A project of pictures with boxes, as an import or a person would leave it."""
    version = manifest(tmp_path / "pictures", "object-detection", count=24)
    made = projects.create("Coins", "object-detection")
    importing.import_path(made.id, tmp_path / "pictures")
    drawn = {entry["name"]: entry["marks"] for entry in version["items"]}
    for item in items.list_items(made.id, limit=100):
        found = [Mark(version["classes"][mark["class"]], "box", {"box": mark["box"]}) for mark in drawn[item.name]]
        marks.replace(item.id, found, None)
    return made.id


@pytest.mark.slow
def test_from_a_project_to_a_shipped_detector(project: str, home: Path, tmp_path: Path) -> None:
    told = graft("estimate", "--project", "Coins", "--start", START, *sets(SMALL))
    assert told["seconds"] > 0
    trained = graft("train", "--project", "Coins", "--start", START, *sets(SMALL), "--wait")
    assert trained["state"] == "finished"
    assert {"map", "map_50"} <= trained["metrics"].keys()
    report = graft("report", trained["run"])
    assert report["metrics"]["map"] == trained["metrics"]["map"]
    assert [row["name"] for row in report["per_class"]] == ["bright coin", "dark coin"]
    assert graft("runs", "--project", "Coins")["runs"][0]["metrics"] == trained["metrics"]
    run = runs.find(trained["run"])
    assert run.path("model.onnx").exists()
    picture = sorted((tmp_path / "pictures").iterdir())[0]
    (answer,) = graft("predict", trained["run"], picture, "--least", "0")["predictions"]
    assert (answer["width"], answer["height"]) == (128, 96)
    assert all(0 <= edge <= 128 for thing in answer["things"] for edge in thing["box"])
    assert Path(graft("export", trained["run"], "--format", "folder", "-o", tmp_path / "out.zip")["file"]).stat().st_size > 1e6


@pytest.mark.slow
def test_a_detector_that_was_killed_ends_as_one_that_was_not(project: str, home: Path) -> None:
    whole = runs.find(graft("train", "--project", "Coins", "--start", START, *sets(SMALL), "--set", "epochs=6", "--wait")["run"])
    cut = runs.find(graft("train", "--project", "Coins", "--start", START, *sets(SMALL), "--set", "epochs=6")["run"])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(
        isinstance(event, events.Epoch) and event.phase == "finetune" for event in events.read_from(cut.events_path, 0)[0]
    ):
        time.sleep(0.05)
    pid = next(event.pid for event in reversed(events.read_from(cut.events_path, 0)[0]) if isinstance(event, events.Started))
    os.kill(pid, signal.SIGKILL)
    while runs.state(cut) == "running":
        time.sleep(0.05)
    assert runs.state(cut) == "interrupted"
    assert graft("resume", cut.id, "--wait")["state"] == "finished"
    ours, theirs = (safetensors.torch.load_file(run.path("best.safetensors")) for run in (cut, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    kept = [np.load(run.path("predictions.npz"))["boxes"] for run in (cut, whole)]
    np.testing.assert_array_equal(*kept)
