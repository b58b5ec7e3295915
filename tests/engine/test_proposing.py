"""A project's own model proposes shapes: a really trained run of each task, its exported file, and the pictures nobody has drawn on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import proposing, runs
from engine.data import importing, items, marks, projects, proposals, versions
from engine.data.marks import Mark
from engine.errors import StudioError
from engine.events import Event, Phase
from engine.export import models
from engine.export.predictor import Predictor
from engine.models import catalogue
from engine.recipe import recipe_from
from engine.training import session
from tests.composed import manifest

STARTS = {
    "object-detection": "fcos/mobilenetv3_small_100",
    "semantic-segmentation": "unet/mobilenetv3_small_100",
    "instance-segmentation": "mask_rcnn/mobilenetv3_small_100",
}
LEAST = 0.02  # a few epochs teach it little, and it says so


@dataclass(frozen=True)
class Trained:
    """A project with pictures that are drawn on, some that are not, and a finished run."""

    project: projects.Project
    run: runs.Run
    blank: list[int]

    def propose(self, **asked: Any) -> Any:
        request = {"project_id": self.project.id, "confidence": LEAST, **asked}
        return proposing.propose(request, lambda event: None, lambda done, total: None, lambda: False)


@pytest.fixture(scope="module", params=list(STARTS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    base = tmp_path_factory.mktemp("proposing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(base / "home"))
        patch.setenv("GRAFT_WARM", "0")
        (base / "home").mkdir()
        drawn = {entry["name"]: entry["marks"] for entry in manifest(base / "in", request.param, count=24)["items"]}
        project = projects.create("Coins", request.param)
        importing.import_path(project.id, base / "in")
        everything = items.list_items(project.id, limit=100)
        for item in everything[:18]:
            found = [Mark(("dark", "bright")[one["class"]], one["kind"], one) for one in drawn[item.name]]
            marks.replace(item.id, found, None)
        version = versions.freeze(project.id)
        small: dict[str, Any] = {"image_size": 96, "threads": 1, "epochs": 4, "batch_size": 4, "precision": "fp32", "layout": "channels_last"}
        recipe = recipe_from({"task": request.param, "start": STARTS[request.param], "lr_backbone": 1e-3, **small})
        run = runs.create_run(project.id, recipe, version)
        start = catalogue.resolve(recipe.start, recipe.task)
        session.train(recipe=recipe, manifest=version, start=start, files=session.Files(run.folder), emit=lambda event: None, wish=lambda: None, pressed_t=0.0)
        models.export_run(run)
        yield Trained(project, run, [item.id for item in everything[18:]])


@pytest.fixture(autouse=True)
def afresh(trained: Trained) -> Iterator[None]:
    """The tests share a trained run: each finds the pictures blank."""
    yield
    for item in trained.blank:
        marks.replace(item, [], None, reviewed=False)


def test_what_the_file_finds_is_proposed_and_counts_for_nothing(trained: Trained) -> None:
    before = (projects.summary(trained.project.id), versions.freeze(trained.project.id)["id"])
    done = trained.propose()
    predictor = Predictor(trained.run.path("model.onnx"))
    shapes = 0
    for item in items.get_items(trained.blank):
        found = predictor.answers([predictor.open(item.path)])[0].above(LEAST)
        kept = marks.of_items([item.id])[item.id]
        shapes += len(kept)
        assert [(mark.by, mark.kind) for mark in kept] == [("model", "box" if trained.project.task == "object-detection" else "mask")] * len(kept)
        assert [(mark.label, mark.score) for mark in kept] == [
            (predictor.labels[int(label)], pytest.approx(float(score))) for label, score in zip(found.classes_D, found.scores_D, strict=True)
        ]
        if found.masks is not None:
            assert [mark.geometry for mark in kept] == list(found.masks)
    assert shapes > 0
    assert (done["shapes"], done["looked_at"], done["run"]) == (shapes, len(trained.blank), trained.run.id)
    assert (projects.summary(trained.project.id), versions.freeze(trained.project.id)["id"]) == before
    assert marks.of_items([items.list_ids(trained.project.id)[0]])[items.list_ids(trained.project.id)[0]][0].by == "person"


def test_a_second_round_replaces_the_first_and_people_are_faster(trained: Trained) -> None:
    first = trained.propose()
    drawn, empty, *rest = trained.blank
    marks.replace(drawn, [Mark("dark", "polygon", {"rings": [[1, 1, 20, 1, 20, 20]]})], None)
    marks.replace(empty, [], None)
    second = trained.propose()
    assert second["looked_at"] == len(rest) == first["looked_at"] - 2
    assert proposals.count(trained.project.id).shapes == second["shapes"]
    assert [mark.by for mark in marks.of_items([drawn])[drawn]] == ["person"]
    assert marks.of_items([empty])[empty] == []
    assert trained.propose(confidence=1.0)["shapes"] == 0
    assert proposals.count(trained.project.id).shapes == 0


def test_leaving_keeps_what_was_proposed_until_then(trained: Trained) -> None:
    seen: list[int] = []
    request = {"project_id": trained.project.id, "confidence": LEAST}
    assert proposing.propose(request, lambda event: None, lambda done, total: seen.append(done), lambda: len(seen) == 2) is None
    assert seen == [1, 2]
    assert not any(marks.of_items(trained.blank[2:]).values())


def test_what_cannot_be_read_or_is_no_class_any_more_is_passed_over(trained: Trained) -> None:
    broken = items.get_item(trained.blank[0])
    content = broken.path.read_bytes()
    try:
        broken.path.write_bytes(content[:40])
        items.rename_class(trained.project.id, "dark", "gone")
        done = trained.propose()
        assert done["passed_over"] == {"count": 1, "names": [broken.name], "labels": ["dark"]}
        assert "dark" not in items.classes(trained.project.id)
        assert {mark.label for found in marks.of_items(trained.blank).values() for mark in found} <= {"bright"}
        items.rename_class(trained.project.id, "bright", "lost")
        with pytest.raises(StudioError, match="none of it is a class of this project now"):
            trained.propose()
    finally:
        broken.path.write_bytes(content)
        for old, new in (("gone", "dark"), ("lost", "bright")):
            if old in items.classes(trained.project.id):
                items.rename_class(trained.project.id, old, new)


def test_a_run_without_its_file_has_it_made_first(trained: Trained) -> None:
    told: list[Event] = []
    trained.run.path("model.onnx").unlink()
    proposing.propose({"project_id": trained.project.id}, told.append, lambda done, total: None, lambda: False)
    assert [event.name for event in told if isinstance(event, Phase)] == ["export", "propose"]
    assert trained.run.path("model.onnx").exists()


def test_a_shell_asks_for_them_and_agrees_to_the_sure_ones(trained: Trained) -> None:
    def suggest(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "engine", "suggest", "--project", "Coins", "--json", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    said = json.loads(suggest("--least", str(LEAST), "--agree", "0").stdout)
    assert (said["agreed"], said["open"]) == (said["shapes"], 0)
    assert said["shapes"] > 0
    assert projects.summary(trained.project.id).labelled == 18 + said["pictures"]
    wrong = suggest("--least", "2")
    assert wrong.returncode == 2
    assert "--least is 2" in wrong.stderr


def test_a_project_without_a_finished_run_is_told_what_to_do(home: Path) -> None:
    asked = [(lambda event: None), (lambda done, total: None), (lambda: False)]
    with pytest.raises(StudioError, match="no run of 'New' has finished"):
        proposing.propose({"project_id": projects.create("New", "object-detection").id}, *asked)
    with pytest.raises(StudioError, match="sorts whole pictures"):
        proposing.propose({"project_id": projects.create("Sorted").id}, *asked)
