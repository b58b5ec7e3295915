"""Feeds the loop: which pictures make which batch, varied and normalised, ready when they are asked for.

The order and the variations are functions of (seed, epoch, step). One thread prepares the next batches while the current one is learnt;
on the CPU it only takes time that the computing threads leave over.

N pictures, B in a batch.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.cache import DecodedSet
from engine.models.build import ModelSpec
from engine.recipe import Recipe
from engine.tasks import Task
from engine.training import augment, variation
from engine.training.features import LAYOUTS

__all__ = ["Batch", "Feed"]

_AHEAD = 2


@dataclass
class Batch:
    """Normalised pictures [B, 3, H, W], their targets, and how much each counts (None: all alike)."""

    images: Tensor
    targets: Any
    weights: Tensor | None

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """Cut it into smaller ones; yields each with its share of the whole."""
        size = -(-len(self) // count)
        for first in range(0, len(self), size):
            some = slice(first, first + size)
            part = Batch(self.images[some], self.targets[some], None if self.weights is None else self.weights[some])
            yield part, len(part) / len(self)


class Feed:
    """The training pictures of one run, batch by batch."""

    def __init__(
        self, data: DecodedSet, task: Task, targets: Any, spec: ModelSpec, recipe: Recipe, *, batch_size: int, layout: str, device: torch.device
    ) -> None:
        self._data, self._task, self._targets, self._spec, self._recipe = data, task, targets, spec, recipe
        self._rows = data.rows["train"]
        self._size = max(1, min(batch_size, len(self._rows)))
        self._layout, self._device = LAYOUTS[layout], device
        self._weights_N = None if recipe.class_balance == "none" else task.weights(targets, self._rows, len(spec.classes))
        self.steps = max(1, len(self._rows) // self._size)
        """Batches an epoch. Pictures that do not fill the last one wait for another epoch: which ones is chance."""

    def order(self, epoch: int) -> NDArray[Any]:
        """Return the places among the training rows in the order in which an epoch shows them."""
        rng, count = variation.random("order", self._recipe.seed, epoch), len(self._rows)
        if self._recipe.class_balance == "sampling" and self._weights_N is not None:
            return rng.choice(count, count, p=self._weights_N / self._weights_N.sum())
        return rng.permutation(count)

    def epoch(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, from number `first` on."""
        order = self.order(epoch)
        with ThreadPoolExecutor(1, "feed", initializer=_step_back if self._device.type == "cpu" else None) as pool:
            ahead: deque[Future[tuple[Tensor, NDArray[Any], int]]] = deque()
            try:
                for step in range(first, self.steps):
                    while len(ahead) < min(_AHEAD, self.steps - step):
                        ahead.append(pool.submit(self._prepared, order, epoch, step + len(ahead)))
                    yield self._finished(*ahead.popleft().result(), epoch)
            finally:
                for future in ahead:
                    future.cancel()

    def _prepared(self, order: NDArray[Any], epoch: int, step: int) -> tuple[Tensor, NDArray[Any], int]:
        """Do in the thread what can be done there: on the CPU everything, else all up to the way to the device."""
        places = order[step * self._size : (step + 1) * self._size]
        rows = self._rows[places]
        self._data.wait(rows)
        pictures = torch.from_numpy(np.take(self._data.images_NHWC, rows, axis=0))
        if self._device.type == "cpu":
            pictures = self._varied(pictures, epoch, step)
        elif self._device.type == "cuda":
            pictures = pictures.pin_memory()
        return pictures, places, step

    def _varied(self, pictures: Tensor, epoch: int, step: int) -> Tensor:
        drawn = variation.draw(self._recipe, len(pictures), self._recipe.seed, epoch, step)
        return augment.varied(pictures, drawn, self._spec, self._layout)

    def _finished(self, pictures: Tensor, places: NDArray[Any], step: int, epoch: int) -> Batch:
        if self._device.type != "cpu":
            pictures = self._varied(pictures.to(self._device, non_blocking=True), epoch, step)
        targets = self._task.batch(self._targets, self._rows[places], self._device)
        weights = None
        if self._recipe.class_balance == "loss" and self._weights_N is not None:
            weights = torch.from_numpy(self._weights_N[places]).float().to(self._device)
        how = variation.blend(self._recipe, len(places), self._recipe.seed, epoch, step) if self._task.mixes else None
        if how is not None:
            pictures, targets = augment.blended(pictures, targets, how, self._task, len(self._spec.classes))
        return Batch(pictures, targets, weights)


def _step_back() -> None:
    """Let this thread run on one core, and only when the computing threads leave it idle (Linux; elsewhere the order is the system's)."""
    torch.set_num_threads(1)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
