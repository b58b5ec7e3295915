"""Watching a run or job from a terminal until it is over."""

from __future__ import annotations

import time
from typing import Any

from engine import events, runs
from engine.cli.answer import say, share

__all__ = ["outcome", "wait"]

_AT_WORK = ("waiting", "running")
_POLL_S = 0.1
_PROGRESS_S = 2.0


def wait(run: runs.Run) -> runs.State:
    """Tell how a run goes until nobody works on it, and return its state. Ctrl-C stops the watching, not the run."""
    offset = int(runs.pressed_of(run).get("offset", 0))
    teller = _Teller()
    while True:
        state = runs.state(run)
        new, offset = events.read_from(run.events_path, offset)
        for event in new:
            teller.tell(event)
        if state not in _AT_WORK:
            return state
        time.sleep(_POLL_S)


class _Teller:
    """Says each event in a line; progress not more than every two seconds."""

    def __init__(self) -> None:
        self.said = 0.0
        self.phase = ""

    def tell(self, event: events.Event) -> None:
        """Say one event on stderr, if it is worth a line."""
        match event:
            case events.Queued():
                say(f"waiting for {event.device}")
            case events.Started():
                say(f"at work on {event.device}" + (f", from step {event.step} on" if event.step else ""))
            case events.Phase():
                self.phase = event.title
                say(event.title)
            case events.Progress() if time.monotonic() - self.said > _PROGRESS_S:
                self.said = time.monotonic()
                say(f"{self.phase}: {event.done} of {event.total}")
            case events.Epoch():
                best = ", best so far" if event.best else ""
                say(f"{event.phase}: epoch {event.epoch} of {event.epochs}, {_metrics(event.metrics)}, {event.seconds:.1f} s{best}")
            case events.Usable():
                say(f"a usable model after {event.seconds:.1f} s: {_metrics(event.metrics)}")
            case events.Message():
                say(event.text)
            case events.Paused():
                say("paused")
            case events.Ended():
                say(f"{event.outcome}: {event.problem}. {event.remedy}" if event.outcome == "failed" else event.outcome)


def _metrics(metrics: dict[str, float | None]) -> str:
    """Write the headline figures."""
    shown = [f"{name} {share(metrics[key])}" for key, name in _SHOWN.items() if key in metrics]
    loss = metrics.get("loss")
    return ", ".join(shown if loss is None else [*shown, f"loss {loss:.4f}"])


_SHOWN = {"accuracy": "accuracy", "macro_f1": "macro F1", "micro_f1": "micro F1", "map": "mAP", "map_50": "AP50", "miou": "mIoU", "dice": "Dice"}


def outcome(run: runs.Run) -> dict[str, Any]:
    """Return what can be said of a run in a few words: id, state, and how it ended."""
    newest = events.last(run.events_path)
    ended = newest if isinstance(newest, events.Ended) else None
    return {
        "run": run.id,
        "state": runs.state(run),
        "metrics": ended.metrics if ended else {},
        "problem": ended.problem if ended else "",
        "remedy": ended.remedy if ended else "",
        "folder": str(run.folder),
    }
