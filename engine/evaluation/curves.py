"""A run's curves for overlaying: by step and by minute of work, thinned so that a chart stays quick. The cache of them may be deleted at any time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import events, workspace
from engine.events import Ended, Epoch, Event, Paused, Queued, Started, Step
from engine.runs import Run

__all__ = ["curves", "thin"]

MOST_POINTS = 1000
WORTH_KEEPING_BYTES = 200_000
"""Smaller event files are read in under 10 ms; larger ones are thinned once for each size they have."""

Curve = dict[str, list[float]]


def curves(run: Run) -> dict[str, Curve]:
    """Return the run's curves: name -> {"step": [...], "minute": [...], "value": [...]}, each at most 1000 points.

    Names: loss, learning_rate, images_per_s, memory_mb by optimiser step; train_loss and val_<metric> by epoch.
    Minutes count work only: waiting and pauses are left out. Points that a killed worker reported past its last checkpoint are void.
    """
    path = run.events_path
    size = path.stat().st_size if path.exists() else 0
    kept = workspace.cache("curves") / f"{run.project_id}-{run.id}.json"
    if kept.exists():
        stored = workspace.read_json(kept)
        if stored["size"] == size:
            return stored["curves"]
    found = _collect(events.read_from(path)[0])
    thinned = {name: _thinned(points) for name, points in found.items()}
    if size > WORTH_KEEPING_BYTES:
        workspace.write_json(kept, {"size": size, "curves": thinned})
    return thinned


def _collect(listed: Iterable[Event]) -> dict[str, list[tuple[int, float, float]]]:
    """Return name -> [(step, minute, value)]."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    worked, since, latest = 0.0, None, 0.0
    for event in listed:
        match event:
            case Queued() | Started() | Paused() | Ended():
                if since is not None:
                    worked += (latest if isinstance(event, Queued | Started) else event.t) - since
                since, latest = (event.t, event.t) if isinstance(event, Started) else (None, event.t)
                if isinstance(event, Started):
                    found = {name: [point for point in points if point[0] <= event.step] for name, points in found.items()}
            case Step() | Epoch():
                latest = event.t
                minute = (worked + (event.t - since if since is not None else 0.0)) / 60
                for name, value in _values(event):
                    if value is not None:
                        found.setdefault(name, []).append((event.step, minute, value))
            case _:
                latest = event.t
    return found


def _values(event: Step | Epoch) -> list[tuple[str, float | None]]:
    if isinstance(event, Step):
        return [("loss", event.loss), ("learning_rate", event.learning_rate), ("images_per_s", event.images_per_s), ("memory_mb", event.memory_mb)]
    return [("train_loss", event.train_loss), *((f"val_{name}", value) for name, value in event.metrics.items())]


def _thinned(points: list[tuple[int, float, float]]) -> Curve:
    table = np.array(points, np.float64)
    kept = table[thin(table[:, 0], table[:, 2], MOST_POINTS)] if len(table) else table.reshape(0, 3)
    return {"step": kept[:, 0].astype(int).tolist(), "minute": kept[:, 1].round(4).tolist(), "value": kept[:, 2].tolist()}


def thin(x_N: NDArray[Any], y_N: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Return the indices of at most `most` points that keep the curve's look: largest triangle, three buckets (Steinarsson 2013)."""
    n = len(x_N)
    if n <= most:
        return np.arange(n)
    edges = np.linspace(1, n - 1, most - 1).astype(int)
    kept = [0]
    for i in range(most - 2):
        low, high = edges[i], edges[i + 1]
        ahead = slice(high, edges[i + 2]) if i + 2 < len(edges) else slice(n - 1, n)
        ax, ay, cx, cy = x_N[kept[-1]], y_N[kept[-1]], x_N[ahead].mean(), y_N[ahead].mean()
        area = np.abs((ax - cx) * (y_N[low:high] - ay) - (ax - x_N[low:high]) * (cy - ay))
        kept.append(low + int(area.argmax()))
    return np.array([*kept, n - 1])
