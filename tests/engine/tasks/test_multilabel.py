"""Tagging as the loop sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.tasks import TASKS

TASK = TASKS["multi-label-classification"]
MANIFEST = {"classes": ["a", "b", "c"], "items": [{"labels": [0, 2]}, {"labels": []}, {"labels": [1]}, {"labels": [2]}]}


def logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


def test_targets_are_sets_and_may_be_empty():
    assert TASK.targets(MANIFEST).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_the_loss_is_torchs_binary_cross_entropy_summed_over_the_classes():
    targets = TASK.batch(TASK.targets(MANIFEST), np.arange(4), torch.device("cpu"))
    expected = F.binary_cross_entropy_with_logits(logits(), targets, reduction="none").sum(1)
    assert TASK.loss(None, logits(), targets) == pytest.approx(float(expected.mean()))
    counts = torch.tensor([2.0, 0.0, 1.0, 1.0])
    assert TASK.loss(None, logits(), targets, weights=counts) == pytest.approx(float((expected * counts).mean()))
    present = torch.tensor([3.0, 1.0, 0.5])
    theirs = F.binary_cross_entropy_with_logits(logits(), targets, pos_weight=present, reduction="none").sum(1).mean()
    assert TASK.loss(None, logits(), targets, weights=present.expand(4, 3)) == pytest.approx(float(theirs))


def test_smoothing_draws_every_answer_towards_a_half():
    targets = TASK.batch(TASK.targets(MANIFEST), np.arange(4), torch.device("cpu"))
    soft = F.binary_cross_entropy_with_logits(logits(), targets * 0.9 + 0.05, reduction="none").sum(1).mean()
    assert TASK.loss(None, logits(), targets, smoothing=0.1) == pytest.approx(float(soft))


def test_blended_pictures_have_blended_targets():
    targets = TASK.batch(TASK.targets(MANIFEST), np.arange(4), torch.device("cpu"))
    mixed = TASK.mix(targets, torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.75), 3)
    assert mixed[0].tolist() == [0.75, 0, 0.75]
    assert mixed[2].tolist() == [0, 0.75, 0.25]


def test_weights_for_sampling_count_pictures_and_those_for_the_loss_count_presence():
    targets = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [0, 0]], np.float32)
    rows = np.arange(5)
    sampled = TASK.weights(targets, rows, 2)
    assert sampled.mean() == pytest.approx(1)
    assert sampled[3] == sampled[4] == pytest.approx(4 * sampled[0])
    assert TASK.weights(targets, rows, 2, "loss").tolist() == [[0.25, 4]] * 5
    never = TASK.weights(np.zeros((1000, 2), np.float32), np.arange(1000), 2, "loss")
    assert never.max() == 20


def test_predictions_are_sigmoids_and_metrics_hold_the_tasks_own():
    answers = TASK.decode(None, torch.tensor([[9.0, -9, 0], [9, 9, -9]]))
    assert answers[0] == pytest.approx([1, 0, 0.5], abs=1e-3)
    found = TASK.metrics(TASK.targets(MANIFEST), np.array([0, 2]), answers)
    assert set(found) == set(TASK.metric_titles)
    assert found["exact_match"] == 0.5
    assert found[TASK.metric] == pytest.approx((0.5 + 1 + 1) / 3)  # of 'a' both pictures are equally sure
