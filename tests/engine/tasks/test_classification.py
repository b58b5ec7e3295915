"""Classification as the loop sees it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from engine.tasks import TASKS

TASK = TASKS["image-classification"]


def test_the_loss_is_the_cross_entropy_of_given_or_blended_targets():
    logits, targets = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    expected = -logits.log_softmax(1)[torch.arange(4), targets]
    assert TASK.loss(None, logits, targets) == pytest.approx(float(expected.mean()))
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0])
    assert TASK.loss(None, logits, targets, weights=weights) == pytest.approx(float((expected * weights).mean()))
    whole = TASK.mix(targets, torch.tensor([1, 0, 3, 2]), torch.ones(4), 3)
    assert TASK.loss(None, logits, whole) == pytest.approx(float(expected.mean()))
    half = TASK.mix(targets, torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.5), 3)
    assert half[0].tolist() == [0.5, 0.5, 0.0]


def test_weights_make_classes_count_alike():
    targets, rows = np.array([0, 0, 0, 1, 2, 2]), np.arange(5)
    weights = TASK.weights(targets, rows, 3)
    assert weights.mean() == pytest.approx(1)
    sums = [weights[targets[rows] == k].sum() for k in range(3)]
    assert sums == pytest.approx([sums[0]] * 3)


def test_predictions_are_probabilities_and_metrics_hold_the_tasks_own():
    answers = TASK.decode(None, torch.tensor([[9.0, 0, 0], [0, 9, 0]]))
    assert answers.sum(1) == pytest.approx([1, 1])
    found = TASK.metrics(np.array([0, 0, 2]), np.array([0, 2]), answers)
    assert found[TASK.metric] == 0.5
    assert found["loss"] > 1


def test_the_table_is_torch_free_and_keyed_by_name():
    assert all(key == task.name for key, task in TASKS.items())
    code = "import sys; import engine.tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
