"""Learns the head alone, on cached features: an epoch is milliseconds, so this is done properly.

A linear head is a convex problem, logistic regression (multinomial, or one for each class where a picture can show several): solved to its optimum
by L-BFGS for a path of regularisation strengths, from strong to weak, each from the one before; the validation pictures choose. Other heads learn by
AdamW and keep their best epoch.

N pictures, F features, K classes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import StudioError
from engine.events import Epoch, Event, Step
from engine.recipe import Recipe
from engine.tasks import Task
from engine.training import tune
from engine.training.variation import random

__all__ = ["BATCH", "EPOCHS", "MIN_STEPS", "STRENGTHS", "Lesson", "is_solved", "learn", "predict", "score"]

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Weights of half the squared norm beside the mean loss, features scaled to unit variance. scikit-learn's C is 1 / (N * strength)."""

_BLOCK = 5
"""L-BFGS iterations between two reports."""
_BLOCKS = 30
_SETTLED = 1e-4
_PATIENCE = 2

EPOCHS = (60, 200)
"""Fewest and most epochs; between them as many as make MIN_STEPS."""
MIN_STEPS = 500
BATCH = 64
_STEPS_SHOWN = 200
_SMALL = 30_000_000
"""Multiplications of one pass over all features below which one thread does it: 0.3 ms."""


@dataclass
class Lesson:
    """What a head learns from. Features are float32 [N, F] on the CPU; rows say which targets they belong to."""

    task: Task
    targets: Any
    classes: int
    recipe: Recipe
    train_rows: NDArray[Any]
    train_NF: Tensor
    val_rows: NDArray[Any]
    val_NF: Tensor
    emit: Callable[[Event], None]
    leave: Callable[[], bool]
    steps_later: int = 0
    """Optimiser steps of the run that come after the head's."""

    def weights(self) -> NDArray[Any] | None:
        """Return how much each training picture counts, None if all alike. Where sampling is asked for, counting has the same effect."""
        by = self.recipe.class_balance
        return None if by == "none" else self.task.weights(self.targets, self.train_rows, self.classes, by)

    def metrics(self, head: nn.Module) -> dict[str, float]:
        """Return the head's figures on the validation pictures, or on the training pictures where there are none."""
        rows, features_NF = (self.val_rows, self.val_NF) if len(self.val_rows) else (self.train_rows, self.train_NF)
        return self.task.metrics(self.targets, rows, predict(head, features_NF, self.task))


@torch.no_grad()
def predict(head: nn.Module, features_NF: Tensor, task: Task) -> NDArray[Any]:
    """Return the task's predictions from features."""
    return task.decode(head, head.eval()(features_NF))


def score(metrics: dict[str, float], task: Task) -> tuple[float, float]:
    """Return what makes one model better than another: the task's metric, then the loss."""
    return metrics[task.metric], -metrics.get("loss", 0.0)


def learn(head: nn.Module, lesson: Lesson) -> int | None:
    """Teach the head, in place.

    Returns:
        How many steps it took; None if it was told to leave.

    Raises:
        StudioError: if the loss is no longer a number.
    """
    small = lesson.train_NF.numel() * lesson.classes < _SMALL
    with tune.fewer_threads(1 if small else torch.get_num_threads()):
        return _learn(head, lesson)


def _learn(head: nn.Module, lesson: Lesson) -> int | None:
    return _solve(head, _linear_layers(head)[0], lesson) if is_solved(head) else _train(head, lesson)


def _linear_layers(head: nn.Module) -> list[nn.Linear]:
    return [module for module in head.modules() if isinstance(module, nn.Linear)]


def is_solved(head: nn.Module) -> bool:
    """Tell whether a head is linear, so that its optimum is found and learning rate, weight decay, dropout and smoothing play no part."""
    normalises = any(isinstance(module, nn.LayerNorm) for module in head.modules())
    return len(_linear_layers(head)) == 1 and not normalises and isinstance(head, nn.Sequential)


def _solve(head: nn.Module, layer: nn.Linear, lesson: Lesson) -> int | None:
    """Solve the linear head for each strength, per feature scaling and for all features alike, and keep the best."""
    mean_F, std_F = lesson.train_NF.mean(0), lesson.train_NF.std(0, correction=0)
    alike_F = torch.full_like(std_F, float(std_F.square().mean().sqrt().clamp_min(1e-6)))
    each_F = std_F.clamp_min(float(alike_F[0]) * 1e-3)
    tries: list[_Try] = []
    path = _Path(head, lesson, total=2 * len(STRENGTHS))
    for scale_F in (each_F, alike_F):
        scaled_NF = (lesson.train_NF - mean_F) / scale_F
        weight_KF, bias_K = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
        losses: list[float] = []
        for strength in STRENGTHS:
            train_loss = path.descend(scaled_NF, weight_KF, bias_K, strength)
            if train_loss is None:
                return None
            with torch.no_grad():
                layer.weight.copy_(weight_KF / scale_F)
                layer.bias.copy_(bias_K - layer.weight @ mean_F)
            tries.append(_Try(lesson.metrics(head), train_loss, copy.deepcopy(head.state_dict())))
            losses.append(tries[-1].metrics["loss"])
            path.report(_chosen(tries, lesson))
            if len(losses) - int(np.argmin(losses)) > _PATIENCE:
                break
    head.load_state_dict(_chosen(tries, lesson).weights)
    return path.step


@dataclass(frozen=True)
class _Try:
    """What one strength gave."""

    metrics: dict[str, float]
    train_loss: float
    weights: dict[str, Tensor]


def _chosen(tries: list[_Try], lesson: Lesson) -> _Try:
    """Return the head with the lowest validation loss among those whose score lies within one standard error of the highest.

    The score alone is mostly luck (100 pictures: 4% either way), the loss alone may pass over what the user goes by. The error is that of a share of
    so many pictures: what an accuracy has, and about what a mean average precision has.
    """
    name, count = lesson.task.metric, max(1, len(lesson.val_rows) or len(lesson.train_rows))
    highest = max(row.metrics[name] for row in tries)
    allowed = highest - np.sqrt(max(0.0, highest * (1 - highest)) / count)
    return min((row for row in tries if row.metrics[name] >= allowed), key=lambda row: row.metrics["loss"])


class _Path:
    """Walks along the strengths, counting steps and reporting.

    What it reports is the best so far: the search starts anew from nothing for the second scaling, and whoever looks on would
    otherwise see a curve leap up although the model that is kept only ever gets better.
    """

    def __init__(self, head: nn.Module, lesson: Lesson, total: int) -> None:
        self.step = 0
        self._head = head
        self._lowest = float("inf")
        self._told: _Try | None = None
        self._lesson, self._total, self._tried = lesson, total, 0
        weights = lesson.weights()
        self._weights_N = None if weights is None else torch.from_numpy(weights).float()
        self._targets = lesson.task.batch(lesson.targets, lesson.train_rows, torch.device("cpu"))
        self._began = time.monotonic()

    def descend(self, scaled_NF: Tensor, weight_KF: Tensor, bias_K: Tensor, strength: float) -> float | None:
        """Move weight and bias, in place, to the optimum for one strength; return the training loss, None if told to leave."""
        weight_KF.requires_grad_()
        bias_K.requires_grad_()
        optimizer = torch.optim.LBFGS(
            [weight_KF, bias_K], max_iter=_BLOCK, history_size=10, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
        )
        task, smoothing = self._lesson.task, self._lesson.recipe.label_smoothing

        def closure() -> Tensor:
            optimizer.zero_grad()
            fit = task.loss(self._head, torch.addmm(bias_K, scaled_NF, weight_KF.T), self._targets, smoothing=smoothing, weights=self._weights_N)
            objective = fit + strength / 2 * weight_KF.square().sum()
            objective.backward()
            return objective

        previous = float("inf")
        for _ in range(_BLOCKS):
            if self._lesson.leave():
                return None
            loss = float(optimizer.step(closure).detach())  # type: ignore[union-attr]
            _check(loss)
            self.step += 1
            self._lowest = min(self._lowest, loss)
            self._lesson.emit(Step(phase="head", step=self.step, steps=self.step + self._lesson.steps_later, loss=self._lowest))
            if previous - loss < _SETTLED * max(1.0, abs(loss)):
                break
            previous = loss
        return loss

    def report(self, chosen: _Try) -> None:
        """Say how good the head is that would be taken after one more strength."""
        self._tried += 1
        now = time.monotonic()
        shown: dict[str, float | None] = {**chosen.metrics}
        seconds, self._began = now - self._began, now
        better, self._told = chosen is not self._told, chosen
        self._lesson.emit(
            Epoch(
                phase="head",
                epoch=self._tried,
                epochs=self._total,
                step=self.step,
                train_loss=chosen.train_loss,
                metrics=shown,
                seconds=seconds,
                best=better,
            )
        )


def _check(loss: float) -> None:
    if not np.isfinite(loss):
        raise StudioError("the loss of the new last layers is no longer a number", "Choose a lower learning rate for the head, or another starting point.")


def _train(head: nn.Module, lesson: Lesson) -> int | None:
    """Teach any other head by AdamW, with a falling learning rate, and keep its best epoch."""
    task, recipe, count = lesson.task, lesson.recipe, len(lesson.train_rows)
    weights = lesson.weights()
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.lr_head, weight_decay=recipe.weight_decay)
    batches = max(1, round(count / BATCH))
    epochs = min(EPOCHS[1], max(EPOCHS[0], MIN_STEPS // batches))
    every = max(1, epochs * batches // _STEPS_SHOWN)
    best: tuple[tuple[float, float], dict[str, Tensor]] | None = None
    step = 0
    for epoch in range(epochs):
        began, losses = time.monotonic(), []
        torch.manual_seed(recipe.seed * 1000 + epoch)  # dropout
        head.train()
        for some in np.array_split(random("head", recipe.seed, epoch).permutation(count), batches):
            if lesson.leave():
                return None
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr_head * (1 - step / (epochs * batches))
            optimizer.zero_grad()
            counted_B = None if weights is None else torch.from_numpy(weights[some]).float()
            targets = task.batch(lesson.targets, lesson.train_rows[some], torch.device("cpu"))
            loss = task.loss(head, head(lesson.train_NF[some]), targets, smoothing=recipe.label_smoothing, weights=counted_B)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            _check(losses[-1])
            step += 1
            if step % every == 0:
                rate = float(optimizer.param_groups[0]["lr"])
                lesson.emit(Step(phase="head", step=step, steps=epochs * batches + lesson.steps_later, loss=losses[-1], learning_rate=rate))
        metrics = lesson.metrics(head)
        better = best is None or score(metrics, task) > best[0]
        if better:
            best = score(metrics, task), copy.deepcopy(head.state_dict())
        shown: dict[str, float | None] = {**metrics}
        seconds = time.monotonic() - began
        lesson.emit(
            Epoch(phase="head", epoch=epoch + 1, epochs=epochs, step=step, train_loss=float(np.mean(losses)), metrics=shown, seconds=seconds, best=better)
        )
    assert best is not None
    head.load_state_dict(best[1])
    return step
