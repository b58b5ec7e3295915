"""Which settings a run passes over, and why, in sentences: a setting that does nothing must not look as if it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.models.dense.options import idle_settings
from engine.recipe import Recipe, settings, usual
from engine.training.optim import ONE_CYCLE_RISE

__all__ = ["Circumstances", "ignored"]

_PICTURES = tuple(row.key for row in settings() if row.group == "pictures")
_FINE_TUNING = (
    "epochs",
    "lr_backbone",
    "schedule",
    "warmup",
    "optimizer",
    "clip_norm",
    "ema",
    "patience",
    "freeze_depth",
    "drop_path",
    "batch_size",
    *_PICTURES,
)
_BACKBONE = ("lr_backbone", "ema", "patience", "freeze_depth", "optimizer", *(row.key for row in settings() if row.group == "pictures"))
_DESCENT = ("lr_head", "weight_decay", "label_smoothing", "dropout")


@dataclass(frozen=True)
class Circumstances:
    """What a run meets that decides which settings matter.

    Attributes:
        door: which door its starting point came through: 'general', 'optimized', 'onnx' or 'run'.
        device: 'cpu', 'cuda' or 'mps'.
        train, val: how many pictures there are to train on and to choose by.
        solved: the head is linear and so is solved to its optimum, not descended to.
        blends: in which ways the task can join pictures and their labels.
        pooled: a head on a vector a picture learns alone, quickly, before the whole network.
        drops_paths: the network has branches that can be skipped.
        head: the architecture that finds or outlines things, '' where it comes with an earlier run.
        stride: pixels to one place of the coarsest map that the architecture reads, 0 where it reads none.
    """

    door: str
    device: str
    train: int
    val: int
    solved: bool
    blends: tuple[str, ...]
    pooled: bool
    drops_paths: bool
    head: str = ""
    stride: int = 0


def ignored(recipe: Recipe, met: Circumstances) -> list[str]:
    """Return one sentence for each reason why settings that the user changed have no effect."""
    before = usual(recipe.task, recipe.preset)
    changed = {key for key in Recipe.model_fields if getattr(recipe, key) != before[key]}
    said: set[str] = set()
    sentences = []
    for keys, reason in _reasons(recipe, met):
        idle = [key for key in keys if key in changed and key not in said]
        said.update(idle)
        if idle:
            names = ", ".join(Recipe.model_fields[key].title or key for key in idle)
            sentences.append(f"{reason}, so {'this setting has' if len(idle) == 1 else 'these settings have'} no effect: {names}.")
    return sentences


def _reasons(recipe: Recipe, met: Circumstances) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield settings and why they do nothing here."""
    yield tuple(row.key for row in settings() if row.tasks and recipe.task not in row.tasks), "They are not for this kind of task"
    if recipe.phases == "head":
        yield _FINE_TUNING if met.pooled else _BACKBONE, "Only the new last layers learn in this run"
        if met.solved:
            yield _DESCENT, "The last layer is solved exactly and nothing is fine-tuned after it"
    elif recipe.freeze_depth >= 1:
        yield ("lr_backbone", "drop_path"), "The whole backbone is frozen"
    if not met.drops_paths:
        yield ("drop_path",), "This backbone has no branches that could be skipped"
    yield tuple(way for way in ("mixup", "cutmix", "mosaic", "copy_paste") if way not in met.blends), "Pictures of this task are not joined in this way"
    if not met.pooled and recipe.class_balance == "loss":
        yield ("class_balance",), "Classes are not weighed in the loss of this kind of task (choose sampling instead)"
    if not met.pooled:
        for key, reason in idle_settings(met.head if met.door in ("general", "onnx") else "").items():
            yield (key,), reason
    if recipe.output_stride != "auto" and met.stride > int(recipe.output_stride):
        yield ("output_stride",), f"This backbone's coarsest map has one place every {met.stride} pixels and cannot be made finer"
    if met.door != "run":
        yield ("reuse_depth",), "This run does not start from an earlier run"
    if met.door != "onnx":
        yield ("cut",), "This run does not start from an ONNX file"
    if met.device != "cpu":
        yield ("threads",), "The graphics processor computes"
    if not met.val:
        yield ("patience",), "There are no validation pictures to tell when to stop"
    elif recipe.patience >= recipe.epochs:
        yield ("patience",), f"The run ends after {recipe.epochs} epochs anyway"
    if recipe.schedule == "one_cycle" and recipe.warmup < ONE_CYCLE_RISE:
        yield ("warmup",), f"The one-cycle schedule rises over {ONE_CYCLE_RISE:.0%} of the steps"
    if recipe.batch_size > met.train:
        yield ("batch_size",), f"There are only {met.train} training pictures and each batch holds them all"
