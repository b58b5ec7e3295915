"""The training loop. It knows neither the task nor where anything is written.

What surrounds it has files of its own: batches come from `feed`, rates and averages from `optim`, files from `checkpoint`.
All randomness is a function of (seed, epoch, step), so a loop that was killed goes on to the same weights, bit for bit on the CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from engine.data.cache import DecodedSet
from engine.errors import StudioError
from engine.events import Epoch, Event, Message, Step
from engine.models.build import ModelSpec, Network
from engine.recipe import Recipe
from engine.tasks import Task
from engine.training import checkpoint, optim, tune
from engine.training.answering import Answering
from engine.training.crew import Crew, Replicas
from engine.training.features import LAYOUTS
from engine.training.feed import Batch, Feed
from engine.training.head import score
from engine.training.pace import Crowd, Pace
from engine.training.plan import Plan

__all__ = ["Ending", "Loop", "Position", "memory_mb", "out_of_memory"]

Ending = Literal["done", "stop", "pause"]

_SAVE_EVERY_S = 25.0


@dataclass
class Position:
    """Where the loop stands: all of its state that is not a tensor. Plain JSON.

    `step` counts the run's steps, the head's included; `update` counts the loop's own; `batch` those of this epoch.
    `best` is what `score` gave for the weights that are kept: at first the head's.
    """

    step: int = 0
    update: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    accumulate: int = 1
    best: list[float] = field(default_factory=list)
    best_epoch: int = 0
    done: bool = False


@dataclass
class Loop:
    """Everything a loop works with. `keep_best(weights)` and `keep_last(tensors, position)` write in the background."""

    network: Network
    spec: ModelSpec
    task: Task
    targets: Any
    data: DecodedSet
    recipe: Recipe
    plan: Plan
    device: torch.device
    emit: Callable[[Event], None]
    wish: Callable[[], str | None]
    keep_best: Callable[[dict[str, Tensor]], None]
    keep_last: Callable[[dict[str, Tensor], dict[str, Any]], None]
    keep_statistics: bool = True

    def __post_init__(self) -> None:
        self.network.to(self.device, memory_format=LAYOUTS[self.plan.layout])  # type: ignore[call-overload]
        optim.freeze(self.network, self.recipe.freeze_depth)
        self.optimizer = optim.make(self.network, self.recipe)
        self.average = optim.Average(self.network, self.recipe.ema) if self.recipe.ema else None
        self.crew = Crew(self.plan.shares, self.plan.threads)
        self.replicas = Replicas(self.network, self.crew.size)
        self.feed = Feed(
            self.data,
            self.task,
            self.targets,
            self.spec,
            self.recipe,
            batch_size=self.plan.batch_size,
            layout=self.plan.layout,
            device=self.device,
            crew=self.crew,
        )
        self.updates = self.recipe.epochs * self.feed.steps
        self._saved = time.monotonic()
        speed = self.plan.images_per_s if self.device.type == "cpu" else 0.0
        self.pace, self.crowd = Pace(self.plan.batch_size / speed if speed else None), Crowd()

    def run(self, at: Position) -> Ending:
        """Train from a position on, which moves along, until the last epoch, early stopping, or a wish.

        Raises:
            StudioError: if the loss is no longer a number.
        """
        with tune.fewer_threads(self.crew.threads_each):  # between the crew's turns too: beside a busy process every shared operation waits
            return self._epochs(at)

    def _epochs(self, at: Position) -> Ending:
        while at.epoch < self.recipe.epochs and not at.done:
            began = time.monotonic()
            optim.training_mode(self.network, keep_statistics=self.keep_statistics)
            self.replicas.follow()
            for batch in self.feed.epoch(at.epoch, at.batch, made=False):
                rate = optim.set_learning_rate(self.optimizer, optim.learning_rate_share(at.update, self.updates, self.recipe))
                torch.manual_seed(int(_dropout_seed(self.recipe.seed, at.update)))
                loss = self._backward(batch, at)
                if self.recipe.clip_norm:
                    nn.utils.clip_grad_norm_(optim.trainable(self.network), self.recipe.clip_norm)
                self.optimizer.step()
                if self.average is not None:
                    self.average.update(self.network, at.update)
                at.step, at.update, at.batch, at.loss_sum = at.step + 1, at.update + 1, at.batch + 1, at.loss_sum + loss
                self._report(at, loss, rate, len(batch))
                if wish := self.wish():
                    self.save(at)
                    return "stop" if wish == "stop" else "pause"
                if time.monotonic() - self._saved > _SAVE_EVERY_S:
                    self.save(at)
            self._end_epoch(at, began)
        at.done = True
        self.save(at)
        return "done"

    def _backward(self, batch: Batch, at: Position) -> float:
        """Compute the gradients of one batch, in smaller parts where memory ran out; return the loss."""
        while True:
            try:
                self.optimizer.zero_grad(set_to_none=True)
                self.replicas.begin(self.recipe.seed, at.update)
                losses = self.crew.each(partial(self._learn, list(batch.parts(at.accumulate * self.crew.size))))
                self.replicas.gather()
                total = math.fsum(losses)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or at.accumulate >= len(batch):
                    raise
                at.accumulate *= 2
                self.emit(Message(level="warning", text=f"Memory ran out; going on with batches in {at.accumulate} parts, which gives the same steps, slower."))
                continue
            if not math.isfinite(total):
                raise StudioError(
                    f"the loss is no longer a number at step {at.step}: rates of {self.recipe.lr_head:g} and {self.recipe.lr_backbone:g} are too high",
                    f"Start a new run with a lower one, for example {self.recipe.lr_backbone / 10:g} for the backbone. The best model so far is kept.",
                )
            return total

    def _learn(self, parts: list[tuple[Batch, float]], member: int) -> float:
        """Add the gradients of a member's parts to its own; return their share of the loss."""
        network, total = self.replicas[member], 0.0
        for part, share in parts[member :: self.crew.size]:
            images = part.made(member)
            with self._autocast():
                loss = self.task.loss(network, network(images), part.targets, smoothing=self.recipe.label_smoothing, weights=part.weights) * share
            loss.backward()
            total += float(loss.detach())
        return total

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    def _end_epoch(self, at: Position, began: float) -> None:
        """Look at the validation pictures, keep the weights if they are the best so far, and stop early if asked to."""
        at.epoch, at.batch = at.epoch + 1, 0
        train_loss, at.loss_sum = at.loss_sum / self.feed.steps, 0.0
        metrics = self.validate()
        better = not metrics or not at.best or list(score(metrics, self.task)) > at.best
        if better:
            at.best, at.best_epoch = list(score(metrics, self.task)) if metrics else [], at.epoch
            self.keep_best({name: checkpoint.copied(tensor) for name, tensor in self._best_weights().items()})
        shown: dict[str, float | None] = {**metrics}
        self.emit(
            Epoch(
                phase="finetune",
                epoch=at.epoch,
                epochs=self.recipe.epochs,
                step=at.step,
                train_loss=train_loss,
                metrics=shown,
                seconds=time.monotonic() - began,
                best=better,
            )
        )
        if self.recipe.patience and at.epoch - at.best_epoch >= self.recipe.patience and at.epoch < self.recipe.epochs:
            at.done = True
            self.emit(Message(level="info", text=f"Stopped early: nothing was gained in {self.recipe.patience} epochs."))

    def _best_weights(self) -> dict[str, Tensor]:
        return self.average.weights if self.average is not None else self.network.state_dict()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the figures on the validation pictures, of the averaged weights where there are any; empty without pictures."""
        rows = self.data.rows["val"]
        if not len(rows):
            return {}
        asked = Answering(self.network, self.task, self.spec, self.data, self.device, crew=self.crew, replicas=self.replicas)
        parts = asked(rows, self.plan.batch_size, self.plan.layout, self.plan.precision, self._best_weights())
        return self.task.metrics(self.targets, rows, self.task.joined(self.targets, rows, list(parts)))

    def _report(self, at: Position, loss: float, rate: float, pictures: int) -> None:
        now = time.monotonic()
        previous, self._stepped = getattr(self, "_stepped", None), now
        speed = None
        if previous and at.batch > 1:
            speed = pictures / (now - previous)
            if self.device.type == "cpu" and self.crew.size == 1:
                self.crowd.arrange(self.pace.heard(now - previous))
        total = at.step + self.updates - at.update
        self.emit(Step(phase="finetune", step=at.step, steps=total, loss=loss, learning_rate=rate, images_per_s=speed, memory_mb=memory_mb(self.device)))

    def close(self) -> None:
        """Let its threads go, and run on all cores again."""
        self.crowd.arrange(False)
        self.crew.close()

    def save(self, at: Position) -> None:
        """Hand the state over to be written."""
        average = self.average.weights if self.average is not None else None
        self.keep_last(checkpoint.pack(self.network, self.optimizer, average), asdict(at))
        self._saved = time.monotonic()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put a saved state back."""
        checkpoint.unpack(tensors, self.network, self.optimizer, self.average.weights if self.average is not None else None)


def _dropout_seed(seed: int, update: int) -> int:
    return int(np.random.SeedSequence([seed, update]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on whatever device."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text


def memory_mb(device: torch.device) -> float:
    """Return the memory in use: the device's at its peak, or this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return float(psutil.Process().memory_info().rss) / 2**20
