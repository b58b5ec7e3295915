"""Curves from events: pauses left out, void points dropped, long ones thinned without losing their look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import events, runs
from engine.evaluation.curves import curves, thin
from engine.events import Ended, Epoch, Paused, Queued, Started, Step
from engine.recipe import recipe_from
from engine.runs import Run


@pytest.fixture
def run(home: Path) -> Run:
    return runs.create_run("p1", recipe_from({}), {"id": "v", "classes": [], "items": []})


def say(run: Run, *said: events.Event) -> None:
    for event in said:
        events.append(run.events_path, event)


def step(number: int, t: float, loss: float | None = 1.0) -> Step:
    return Step(t=t, phase="finetune", step=number, steps=100, loss=loss, learning_rate=0.1)


def test_pauses_and_waiting_do_not_count(run: Run) -> None:
    say(run, Queued(t=0, device="cpu"), Started(t=600, pid=1, device="cpu"), step(1, 660), Paused(t=720, step=1))
    say(run, Queued(t=5000, device="cpu"), Started(t=6000, pid=2, device="cpu", step=1), step(2, 6030), Ended(t=6060, outcome="finished"))
    loss = curves(run)["loss"]
    assert loss["step"] == [1, 2]
    assert loss["minute"] == pytest.approx([1.0, 2.5])


def test_points_past_the_last_checkpoint_of_a_killed_worker_are_void(run: Run) -> None:
    say(run, Started(t=0, pid=1, device="cpu"), step(1, 60, 5.0), step(2, 120, 4.0), step(3, 180, 3.0))
    say(run, Started(t=9000, pid=2, device="cpu", step=1), step(2, 9060, 4.5))
    loss = curves(run)["loss"]
    assert (loss["step"], loss["value"]) == ([1, 2], [5.0, 4.5])
    assert loss["minute"] == pytest.approx([1.0, 4.0])  # the lost work was work


def test_epochs_give_the_validation_curves(run: Run) -> None:
    epoch = Epoch(t=30, phase="head", epoch=1, epochs=3, step=10, train_loss=0.7, metrics={"accuracy": 0.5, "loss": None}, seconds=3)
    say(run, Started(t=0, pid=1, device="cpu"), epoch)
    found = curves(run)
    assert found["val_accuracy"] == {"step": [10], "minute": [0.5], "value": [0.5]}
    assert found["train_loss"]["value"] == [0.7]
    assert "val_loss" not in found


def test_a_run_without_events_has_no_curves(run: Run) -> None:
    assert curves(run) == {}


def test_long_curves_are_thinned_and_kept_until_they_grow(run: Run) -> None:
    say(run, Started(t=0, pid=1, device="cpu"))
    with run.events_path.open("ab") as file:
        for i in range(4000):
            file.write(b'{"kind": "step", "t": %d, "phase": "finetune", "step": %d, "steps": 9999, "loss": %f}\n' % (i, i, 9.0 if i == 1234 else 1.0))
    first = curves(run)["loss"]
    assert len(first["step"]) == 1000
    assert 9.0 in first["value"]
    assert curves(run)["loss"] == first
    say(run, step(4001, 4001, 7.0))
    assert curves(run)["loss"]["value"][-1] == 7.0


@pytest.mark.parametrize("n", [1, 2, 1000, 1001, 1003, 50_000])
def test_thinning_keeps_ends_order_and_spikes(n: int) -> None:
    x = np.arange(n)
    y = np.sin(x / 50)
    y[n // 2] = 40.0
    kept = thin(x, y, 1000)
    assert len(kept) == min(n, 1000)
    assert (kept[0], kept[-1]) == (0, n - 1)
    assert (np.diff(kept) > 0).all()
    assert n // 2 in kept
