"""What a job is given: its run, what is asked of it, a way to report, and a way to be asked to leave."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from engine import events, runs, workspace

__all__ = ["LastWord", "Wish", "Work"]

Wish = Literal["stop", "pause"]

LastWord = events.Ended | events.Paused | None
"""How a job leaves. None says nothing: it was told to go at once, and the run reads interrupted."""


@dataclass
class Work:
    """One worker's work on one run. `told_to_go` is set by SIGTERM (the machine shuts down)."""

    run: runs.Run
    request: dict[str, Any]
    device: str = "cpu"
    told_to_go: bool = False
    started: float = field(default_factory=time.monotonic)
    step: int = 0
    _said: float = float("-inf")

    def emit(self, event: events.Event) -> None:
        """Append an event to the run.

        Raises:
            StudioError: if the disk is full.
        """
        self.step = getattr(event, "step", self.step)
        try:
            events.append(self.run.events_path, event)
        except OSError as error:
            raise workspace.disk_error(error, self.run.events_path) from error

    def wish(self) -> Wish | None:
        """Return what the user wants of the run; to be asked between steps."""
        if self.run.path("stop").exists():
            return "stop"
        return "pause" if self.told_to_go or self.run.path("pause").exists() else None

    def should_stop(self) -> bool:
        """Tell whether to leave, whatever for."""
        return self.wish() is not None

    def progress(self, done: int, total: int) -> None:
        """Report how far a job without a loss has come, at most five times a second."""
        now = time.monotonic()
        if done >= total or now - self._said > 0.2:
            self._said = now
            self.emit(events.Progress(done=done, total=total))

    @property
    def seconds(self) -> float:
        """Seconds since this worker began."""
        return time.monotonic() - self.started

    def left(self) -> LastWord:
        """Return the last word of work that was asked to leave before it had anything to keep."""
        if self.wish() == "stop":
            return events.Ended(outcome="stopped", seconds=self.seconds)
        return None if self.told_to_go else events.Paused(step=self.step)

    def finished(self, result: dict[str, Any]) -> events.Ended:
        """Write a job's result and return its last word."""
        workspace.write_json(self.run.path("result.json"), result)
        return events.Ended(outcome="finished", seconds=self.seconds)
