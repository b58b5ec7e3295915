"""How a project stands: its newest run's state and its best score, read from the ends of the runs' events only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine import events, runs
from engine.runs import State
from pages.parts.scores import metric_of

__all__ = ["Standing", "standing"]


@dataclass(frozen=True)
class Standing:
    """Runs of a project in a glance. `best` is the task's leading figure on held-out pictures, a share of 0..1."""

    runs: int = 0
    newest: str = ""
    state: State | None = None
    best: float | None = None


@lru_cache(maxsize=50_000)
def _score(path: str, size: int, mtime_ns: int, metric: str) -> float | None:  # noqa: ARG001 (size and time are the cache's key)
    last = events.last(Path(path))
    return last.metrics.get(metric) if isinstance(last, events.Ended) else None


def standing(project_id: str, task: str) -> Standing:
    """Return how a project stands; a run's events are read again only if they changed."""
    listed = runs.list_runs(project_id)
    if not listed:
        return Standing()
    known = []
    for run in listed:
        try:
            stamp = run.events_path.stat()
        except FileNotFoundError:
            continue
        found = _score(str(run.events_path), stamp.st_size, stamp.st_mtime_ns, metric_of(task))
        if found is not None:
            known.append(found)
    return Standing(len(listed), listed[0].id, runs.state(listed[0]), max(known, default=None))
