"""Charts that move without flicker: one component holds a small grid of Plotly charts and redraws each in place.

`st.plotly_chart` remounts its node at every change of data (a blank frame, the zoom lost); this one keeps node and
zoom. Static charts stay with `st.plotly_chart` (see `charts`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

__all__ = ["Chart", "Line", "live_charts", "thinned"]

POINTS = 600
"""Most points a line sends to the browser at a tick."""

_HERE = Path(__file__).parent


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


def _finite(value: float | None) -> float | None:
    """NaN and infinities crash a browser component (they are no JSON); five digits are plenty for a screen."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def thinned(xs: Sequence[float], ys: Sequence[float | None], most: int = POINTS) -> tuple[list[float], list[float | None]]:
    """Keep the lowest and the highest point of each of `most / 2` stretches, so that no spike is lost.

    >>> thinned([0, 1, 2, 3], [5.0, 1.0, 9.0, 4.0], most=2)
    ([1, 2], [1.0, 9.0])
    """
    count = len(xs)
    if count <= most:
        return list(xs), [_finite(y) for y in ys]
    kept: list[int] = []
    stretches = max(1, most // 2)
    for part in range(stretches):
        rows = range(part * count // stretches, (part + 1) * count // stretches)
        solid = [row for row in rows if _finite(ys[row]) is not None]
        if not solid:
            kept.append(rows[0])
            continue
        low, high = min(solid, key=lambda row: ys[row] or 0.0), max(solid, key=lambda row: ys[row] or 0.0)
        kept.extend(sorted({low, high}))
    return [xs[row] for row in kept], [_finite(ys[row]) for row in kept]


def _data(chart: Chart) -> dict[str, Any]:
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


_component = st.components.v2.component(
    "graft_live_charts",
    html='<div class="graft-live-charts"></div>',
    css=(_HERE / "live_chart.css").read_text(),
    js=(_HERE / "plotly_loader.js").read_text() + (_HERE / "live_chart.js").read_text(),
    isolate_styles=False,
)


def live_charts(charts: Sequence[Chart], *, key: str, revision: str, height: int = 240) -> None:
    """Draw a grid of charts that redraw in place at every call with the same key.

    Args:
        charts: the charts, in reading order; their ids keep their nodes.
        key: the element's key.
        revision: as long as it stays the same, the user's zoom stays too.
        height: pixels of each chart, reserved from the start so that nothing jumps.
    """
    _component(key=key, data={"charts": [_data(chart) for chart in charts], "revision": revision, "height": height, "source": "/graft/plotly.js"})
