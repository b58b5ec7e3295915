"""Feeds the loop: which pictures make which batch, varied and normalised, ready when they are asked for.

The order and the variations are functions of (seed, epoch, step). For a GPU one thread gathers the next batches while the current one is learnt.
On the CPU nothing is prepared ahead: every core is computing anyway, and a thread beside them, even an idle-priority one, cost more than it saved
(MobileNetV3-small, 2 cores: 0.87 of the bare step's speed with it, 0.92 without). There the crew that learns a batch varies its pictures first.

N pictures, B in a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.cache import DecodedSet
from engine.models.build import ModelSpec
from engine.recipe import Recipe
from engine.tasks import Task
from engine.training import augment, collage, variation
from engine.training.crew import ALONE, Crew
from engine.training.features import LAYOUTS
from engine.training.variation import Variation

__all__ = ["Batch", "Feed"]

_AHEAD = 2
"""Batches that are gathered ahead for a GPU."""
_AT_ONCE = 4


@dataclass
class Batch:
    """Normalised pictures [B, 3, H, W], their targets, and how much each counts (None: all alike).

    Where `fill` is given, the pictures are still to be made: `fill(rows, member)` makes those of some rows of the whole batch, of which these are `rows`.
    """

    images: Tensor
    targets: Any
    weights: Tensor | None
    fill: Callable[[slice, int], None] | None = None
    rows: slice = field(default_factory=lambda: slice(None))

    def __len__(self) -> int:
        return len(self.images)

    def made(self, member: int) -> Tensor:
        """Return the pictures, made by this member of the crew if they were not yet."""
        if self.fill is not None:
            self.fill(self.rows, member)
        return self.images

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """Cut it into smaller ones; yields each with its share of the whole."""
        size = -(-len(self) // count)
        for first in range(0, len(self), size):
            some = slice(first, first + size)
            part = Batch(self.images[some], self.targets[some], None if self.weights is None else self.weights[some], self.fill, some)
            yield part, len(part) / len(self)


class Feed:
    """The training pictures of one run, batch by batch."""

    def __init__(
        self,
        data: DecodedSet,
        task: Task,
        targets: Any,
        spec: ModelSpec,
        recipe: Recipe,
        *,
        batch_size: int,
        layout: str,
        device: torch.device,
        crew: Crew = ALONE,
    ) -> None:
        self._crew = crew
        self._data, self._task, self._targets, self._spec, self._recipe = data, task, targets, spec, recipe
        self._rows = data.rows["train"]
        self._size = max(1, min(batch_size, len(self._rows)))
        self._layout, self._device = LAYOUTS[layout], device
        self._memory = _Memory(crew.size) if device.type == "cpu" else None
        self._weights_N = None if recipe.class_balance == "none" else task.weights(targets, self._rows, len(spec.classes), recipe.class_balance)
        self.steps = max(1, len(self._rows) // self._size)
        """Batches an epoch. Pictures that do not fill the last one wait for another epoch: which ones is chance."""

    def order(self, epoch: int) -> NDArray[Any]:
        """Return the places among the training rows in the order in which an epoch shows them."""
        rng, count = variation.random("order", self._recipe.seed, epoch), len(self._rows)
        if self._recipe.class_balance == "sampling" and self._weights_N is not None:
            return rng.choice(count, count, p=self._weights_N / self._weights_N.sum())
        return rng.permutation(count)

    def epoch(self, epoch: int, first: int, *, made: bool = True) -> Iterator[Batch]:
        """Yield the batches of an epoch, from number `first` on. On the CPU a batch's pictures hold until the next one is asked for.

        Args:
            epoch: which order, and which variations.
            first: the number of the first batch.
            made: yield batches whose pictures are there. Else on the CPU, where nothing joins pictures, each of the crew makes those that it learns
                (`Batch.made`), and need not wait for the others before it begins.
        """
        order = self.order(epoch)
        wanted = 1 if self._device.type == "cpu" else _AHEAD + 1
        with ThreadPoolExecutor(1, "feed") as pool:
            ahead: deque[_Pictures] = deque()
            try:
                for step in range(first, self.steps):
                    while len(ahead) < min(wanted, self.steps - step):
                        coming = self._pictures(order, epoch, step + len(ahead))
                        if ahead:  # the batch that is wanted now is not waited for
                            pool.submit(coming.fill)
                        ahead.append(coming)
                    yield self._finished(ahead.popleft(), epoch, step, made)
            finally:
                for coming in ahead:
                    coming.wanted = False

    def _pictures(self, order: NDArray[Any], epoch: int, step: int) -> _Pictures:
        places = order[step * self._size : (step + 1) * self._size]
        where = (self._recipe.seed, epoch, step)
        if self._spec.fit == "whole":
            drawn = variation.draw_whole(self._recipe, self._data.content_N2[self._rows[places]], self._data.aspect, *where)
        else:
            drawn = variation.draw(self._recipe, len(places), *where)
        return _Pictures(self._data, self._spec, places, self._rows[places], drawn, self._layout, self._device, self._memory)

    def _finished(self, coming: _Pictures, epoch: int, step: int, made: bool) -> Batch:
        places = coming.places
        where = (self._recipe.seed, epoch, step)
        targets = self._task.batch(self._targets, coming.rows, self._device, coming.drawn)
        weights = None
        if self._recipe.class_balance == "loss" and self._weights_N is not None:
            weights = torch.from_numpy(self._weights_N[places]).float().to(self._device)
        how = variation.blend(self._recipe, len(places), *where, among=self._task.blends)
        put = variation.collage(self._recipe, len(places), *where, among=self._task.blends)
        if not made and self._memory is not None and how is None and put is None:
            return Batch(coming.out, targets, weights, coming.make)
        images = coming.taken(self._crew)
        if how is not None:
            images, targets = augment.blended(images, targets, how, self._task, len(self._spec.classes))
        if put is not None:
            images, targets = collage.joined(images, targets, put)
        return Batch(images, targets, weights)


class _Memory:
    """Where the batches of a feed are made on the CPU, one after another: memory that was just used is in the processor's cache, fresh memory is not."""

    def __init__(self, members: int) -> None:
        self.scratches = [augment.Scratch() for _ in range(members)]
        self._batch = torch.empty(0)

    def batch(self, shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
        """Return the memory of a batch of that shape."""
        if self._batch.shape != shape or not self._batch.is_contiguous(memory_format=layout):
            self._batch = torch.empty(shape, memory_format=layout)
        return self._batch


class _Pictures:
    """The pictures of one batch on their way: a few at a time, so that four of them and their floats stay in the processor's cache.

    The thread, where there is one, fills them; whoever wants them first does what is left, and never waits for the thread: on a busy machine
    it may hardly get to run. Filling the same pictures twice gives the same values, so the two may overlap. For a GPU they are only gathered.
    """

    def __init__(
        self,
        data: DecodedSet,
        spec: ModelSpec,
        places: NDArray[Any],
        rows: NDArray[Any],
        drawn: Variation,
        layout: torch.memory_format,
        device: torch.device,
        memory: _Memory | None,
    ) -> None:
        self.places, self.rows, self.wanted = places, rows, True
        self.drawn = drawn
        self._data, self._spec, self._device = data, spec, device
        count = len(rows)
        self._memory = memory
        if memory is not None:
            self._out = memory.batch((count, 3, *spec.input_hw), layout)
        else:
            self._out = torch.empty((count, *data.images_NHWC.shape[1:]), dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._done = [False] * -(-count // _AT_ONCE)
        self._layout = layout

    def fill(self, first: int = 0, every: int = 1) -> None:
        """Fill what is not filled yet, of every so many of its groups."""
        mine = range(first, len(self._done), every)
        self._data.wait(np.concatenate([self.rows[number * _AT_ONCE : (number + 1) * _AT_ONCE] for number in mine] or [self.rows[:0]]))
        for number in mine:
            if not self.wanted:
                return
            if not self._done[number]:
                self._put(slice(number * _AT_ONCE, (number + 1) * _AT_ONCE), first)
                self._done[number] = True

    def make(self, rows: slice, member: int) -> None:
        """Fill some rows, as a member of the crew: nobody else is at them."""
        start, stop, _ = rows.indices(len(self.rows))
        self._data.wait(self.rows[start:stop])
        for first in range(start, stop, _AT_ONCE):
            self._put(slice(first, min(first + _AT_ONCE, stop)), member)

    def _put(self, some: slice, member: int) -> None:
        pictures_BSS3 = torch.from_numpy(np.take(self._data.images_NHWC, self.rows[some], axis=0))
        if self._memory is not None:
            pictures_BSS3 = augment.varied(pictures_BSS3, self.drawn.part(some), self._spec, self._memory.scratches[member])
        self._out[some] = pictures_BSS3

    @property
    def out(self) -> Tensor:
        """Where they are, or will be, on the CPU; with a version counter of its own: a late, identical write is no change."""
        return self._out.data

    def taken(self, crew: Crew) -> Tensor:
        """Return them all, varied, on the device; each of the crew fills its share."""
        crew.each(lambda member: self.fill(member, crew.size))
        self.wanted = False
        if self._device.type == "cpu":
            return self.out
        pictures_BSS3 = self._out.to(self._device, non_blocking=True)
        return augment.varied(pictures_BSS3, self.drawn, self._spec).contiguous(memory_format=self._layout)
