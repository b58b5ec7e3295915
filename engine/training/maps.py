"""Learns a dense head while the backbone stays as it is: on maps of features computed once and kept, where they fit, else computed each time.

The counterpart of `head`, which solves the last layer of classifiers. It begins anew when a run is killed in it: the same seed gives the same head.

B pictures, F numbers in all maps of one picture together.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.data.cache import DecodedSet
from engine.errors import StudioError
from engine.events import Epoch, Event, Step
from engine.models.build import ModelSpec
from engine.recipe import Recipe
from engine.tasks import Task
from engine.training import optim
from engine.training.augment import normalised
from engine.training.features import LAYOUTS
from engine.training.head import score
from engine.training.plan import Plan
from engine.training.variation import random

__all__ = ["MapLesson", "Maps", "epochs_of", "fits", "learn"]

_SHARE_OF_MEMORY = 0.2
_MOST_BYTES = 4 << 30
_SHARE_OF_EPOCHS = 0.15
_LOOKS = 8
"""How often the head is tried on the validation pictures at most."""


def epochs_of(recipe: Recipe) -> int:
    """Return how often the head alone sees the training pictures: all the epochs where nothing else learns, else a few to start from."""
    return recipe.epochs if recipe.phases == "head" else max(2, round(recipe.epochs * _SHARE_OF_EPOCHS))


class Maps(nn.Module):
    """A backbone whose maps come as one long vector a picture, as `features.Extractor` keeps them; `apart` undoes that."""

    def __init__(self, backbone: nn.Module, input_hw: tuple[int, int]) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.no_grad():
            found = backbone.eval()(next(backbone.parameters()).new_zeros(1, 3, *input_hw))
        self.shapes = [tuple(one.shape[1:]) for one in found]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return [B, F]."""
        return torch.cat([one.flatten(1) for one in self.backbone(images_BCHW)], 1)

    def apart(self, vectors_BF: Tensor, layout: str) -> tuple[Tensor, ...]:
        """Return the maps."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = vectors_BF.split(sizes, 1)
        return tuple(part.reshape(-1, *shape).contiguous(memory_format=LAYOUTS[layout]) for part, shape in zip(parts, self.shapes, strict=True))

    @property
    def bytes_a_picture(self) -> int:
        """Size of one picture's maps in full precision."""
        return 4 * sum(int(np.prod(shape)) for shape in self.shapes)


def fits(maps: Maps, pictures: int) -> bool:
    """Tell whether the maps of so many pictures may be kept in memory (and on the disk, where a full one is found out when it is written)."""
    return maps.bytes_a_picture * pictures < min(_MOST_BYTES, _SHARE_OF_MEMORY * psutil.virtual_memory().available)


@dataclass
class MapLesson:
    """What a dense head learns from. `vectors_NF` are the kept maps of training and validation pictures, one after the other, or None."""

    network: Any
    task: Task
    targets: Any
    spec: ModelSpec
    recipe: Recipe
    plan: Plan
    data: DecodedSet
    device: torch.device
    maps: Maps
    vectors_NF: Tensor | None
    emit: Callable[[Event], None]
    leave: Callable[[], bool]
    steps_later: int = 0
    """Optimiser steps of the run that come after the head's."""

    def __post_init__(self) -> None:
        self._place = {int(row): place for place, row in enumerate(np.concatenate([self.data.rows["train"], self.data.rows["val"]]))}

    def maps_of(self, rows: NDArray[Any]) -> tuple[Tensor, ...]:
        """Return the backbone's maps of some pictures as they are, unvaried."""
        layout = self.plan.frozen_layout
        if self.vectors_NF is not None:
            return self.maps.apart(self.vectors_NF[[self._place[int(row)] for row in rows]].to(self.device), layout)
        self.data.wait(rows)
        images_BCHW = normalised(self.data.evaluation_view(rows), self.spec, self.device).contiguous(memory_format=LAYOUTS[layout])
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.frozen_precision == "bf16"):
            return tuple(one.float() for one in self.maps.backbone(images_BCHW))

    @torch.no_grad()
    def metrics(self, batch_size: int) -> dict[str, float]:
        """Return the network's figures on the validation pictures; empty without any."""
        rows, head = self.data.rows["val"], self.network.head.eval()
        parts: list[Any] = []
        for first in range(0, len(rows), batch_size):
            parts.append(self.task.decode(self.network, head(self.maps_of(rows[first : first + batch_size]))))
        return self.task.metrics(self.targets, rows, self.task.joined(self.targets, rows, parts)) if parts else {}


def learn(lesson: MapLesson, batch_size: int) -> tuple[int, dict[str, float]] | None:
    """Teach the head, in place, and keep what did best on the validation pictures.

    Returns:
        How many steps it took, and the figures of what was kept; None if it was told to leave.

    Raises:
        StudioError: if the loss is no longer a number.
    """
    recipe, head, rows = lesson.recipe, lesson.network.head, lesson.data.rows["train"]
    lesson.network.eval()
    batch_size = max(1, min(batch_size, len(rows)))
    epochs, batches = epochs_of(recipe), max(1, len(rows) // batch_size)
    optimizer = torch.optim.AdamW(optim.decaying(head, recipe.lr_head, recipe.weight_decay))
    look, step = max(1, epochs // _LOOKS), 0
    best: tuple[tuple[float, float], dict[str, Tensor]] | None = None
    figures: dict[str, float] = {}
    for epoch in range(epochs):
        began, losses = time.monotonic(), []
        for some in np.array_split(_order(lesson, epoch)[: batches * batch_size], batches):
            if lesson.leave():
                return None
            rate = optim.set_learning_rate(optimizer, optim.learning_rate_share(step, epochs * batches, recipe))
            losses.append(_step(lesson, rows[some], optimizer, step))
            step += 1
            lesson.emit(Step(phase="head", step=step, steps=epochs * batches + lesson.steps_later, loss=losses[-1], learning_rate=rate))
        if (epoch + 1) % look and epoch + 1 < epochs:
            continue
        found = lesson.metrics(batch_size)
        better = best is None or not found or score(found, lesson.task) > best[0]
        if better:
            best, figures = (score(found, lesson.task) if found else (0.0, 0.0), copy.deepcopy(head.state_dict())), found
        _report(lesson, epoch, epochs, step, losses, found, time.monotonic() - began, better)
    assert best is not None
    head.load_state_dict(best[1])
    return step, figures


def _order(lesson: MapLesson, epoch: int) -> NDArray[Any]:
    rng, rows = random("head", lesson.recipe.seed, epoch), lesson.data.rows["train"]
    if lesson.recipe.class_balance != "sampling":
        return rng.permutation(len(rows))
    weights_N = lesson.task.weights(lesson.targets, rows, len(lesson.spec.classes))
    return rng.choice(len(rows), len(rows), p=weights_N / weights_N.sum())


def _step(lesson: MapLesson, rows: NDArray[Any], optimizer: torch.optim.Optimizer, step: int) -> float:
    network, recipe = lesson.network, lesson.recipe
    torch.manual_seed(recipe.seed * 100_003 + step)  # dropout, and whatever a loss draws
    network.head.train()
    optimizer.zero_grad(set_to_none=True)
    maps = lesson.maps_of(rows)
    with torch.autocast(lesson.device.type, torch.bfloat16, enabled=lesson.plan.frozen_precision == "bf16"):
        loss = lesson.task.loss(network, network.head(maps), lesson.task.batch(lesson.targets, rows, lesson.device))
    loss.backward()
    nn.utils.clip_grad_norm_(network.head.parameters(), recipe.clip_norm or float("inf"))
    optimizer.step()
    value = float(loss.detach())
    if not np.isfinite(value):
        raise StudioError("the loss of the new last layers is no longer a number", "Choose a lower learning rate for the head, or another starting point.")
    return value


def _report(lesson: MapLesson, epoch: int, epochs: int, step: int, losses: Sequence[float], found: dict[str, float], seconds: float, better: bool) -> None:
    shown: dict[str, float | None] = {**found}
    mean = float(np.mean(losses))
    lesson.emit(Epoch(phase="head", epoch=epoch + 1, epochs=epochs, step=step, train_loss=mean, metrics=shown, seconds=seconds, best=better))
