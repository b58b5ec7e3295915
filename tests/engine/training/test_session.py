"""Whole trainings, in this process: what they leave, and that nothing about them is luck."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from engine import workspace
from engine.data import cache
from engine.errors import StudioError
from engine.evaluation.report import read_predictions
from engine.events import Ended, Epoch, Event, Message, Phase, Plan, Started, Step, Usable
from engine.models import build, catalogue
from engine.recipe import recipe_from
from engine.training import session


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def print_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def after(step: int, wish: str) -> Any:
    """Wish for something once that many steps of fine-tuning are done."""
    return lambda events: wish if sum(event.phase == "finetune" for event in of(Step, events)) >= step else None


def test_a_run_goes_through_its_phases_and_leaves_a_report(digits, trained):
    outcome, events, files = trained(digits())
    assert outcome.kind == "finished"
    assert [phase.name for phase in of(Phase, events)] == ["read", "features", "head", "finetune", "evaluate"]
    assert outcome.step == max(step.step for step in of(Step, events))
    assert [step.step for step in of(Step, events)] == list(range(1, outcome.step + 1))
    report, answers = workspace.read_json(files.report), read_predictions(files.predictions)
    assert report["split"] == "test"
    assert len(answers) == report["n"] == 20
    assert np.allclose(answers.probabilities.sum(1), 1, atol=1e-5)
    assert outcome.metrics["accuracy"] == report["metrics"]["accuracy"] == float((answers.predicted == answers.labels).mean())
    assert not of(Ended, events)


def test_it_learns(digits, trained):
    outcome, events, _ = trained(digits(300), phases="head")
    assert outcome.metrics["accuracy"] > 0.6  # chance is 0.1; the backbone is random, its features are not nothing
    assert of(Usable, events)[0].metrics["accuracy"] > 0.6
    assert of(Epoch, events)[-1].train_loss < 2.0


def test_fine_tuning_learns_from_scratch(digits, trained):
    outcome, events, _ = trained(digits(200, classes=2), phases="all", epochs=6, lr_backbone=2e-3, rotate_degrees=0, crop_min=0.9, flip_horizontal=False)
    assert outcome.metrics["accuracy"] > 0.9
    assert len(of(Usable, events)) == 1


def test_the_backbone_learns_at_a_rate_that_nobody_set(digits, trained):
    _, _, files = trained(digits(60), phases="all", epochs=1)
    weights = safetensors.torch.load_file(files.best)
    network, spec = build.from_checkpoint(files.best)
    before = build.build(spec, seed=0).state_dict()
    learnt = [name for name, _ in network.backbone.named_parameters(prefix="backbone") if not torch.equal(weights[name], before[name])]
    assert len(learnt) == sum(1 for _ in network.backbone.parameters())


def test_the_kept_model_is_never_worse_than_the_head(digits, trained):
    outcome, events, files = trained(digits(), lr_backbone=1.0, lr_head=1.0, epochs=1)  # ruins the network
    head = of(Usable, events)[0].metrics["accuracy"]
    assert outcome.metrics["val_accuracy"] >= head - 0.06  # the head was chosen on the same pictures
    assert workspace.read_json(files.report)["best_phase"] == "head"


@pytest.mark.parametrize("preset", ["quick", "balanced", "best"])
def test_every_preset_finishes(digits, trained, preset):
    outcome, _, _ = trained(digits(60), preset=preset, epochs=1)
    assert outcome.kind == "finished"


@pytest.mark.parametrize("head", ["linear", "mlp", "cosine"])
def test_every_head_learns(digits, trained, head):
    outcome, _, files = trained(digits(240, classes=3), start=f"{head}/mobilenetv3_small_050", phases="head")
    assert outcome.metrics["accuracy"] > 0.7
    assert build.from_checkpoint(files.best)[1].head == head


INTERRUPTED = [  # 3 steps an epoch, 2 epochs
    (1, {"mixup": 0.4, "erase": 0.5}),
    (2, {"cutmix": 1.0, "class_balance": "loss"}),
    (3, {"ema": 0.9, "class_balance": "sampling", "optimizer": "sgd"}),
    (4, {"optimizer": "rmsprop", "schedule": "one_cycle", "dropout": 0.5, "drop_path": 0.2}),
    (6, {"optimizer": "adam", "freeze_depth": 0.5, "precision": "bf16"}),
]


@pytest.mark.parametrize(("stop_at", "settings"), INTERRUPTED)
def test_a_run_that_was_interrupted_ends_bit_for_bit_the_same(digits, trained, settings, stop_at):
    manifest = digits(72)
    whole, _, files = trained(manifest, folder="whole", **settings)
    paused, _, _ = trained(manifest, folder="cut", wish=after(stop_at, "pause"), **settings)
    assert paused.kind == "paused"
    resumed, events, cut_files = trained(manifest, folder="cut", **settings)
    assert resumed == whole
    assert [step.step for step in of(Step, events)] == list(range(paused.step + 1, whole.step + 1))
    for name in ("best", "last"):
        ours, theirs = (safetensors.torch.load_file(getattr(row, name)) for row in (cut_files, files))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert np.array_equal(read_predictions(files.predictions).probabilities, read_predictions(cut_files.predictions).probabilities)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits, trained):
    manifest = digits(60)
    prints = [print_of(trained(manifest, folder=str(number), seed=seed, phases="all", epochs=1)[2].best) for number, seed in enumerate((1, 1, 2))]
    assert prints[0] == prints[1] != prints[2]


def test_stop_keeps_the_best_and_reports(digits, trained):
    outcome, _, files = trained(digits(60), wish=after(1, "stop"))
    assert outcome.kind == "stopped"
    assert outcome.metrics["accuracy"] is not None
    assert files.report.exists()


def test_leaving_before_there_is_anything_to_keep(digits, trained):
    outcome, _, files = trained(digits(60), wish=lambda events: "pause")
    assert outcome.kind == "paused"
    assert not files.best.exists()
    again, _, _ = trained(digits(60), folder="other", wish=lambda events: "stop")
    assert (again.kind, again.metrics) == ("stopped", {})


def test_a_damaged_checkpoint_gives_way_to_the_one_before(digits, trained):
    manifest = digits(72)
    whole, _, files = trained(manifest, folder="whole")
    trained(manifest, folder="cut", wish=after(2, "pause"))
    _, _, cut = trained(manifest, folder="cut", wish=lambda events: "pause" if len(of(Step, events)) >= 2 else None)
    content = bytearray(cut.last.read_bytes())
    content[len(content) // 2] ^= 1
    cut.last.write_bytes(content)
    resumed, events, _ = trained(manifest, folder="cut")
    assert any("damaged" in message.text for message in of(Message, events))
    assert of(Started, events)[0].step == of(Step, events)[0].step - 1
    assert resumed == whole
    assert print_of(cut.best) == print_of(files.best)


def test_a_loss_that_is_no_number_ends_with_a_reason_and_keeps_the_head(digits, trained, tmp_path):
    with pytest.raises(StudioError, match="no longer a number.*lower") as caught:
        trained(digits(60), lr_backbone=10.0, lr_head=10.0, clip_norm=0, optimizer="sgd", epochs=40, phases="head_then_all", warmup=0)
    assert "kept" in caught.value.remedy
    build.from_checkpoint(tmp_path / "run" / "best.safetensors")


def test_a_frozen_share_keeps_its_weights(digits, trained):
    manifest = digits(60)
    _, _, files = trained(manifest, phases="all", freeze_depth=0.5, epochs=1)
    trained_network, spec = build.from_checkpoint(files.best)
    before = build.build(spec).backbone.state_dict()
    stages, now = trained_network.stages(), trained_network.backbone.state_dict()
    half = round(len(stages) / 2)
    assert all(torch.equal(before[name], now[name]) for stage in stages[:half] for name in stage)
    assert not all(torch.equal(before[name], now[name]) for name in stages[-1])


def test_a_second_head_run_needs_no_features(digits, trained):
    manifest = digits(60)
    trained(manifest, folder="first", phases="head")
    cache = sorted(workspace.cache("features").iterdir())
    stamps = [path.stat().st_mtime_ns for path in cache]
    outcome, _, _ = trained(manifest, folder="second", phases="head", label_smoothing=0.0)
    assert outcome.kind == "finished"
    assert [path.stat().st_mtime_ns for path in sorted(workspace.cache("features").iterdir())] == stamps


def test_a_run_can_start_from_a_run(digits, home, trained, tmp_path):
    manifest = digits(60)
    _, _, files = trained(manifest, folder="first", phases="all", epochs=1)
    run = home / "projects" / "p" / "runs" / "run-first"
    run.parent.mkdir(parents=True)
    files.folder.rename(run)
    (run / "recipe.json").write_text(recipe_from({"start": "mobilenetv3_small_050"}).model_dump_json())
    start = catalogue.Start("run", "run:run-first", "linear", "mobilenetv3_small_050", "run-first", "first", "", "")
    earlier, spec = build.from_checkpoint(run / "best.safetensors")
    recipe = recipe_from({"start": "run:run-first", "image_size": 32})
    same, _, origin = build.from_start(start, recipe, spec.classes)
    assert origin == "run and head"
    assert build.digest(same) == build.digest(earlier)
    fewer, fewer_spec, origin = build.from_start(start, recipe.model_copy(update={"reuse_depth": 0.5}), ("a", "b"))
    assert (origin, fewer_spec.classes) == ("run", ("a", "b"))
    stages, theirs, ours = earlier.stages(), earlier.backbone.state_dict(), fewer.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in stages[0])
    assert not all(torch.equal(ours[name], theirs[name]) for name in stages[-1])


def test_the_plan_is_kept_with_the_run(digits, trained):
    _, events, files = trained(digits(60), precision="auto", layout="auto")
    plan = workspace.read_json(files.plan)
    assert plan == {**of(Plan, events)[-1].values, "table": list(of(Plan, events)[-1].values["table"])}
    assert plan["precision"] in ("fp32", "bf16")
    assert sum(row["chosen"] for row in plan["table"]) == 1


def test_an_estimate_foretells_without_training(digits, home):
    manifest, recipe = digits(60), recipe_from({"start": "mobilenetv3_small_050", "image_size": 32, "threads": 1, "epochs": 3})
    found = session.estimate(recipe=recipe, manifest=manifest, start=catalogue.resolve(recipe.start), emit=lambda event: None, wish=lambda: None)
    assert found["steps"] == 3 * (40 // found["batch_size"])
    assert found["seconds"] > 0
    assert found["memory_mb"] > 50
    assert catalogue.measured_speed("mobilenetv3_small_050") == found["images_per_s"]


def test_a_dry_run_leaves_the_pictures_of_a_small_set_decoded(digits, home):
    manifest, recipe = digits(60), recipe_from({"start": "mobilenetv3_small_050", "image_size": 32, "threads": 1, "phases": "head"})
    start = catalogue.resolve(recipe.start)
    assert session.estimate(recipe=recipe, manifest=manifest, start=start, emit=lambda event: None, wish=lambda: None)
    _, spec, _ = build.from_start(start, recipe, manifest["classes"])
    with cache.filling(manifest, asdict(spec), ahead=False) as data:
        assert data.complete


def test_a_dry_run_that_is_told_to_leave_says_nothing(digits, home):
    manifest, recipe = digits(60), recipe_from({"start": "mobilenetv3_small_050", "image_size": 32, "threads": 1, "phases": "head"})
    said: list[Event] = []
    found = session.estimate(
        recipe=recipe, manifest=manifest, start=catalogue.resolve(recipe.start), emit=said.append, wish=lambda: "stop" if of(Plan, said) else None
    )
    assert found == {}


def test_without_test_pictures_the_report_is_about_validation(digits, trained):
    _, _, files = trained(digits(60, splits="ttv"), phases="head")
    assert workspace.read_json(files.report)["split"] == "val"
