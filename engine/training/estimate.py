"""Foretells a run: how long, how much memory, which precision and batch, before anything starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from engine import devices, events
from engine.data import cache, geometry
from engine.models import build
from engine.models.build import ModelSpec
from engine.recipe import Recipe
from engine.tasks import TASKS, Task
from engine.training import maps, tune
from engine.training.augment import normalised
from engine.training.plan import Plan, Trial, Unfinished, as_values, for_features, for_training
from engine.training.settled import for_network, settled

if TYPE_CHECKING:
    from engine.models.catalogue import Start

__all__ = ["estimate", "sampler", "trial_loss"]

_READ_AHEAD_S = 3.0
"""Pictures that can all be decoded in this time are, so that a run finds them ready; a part of them would not be kept."""
_AT_ONCE = 64
_OVERHEAD_S = 2.5
_HEAD_SHARE = 0.5
"""What a step of a dense head on kept maps takes of a whole step, roughly."""


def sampler(data: cache.DecodedSet, spec: ModelSpec, device: torch.device) -> Callable[[int], Tensor]:
    """Return a function that gives the first few training pictures, repeated where there are too few."""

    def pictures(count: int) -> Tensor:
        rows = np.resize(data.rows["train"], count)
        data.wait(rows)
        return normalised(data.evaluation_view(rows), spec, device)

    return pictures


def trial_loss(task: Task, targets: Any, data: cache.DecodedSet, device: torch.device) -> Callable[[nn.Module, Any, int], Tensor] | None:
    """Return the loss on those same pictures where it is worth timing: matching things with places takes its time, a cross-entropy none."""
    if task.family == "pooled":
        return None

    def loss(network: nn.Module, outputs: Any, count: int) -> Tensor:
        return task.loss(network, outputs, task.batch(targets, np.resize(data.rows["train"], count), device))

    return loss


def estimate(
    *, recipe: Recipe, manifest: Mapping[str, Any], start: Start, emit: Callable[[events.Event], None], wish: Callable[[], str | None]
) -> dict[str, Any]:
    """Foretell time and memory of a run, from a few steps; measured once for each network and machine, then known.

    Returns:
        seconds, steps, images_per_s, memory_mb, batch_size, precision, layout, threads, table; epochs and pictures where the epochs were left
        open; empty if told to leave.
    """
    asked, recipe = recipe, settled(recipe, manifest)
    threads = recipe.threads or tune.usable_cores()
    tune.prepare(threads)
    device = torch.device(devices.choose(recipe.device))
    task = TASKS[recipe.task]
    network, spec, origin = build.from_start(start, recipe, manifest["classes"], geometry.usual_aspect(manifest["items"]))
    recipe = for_network(recipe, network.backbone, scratch=origin == "scratch", pooled=task.family == "pooled")
    counts = {name: sum(item["split"] == name for item in manifest["items"]) for name in ("train", "val", "test")}
    data = cache.filling(manifest, asdict(spec), ahead=device.type != "cpu")
    trial = Trial(
        network,
        spec,
        recipe,
        device,
        threads,
        sampler(data, spec, device),
        lambda: bool(wish()),
        origin != "scratch",
        trial_loss(task, task.targets(manifest, spec), data, device),
    )
    try:
        plan = for_features(trial)
        if recipe.phases != "head":
            plan = for_training(trial, plan, counts["train"])
        emit(events.Plan(values=as_values(plan)))
        reading_s = _read_ahead(data, wish)
    except Unfinished:
        return {}
    finally:
        data.close()
    chosen = {} if asked.epochs else {"epochs": recipe.epochs, "pictures": counts["train"]}
    return {**as_values(plan), **_foretold(recipe, spec, plan, counts, reading_s), **chosen}


def _read_ahead(data: cache.DecodedSet, wish: Callable[[], str | None]) -> float:
    """Decode the pictures if that is soon done; return the seconds that reading them will take a run.

    Raises:
        Unfinished: if told to leave.
    """
    began, rows = time.monotonic(), np.concatenate(list(data.rows.values()))
    for first in range(0, 0 if data.complete else len(rows), _AT_ONCE):
        if wish():
            raise Unfinished
        data.wait(rows[first : first + _AT_ONCE])
        whole_s = (time.monotonic() - began) * len(rows) / min(len(rows), first + _AT_ONCE)
        if whole_s > _READ_AHEAD_S:
            return whole_s
    return 0.0


def _foretold(recipe: Recipe, spec: ModelSpec, plan: Plan, counts: Mapping[str, int], reading_s: float) -> dict[str, Any]:
    """Add up what the phases will take."""
    seconds = {"read": reading_s, "features": 0.0, "finetune": 0.0, "evaluate": (counts["val"] + counts["test"]) / (plan.frozen_images_per_s / 2)}
    steps = 0
    if recipe.phases != "all":
        seconds["features"] = (counts["train"] + counts["val"]) / plan.frozen_images_per_s
        if TASKS[recipe.task].family == "dense":
            seconds["head"] = _HEAD_SHARE * maps.epochs_of(recipe) * counts["train"] / (plan.images_per_s or plan.frozen_images_per_s / 4)
    if recipe.phases != "head":
        steps = recipe.epochs * max(1, counts["train"] // plan.batch_size)
        seconds["finetune"] = recipe.epochs * (counts["train"] / plan.images_per_s + counts["val"] / plan.frozen_images_per_s)
    whole = sum(seconds.values()) + _OVERHEAD_S
    return {
        "seconds": round(whole, 1),
        "phases": {key: round(value, 1) for key, value in seconds.items()},
        "steps": steps,
        "images_per_s": plan.images_per_s if recipe.phases != "head" else plan.frozen_images_per_s,
        "precision": plan.precision or plan.frozen_precision,
        "layout": plan.layout or plan.frozen_layout,
        "image_size": spec.image_size,
        "table": list(plan.table),
    }
