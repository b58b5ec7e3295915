"""A run's events as the figures a live page shows: how far, how long still, how good, how fast. No Streamlit here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine import events
from engine.events import History
from engine.runs import Run
from engine.tasks import TASKS
from pages.parts.live_chart import Chart, Line
from pages.parts.scores import metric_of, metric_title
from pages.parts.wording import amount

__all__ = ["Now", "charts_of", "notes_of", "plan_words", "read_new", "read_now"]

_PARTS = {
    "head": ("read", "features", "head", "evaluate", "export"),
    "head_then_all": ("read", "features", "head", "finetune", "evaluate", "export"),
    "all": ("read", "finetune", "evaluate", "export"),
}
"""The phases a run goes through, by what it trains."""


@dataclass(frozen=True)
class Now:
    """Where a run stands. `share` is of the present phase, 0..1, and so are the epochs; figures that are not known yet are None."""

    words: str
    share: float
    score: float | None
    epoch: int | None
    epochs: int | None
    seconds_left: float | None
    images_per_s: float | None
    memory_mb: float | None
    seconds: float | None


def read_new(history: History, run: Run) -> bool:
    """Take the events a run wrote since the last look into its history; tell whether there were any."""
    new, history.offset = events.read_from(run.events_path, history.offset)
    events.fold(history, new)
    return bool(new)


def read_now(history: History, phases: str, task: str = "image-classification") -> Now:
    """Derive the figures of this moment. `phases` is the recipe's choice of what to train; `score` is the task's leading figure."""
    step = history.steps[-1] if history.steps else None
    epoch = history.epochs[-1] if history.epochs else None
    best = history.best or epoch
    begun = history.phase is not None and history.phase.name == "finetune" and epoch is not None and epoch.phase != "finetune"
    counted = None if begun else epoch  # the head's passes are over, and of the whole network's none is yet
    share, detail = _share(history)
    return Now(
        words=_words(history, phases, detail),
        share=share,
        score=best.metrics.get(metric_of(task)) if best else None,
        epoch=counted.epoch if counted else None,
        epochs=counted.epochs if counted else None,
        seconds_left=_seconds_left(history),
        images_per_s=_speed(history),
        memory_mb=next((point.memory_mb for point in reversed(history.steps[-50:]) if point.memory_mb is not None), None) if step else None,
        seconds=_seconds(history),
    )


def _in_steps(history: History) -> bool:
    """Whether the present phase is told in optimiser steps."""
    return bool(history.steps and history.phase and history.steps[-1].phase == history.phase.name and history.progress is None)


def _share(history: History) -> tuple[float, str]:
    if history.ended and history.ended.outcome == "finished":
        return 1.0, ""
    if history.progress:
        done, total = history.progress.done, max(1, history.progress.total)
        return min(1.0, done / total), f"{done:,} of {total:,}"
    if _in_steps(history):
        step = history.steps[-1]
        return min(1.0, step.step / max(1, step.steps)), f"step {step.step:,} of {step.steps:,}"
    return 0.0, ""


def _words(history: History, phases: str, detail: str) -> str:
    if history.ended:
        return {"finished": "Finished", "stopped": "Stopped; the best model was kept", "failed": "Failed"}[history.ended.outcome]
    if history.paused:
        return "Paused; everything is saved"
    if history.phase is None:
        return "Waiting for the device" if history.queued and not history.started else "Getting ready"
    parts = _PARTS.get(phases, ())
    place = f"Part {parts.index(history.phase.name) + 1} of {len(parts)}: " if history.phase.name in parts else ""
    return f"{place}{history.phase.title}{' · ' + detail if detail else ''}"


def _speed(history: History) -> float | None:
    if history.progress and history.progress.rate:
        return history.progress.rate
    return next((point.images_per_s for point in reversed(history.steps[-50:]) if point.images_per_s is not None), None)


def _seconds(history: History) -> float | None:
    if history.ended and history.ended.seconds:
        return history.ended.seconds
    return time.time() - history.first_started_t if history.first_started_t else None


def _seconds_left(history: History) -> float | None:
    """Go by the pace of the last steps; before there are any, by the dry run's estimate."""
    if history.ended or history.paused:
        return None
    if history.progress and history.progress.rate:
        return (history.progress.total - history.progress.done) / history.progress.rate
    if _in_steps(history):
        recent = [point for point in history.steps[-40:] if point.t >= (history.started.t if history.started else 0)]
        if len(recent) > 2 and recent[-1].step > recent[0].step:
            pace = (recent[-1].t - recent[0].t) / (recent[-1].step - recent[0].step)
            return pace * (recent[-1].steps - recent[-1].step)
    planned = history.plan.get("seconds")
    if isinstance(planned, int | float) and history.started:
        return max(0.0, planned - (time.time() - history.started.t)) or None
    return None


def charts_of(history: History, phases: str = "head_then_all", task: str = "image-classification") -> list[Chart]:
    """Make the live page's charts: loss and the task's figures, and where more than the head learns, learning rate and speed."""
    steps, epochs = history.steps, history.epochs
    xs = [point.step for point in steps]
    begun = [phase.step for phase in history.phases if phase.name == "finetune" and phase.step > 0][:1]  # each Resume begins it again
    marks = tuple((step, "fine-tuning") for step in begun)
    at = [epoch.step for epoch in epochs]
    shown = [name for name in TASKS[task].metric_titles if name != "loss"][:2]
    charts = [
        Chart(
            "loss",
            "Loss (lower is better)",
            (
                Line("each step", xs, [point.loss for point in steps], slot=0, faint=True),
                Line("training", at, [epoch.train_loss for epoch in epochs], slot=0, markers=len(at) < 60),
                Line("validation", at, [epoch.metrics.get("loss") for epoch in epochs], slot=1, markers=len(at) < 60),
            ),
            marks=marks,
        ),
        Chart(
            "accuracy",
            f"{metric_title(task)} on pictures it does not learn from",
            tuple(
                Line(metric_title(task, name), at, [epoch.metrics.get(name) for epoch in epochs], slot=slot, markers=len(at) < 60)
                for slot, name in zip((0, 2), shown, strict=False)
            ),
            percent=True,
            marks=marks,
        ),
        Chart("rate", "Learning rate", (Line("learning rate", xs, [point.learning_rate for point in steps], slot=4),), from_zero=True, marks=marks),
        Chart("speed", "Pictures per second", (Line("pictures/s", xs, [point.images_per_s for point in steps], slot=5),), from_zero=True, marks=marks),
    ]
    return charts[:2] if phases == "head" else charts  # the head is solved for, at no learning rate


def notes_of(history: History, most: int = 6) -> Sequence[events.Message]:
    """Return the last messages a run had for its user, newest first."""
    return list(reversed(history.messages[-most:]))


def plan_words(history: History) -> str:
    """Say what the dry run chose, in one line."""
    plan = history.plan
    parts = []
    if plan.get("batch_size"):
        parts.append(f"batches of {amount(int(plan['batch_size']), 'picture')}")
    if precision := plan.get("precision") or plan.get("frozen_precision"):
        parts.append(str(precision))
    if layout := plan.get("layout") or plan.get("frozen_layout"):
        parts.append(str(layout).replace("_", " "))
    if plan.get("threads"):
        parts.append(amount(int(plan["threads"]), "thread"))
    return ", ".join(parts)
