"""The live page's charts as data: lines thinned to what a screen can show, and finite. `live_chart.js` draws them. No Streamlit here.

`st.plotly_chart` remounts its node at every change of data (a blank frame, the zoom lost), and Plotly takes 50 ms of a processor
to redraw four charts, which a training on the same machine feels; a canvas of our own takes 3 ms. Still charts are Plotly's (see `charts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["POINTS", "Chart", "Line", "chart_data", "thinned"]

POINTS = 600
"""Most points of a line that are sent to the browser."""


@dataclass(frozen=True)
class Line:
    """One line of a chart; a None or NaN in `ys` leaves a gap. `slot` picks a theme colour, `faint` draws it as a backdrop."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    slot: int = 0
    faint: bool = False
    markers: bool = False


@dataclass(frozen=True)
class Chart:
    """One chart of the grid. `percent` shows shares as percentages, `from_zero` starts the y axis there."""

    id: str
    title: str
    lines: tuple[Line, ...]
    x_title: str = "step"
    percent: bool = False
    from_zero: bool = False
    marks: tuple[tuple[float, str], ...] = ()
    """Dotted vertical lines: where, and what begins there."""


def thinned(xs: Sequence[float], ys: Sequence[float | None], most: int = POINTS) -> tuple[list[float], list[float | None]]:
    """Keep the lowest and the highest point of each of `most / 2` stretches, so that no spike is lost. What is not finite becomes a gap.

    >>> thinned([0, 1, 2, 3], [5.0, 1.0, 9.0, 4.0], most=2)
    ([1, 2], [1.0, 9.0])
    """
    values = np.array(ys, dtype=float)
    solid = np.isfinite(values)
    if len(xs) <= most:
        kept = np.arange(len(xs))
    else:
        edges = np.linspace(0, len(xs), max(1, most // 2) + 1).astype(int)
        kept = np.unique([row for begin, end in zip(edges[:-1], edges[1:], strict=True) for row in _extremes(values, solid, begin, end)])
    # NaN and infinities are no JSON and would crash a browser's component; five digits are plenty for a screen
    return [xs[row] for row in kept.tolist()], [float(f"{values[row]:.5g}") if solid[row] else None for row in kept.tolist()]


def _extremes(values: np.ndarray, solid: np.ndarray, begin: int, end: int) -> tuple[int, int]:
    """Return the rows of a stretch's lowest and highest value; its first row twice where it has none."""
    rows = np.flatnonzero(solid[begin:end])
    if not len(rows):
        return begin, begin
    found = values[begin:end][rows]
    return begin + int(rows[found.argmin()]), begin + int(rows[found.argmax()])


def chart_data(chart: Chart) -> dict[str, Any]:
    """Return a chart as plain JSON, as `live_chart.js` takes it."""
    lines = []
    for line in chart.lines:
        xs, ys = thinned(line.xs, line.ys)
        lines.append({"name": line.name, "x": xs, "y": ys, "slot": line.slot, "faint": line.faint, "markers": line.markers})
    return {
        "id": chart.id,
        "title": chart.title,
        "xTitle": chart.x_title,
        "percent": chart.percent,
        "fromZero": chart.from_zero,
        "marks": [{"x": x, "text": text} for x, text in chart.marks],
        "lines": lines,
    }
