"""Whole trainings of the tasks with drawn labels: what they leave, that they learn, and that nothing about them is luck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from engine import workspace
from engine.errors import StudioError
from engine.evaluation import answers
from engine.events import Epoch, Event, Message, Phase, Step, Usable
from engine.models import catalogue
from engine.recipe import recipe_from
from engine.training import session
from tests.composed import manifest

TASKS = {
    "object-detection": "fcos/mobilenetv3_small_100",
    "semantic-segmentation": "unet/mobilenetv3_small_100",
    "instance-segmentation": "mask_rcnn/mobilenetv3_small_100",
}
METRIC = {"object-detection": "map", "semantic-segmentation": "miou", "instance-segmentation": "map"}
SMALL = {"image_size": 96, "threads": 1, "epochs": 2, "batch_size": 4, "precision": "fp32", "layout": "channels_last"}


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def trained(home: Path, tmp_path: Path) -> Any:
    """Return a function that trains in a folder and gives the outcome, the events and the files."""

    def run(version: dict[str, Any], *, folder: str = "run", wish: Any = lambda events: None, **settings: Any) -> Any:
        (tmp_path / folder).mkdir(exist_ok=True)
        recipe = recipe_from({"task": version["task"], "start": TASKS[version["task"]], **SMALL, **settings})
        events: list[Event] = []
        files = session.Files(tmp_path / folder)
        outcome = session.train(
            recipe=recipe,
            manifest=version,
            start=catalogue.resolve(recipe.start, recipe.task),
            files=files,
            emit=events.append,
            wish=lambda: wish(events),
            pressed_t=0.0,
        )
        return outcome, events, files

    return run


@pytest.mark.parametrize("task", TASKS)
def test_a_run_goes_through_its_phases_and_leaves_a_report(home, trained, task):
    version = manifest(home / "pictures", task)
    start = TASKS[task].replace("mobilenetv3_small_100", "efficientnet_lite0")
    outcome, events, files = trained(version, start=start, mosaic=0.5, copy_paste=0.5)
    assert outcome.kind == "finished"
    assert [phase.name for phase in of(Phase, events)] == ["read", "features", "head", "finetune", "evaluate"]
    assert [step.step for step in of(Step, events)] == list(range(1, outcome.step + 1))
    assert all(np.isfinite(step.loss) for step in of(Step, events))
    assert METRIC[task] in of(Usable, events)[0].metrics
    assert [epoch.phase for epoch in of(Epoch, events)] == ["head", "head", "finetune", "finetune"]
    report, found = workspace.read_json(files.report), answers.read(files.predictions)
    tested = [item for item in version["items"] if item["split"] == "test"]
    assert (report["task"], report["split"], report["n"]) == (task, "test", len(tested))
    assert outcome.metrics[METRIC[task]] == report["metrics"][METRIC[task]]
    assert [row.item_id for row in found] == [item["id"] for item in tested]
    for row in found:
        assert (row.width, row.height) == (128, 96)
        assert (row.boxes_D4 >= 0).all()
        assert (row.boxes_D4 <= (128, 96, 128, 96)).all()
        assert (row.masks is None) == (task == "object-detection" or not len(row))


INTERRUPTED = [
    ("object-detection", 1, {"mosaic": 0.5, "ema": 0.9}),
    ("object-detection", 4, {"class_balance": "sampling", "rotate_degrees": 20}),
    ("semantic-segmentation", 3, {}),
    ("instance-segmentation", 2, {"copy_paste": 0.7}),
]


@pytest.mark.parametrize(("task", "stop_at", "settings"), INTERRUPTED)
def test_a_run_that_was_interrupted_ends_bit_for_bit_the_same(home, trained, task, stop_at, settings):
    version = manifest(home / "pictures", task)
    whole, _, files = trained(version, folder="whole", **settings)
    leaving = lambda events: "pause" if sum(event.phase == "finetune" for event in of(Step, events)) >= stop_at else None  # noqa: E731
    assert trained(version, folder="cut", wish=leaving, **settings)[0].kind == "paused"
    resumed, _, cut = trained(version, folder="cut", **settings)
    assert resumed == whole
    for name in ("best", "last"):
        ours, theirs = (safetensors.torch.load_file(getattr(row, name)) for row in (cut, files))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "count", "epochs", "least"), [("object-detection", 48, 12, 0.15), ("semantic-segmentation", 48, 12, 0.4), ("instance-segmentation", 32, 5, 0.2)]
)
def test_it_learns(home, trained, task, count, epochs, least):
    """Saying nothing scores 0 on things and about 0.28 on pixels (the background is right, two classes are not)."""
    version = manifest(home / "pictures", task, count=count)
    start = {"object-detection": "fcos", "semantic-segmentation": "unet", "instance-segmentation": "mask_rcnn"}[task]
    outcome, _, _ = trained(version, epochs=epochs, start=f"{start}/efficientnet_lite0", image_size=128)
    assert outcome.metrics[METRIC[task]] > least


def test_without_weights_everything_learns_from_the_first_step(home, trained):
    outcome, events, _ = trained(manifest(home / "pictures", "object-detection"), epochs=1)
    assert [phase.name for phase in of(Phase, events)] == ["finetune", "evaluate"]
    assert len(of(Usable, events)) == 1
    assert outcome.kind == "finished"


def test_settings_of_other_tasks_are_said_to_have_no_effect(home, trained):
    _, events, _ = trained(manifest(home / "pictures", "object-detection"), phases="head", label_smoothing=0.2, mixup=0.3)
    said = [message.text for message in of(Message, events)]
    assert any("not for this kind of task, so these settings have no effect: Label smoothing, Mixup" in text for text in said)


@pytest.mark.parametrize(
    ("start", "task", "said"),
    [
        ("linear/efficientnet_lite0", "object-detection", "not made for this task"),
        ("fcos/efficientnet_lite0", "image-classification", "not made for this task"),
        ("nothing/efficientnet_lite0", "object-detection", "no head 'nothing'"),
    ],
)
def test_starting_points_of_the_wrong_kind_are_refused(start, task, said):
    with pytest.raises(StudioError, match=said):
        catalogue.resolve(start, task)


def test_a_bare_backbone_gets_what_the_task_needs():
    assert [catalogue.resolve("resnet18", task).key for task in TASKS] == ["fcos/resnet18", "unet/resnet18", "mask_rcnn/resnet18"]
