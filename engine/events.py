"""What a run says while it works: one self-contained, NaN-free JSON line an event, appended by one writer.

Readers keep a byte offset and never read a line twice. `fold` turns events into what a page shows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

__all__ = [
    "KINDS",
    "Ended",
    "Epoch",
    "Event",
    "History",
    "Message",
    "Paused",
    "Phase",
    "Plan",
    "Progress",
    "Queued",
    "Started",
    "Step",
    "Usable",
    "append",
    "fold",
    "last",
    "read_from",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of every event. `t` is seconds since the epoch, set when the event is made."""

    kind: ClassVar[str]
    t: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Queued(Event):
    """A worker holds the run and waits for the device."""

    kind = "queued"
    device: str


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """Work begins, or begins again: `step` is the global step it goes on from (0 at first).

    `step` counts the optimiser steps already done. Points that an earlier worker reported past it are void: they will be reported again.
    """

    kind = "started"
    pid: int
    device: str
    step: int = 0
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan(Event):
    """What the dry run chose. `values` is plain JSON: precision, layout, batch_size, threads, images_per_s, seconds, memory_mb ..."""

    kind = "plan"
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Phase(Event):
    """A part of the work begins: 'read', 'features', 'head', 'finetune', 'evaluate', 'export' ... with words for the user."""

    kind = "phase"
    name: str
    title: str
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far a phase without a loss has come (decoding, features, export), `done` of `total` things."""

    kind = "progress"
    done: int
    total: int
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """One optimiser step. `step` counts over the whole run, `steps` is the run's total as now foreseen."""

    kind = "step"
    phase: str
    step: int
    steps: int
    loss: float | None
    learning_rate: float | None = None
    images_per_s: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Epoch(Event):
    """One pass over the training pictures, and what it did on the validation pictures. Shares are in 0..1."""

    kind = "epoch"
    phase: str
    epoch: int
    epochs: int
    step: int
    train_loss: float | None
    metrics: dict[str, float | None]
    seconds: float
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Usable(Event):
    """From here on `best` holds a model that can be kept. `seconds` since the user pressed Train."""

    kind = "usable"
    seconds: float
    metrics: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Message(Event):
    """A sentence for the user: something adjusted, skipped, retried."""

    kind = "message"
    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """The worker saved everything and left; the device is free. Resume launches a new worker."""

    kind = "paused"
    step: int


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """The last event of a run that is over. `metrics` are the headline figures; `problem` and `remedy` are set when it failed."""

    kind = "ended"
    outcome: Literal["finished", "stopped", "failed"]
    metrics: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""
    remedy: str = ""


KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in (Queued, Started, Plan, Phase, Progress, Step, Epoch, Usable, Message, Paused, Ended)}


def _finite(value: Any) -> Any:
    """Replace NaN and infinities by None: JSON has neither, and they crash a browser component."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def append(path: Path, event: Event) -> None:
    """Append one event as one line. A torn last line, left by a power cut, is closed off first."""
    row = {"kind": event.kind, **_finite(dataclasses.asdict(event))}
    line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    with path.open("a+b") as file:
        if file.tell() and _last_byte(file) != b"\n":
            line = b"\n" + line
        file.write(line)


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _parse(line: bytes) -> Event | None:
    """Read one line; a torn or foreign line is None (it was never acknowledged, so nothing is lost)."""
    try:
        row = json.loads(line)
        return KINDS[row.pop("kind")](**row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_from(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Read the whole lines after byte `offset`; return them and the offset to go on from."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    end = content.rfind(b"\n") + 1
    events = (_parse(line) for line in content[:end].splitlines() if line)
    return [event for event in events if event is not None], offset + end


def last(path: Path, *, after: int = 0) -> Event | None:
    """Return the last whole event that was written after byte `after`, reading only the file's end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for tail_bytes in _TAILS:
                begin = max(0, min(size, after), size - tail_bytes)
                file.seek(begin)
                content = file.read(size - begin)
                for line in reversed(content[: content.rfind(b"\n") + 1].splitlines()):
                    event = _parse(line)
                    if event is not None:
                        return event
                if begin <= after:
                    break
    except FileNotFoundError:
        pass
    return None


_TAILS = (1024, 65536, 1 << 22)
"""How much of a file's end is read to find its last event: the list of runs asks a thousand files, most events are short, a plan is long."""


@dataclass
class History:
    """Events folded into what a page shows. Feed it new events with `fold`; it is never stored."""

    queued: Queued | None = None
    started: Started | None = None
    first_started_t: float | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    phase: Phase | None = None
    phases: list[Phase] = field(default_factory=list)
    progress: Progress | None = None
    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    usable: Usable | None = None
    paused: Paused | None = None
    ended: Ended | None = None
    offset: int = 0

    @property
    def best(self) -> Epoch | None:
        """The epoch whose model is kept."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.best), None)


def fold(history: History, events: list[Event]) -> History:
    """Take new events into a history, in place, and return it."""
    for event in events:
        match event:
            case Queued():
                history.queued, history.paused, history.ended = event, None, None
            case Started():
                history.started, history.paused, history.ended = event, None, None
                history.first_started_t = history.first_started_t or event.t
                history.steps = [point for point in history.steps if point.step <= event.step]
                history.epochs = [point for point in history.epochs if point.step <= event.step]
                history.phases = [phase for phase in history.phases if phase.step <= event.step]
            case Plan():
                history.plan = event.values
            case Phase():
                history.phase, history.progress = event, None
                history.phases.append(event)
            case Progress():
                history.progress = event
            case Step():
                history.steps.append(event)
            case Epoch():
                history.epochs.append(event)
            case Usable():
                history.usable = event
            case Message():
                history.messages.append(event)
            case Paused():
                history.paused = event
            case Ended():
                history.ended = event
    return history
