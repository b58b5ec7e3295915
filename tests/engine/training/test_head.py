"""The head on cached features: as good as scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from engine.errors import StudioError
from engine.events import Epoch, Step
from engine.recipe import recipe_from
from engine.tasks import TASKS
from engine.tasks.heads import HEADS
from engine.training import head

TASK = TASKS["image-classification"]


def lesson(**settings: Any) -> tuple[head.Lesson, np.ndarray, list[Any]]:
    digits, events = load_digits(), []
    features, rows = torch.from_numpy(digits.data).float(), np.arange(900)
    recipe = recipe_from({"label_smoothing": 0.0, **settings})
    given = head.Lesson(TASK, digits.target, 10, recipe, rows[:300], features[:300], rows[300:600], features[300:600], events.append, lambda: False)
    return given, digits.data, events


def test_the_linear_head_is_at_least_as_good_as_scikit_learns():
    given, data, events = lesson()
    layer = HEADS["linear"](64, 10, 0.0)
    assert head.learn(layer, given) == sum(isinstance(event, Step) for event in events)
    theirs = min(
        log_loss(given.targets[300:600], LogisticRegression(C=c, max_iter=2000).fit(data[:300], given.targets[:300]).predict_proba(data[300:600]))
        for c in (0.001, 0.01, 0.1, 1.0)
    )
    assert given.metrics(layer)["loss"] <= theirs * 1.1
    kept = [event for event in events if isinstance(event, Epoch) and event.best][-1]
    assert given.metrics(layer) == pytest.approx(kept.metrics, rel=1e-3)


def test_what_it_reports_never_leaps_back():
    given, _, events = lesson()
    head.learn(HEADS["linear"](64, 10, 0.0), given)
    for told in ([event.loss for event in events if isinstance(event, Step)], [event.metrics["loss"] for event in events if isinstance(event, Epoch)]):
        assert len(told) > len(head.STRENGTHS)
        assert told == sorted(told, reverse=True)


def test_the_choice_weighs_score_and_loss():
    given, _, _ = lesson()

    def tried(accuracy: float, loss: float) -> head._Try:
        return head._Try({"accuracy": accuracy, "loss": loss}, 0.0, {})

    high, low, far = tried(0.90, 0.5), tried(0.89, 0.3), tried(0.80, 0.1)
    assert head._chosen([high, low, far], given) is low  # 300 pictures: one standard error is 0.017


def test_it_finds_the_optimum_of_one_strength():
    given, data, _ = lesson()
    varying = data[:300][:, data[:300].std(0) > 0]
    scaled = (varying - varying.mean(0)) / varying.std(0)  # then both ways of scaling features are one
    given.val_rows, given.train_NF = given.train_rows, torch.from_numpy(scaled).float()
    given.val_NF = given.train_NF  # then the weakest strength wins
    layer = HEADS["linear"](scaled.shape[1], 10, 0.0)
    head.learn(layer, given)
    theirs = LogisticRegression(C=1 / (300 * head.STRENGTHS[-1]), max_iter=5000).fit(scaled, given.targets[:300])
    assert np.abs(head.predict(layer, given.train_NF, TASK) - theirs.predict_proba(scaled)).max() < 0.01


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_class_balance_helps_a_rare_class(balance):
    found = []
    for setting in ("none", balance):
        given, _, _ = lesson(class_balance=setting)
        rare = given.targets[:300] == 8
        keep = ~rare | (np.cumsum(rare) <= 2)
        given.train_rows, given.train_NF = given.train_rows[keep], given.train_NF[torch.from_numpy(keep)]
        layer = HEADS["linear"](64, 10, 0.0)
        head.learn(layer, given)
        answers = head.predict(layer, given.val_NF, TASK)[given.targets[300:600] == 8]
        found.append(answers[:, 8].mean())
    assert found[1] > found[0]


def test_features_that_are_no_numbers_end_with_a_reason():
    given, _, _ = lesson()
    given.train_NF = given.train_NF.clone()
    given.train_NF[0, 0] = float("nan")
    with pytest.raises(StudioError, match="no longer a number"):
        head.learn(HEADS["linear"](64, 10, 0.0), given)


def test_of_a_task_with_several_classes_a_picture_it_finds_the_optimum_of_each():
    task, given, data = TASKS["multi-label-classification"], *lesson()[:2]
    targets = np.stack([given.targets % 2 == 0, given.targets > 6, given.targets == 1], 1).astype(np.float32)
    varying = data[:300][:, data[:300].std(0) > 0]
    scaled = (varying - varying.mean(0)) / varying.std(0)
    given.task, given.targets, given.classes = task, targets, 3
    given.val_rows, given.train_NF = given.train_rows, torch.from_numpy(scaled).float()
    given.val_NF = given.train_NF
    layer = HEADS["linear"](scaled.shape[1], 3, 0.0)
    head.learn(layer, given)
    found = head.predict(layer, given.train_NF, task)
    for place in range(3):
        theirs = LogisticRegression(C=1 / (300 * head.STRENGTHS[-1]), max_iter=5000).fit(scaled, targets[:300, place])
        assert np.abs(found[:, place] - theirs.predict_proba(scaled)[:, 1]).max() < 0.01
