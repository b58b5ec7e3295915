"""Still charts, as Plotly figures: the confusion matrix, bars, the calibration diagram, curves of several runs.

Functions here make figures and know nothing of Streamlit; pages show them with `st.plotly_chart`, which lends them the theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pages.parts.wording import percent

__all__ = ["MOST_CELLS", "calibration", "class_bars", "clicked_cell", "confusion", "curves", "delta_bars", "precision_recall", "probability_bars", "tag_bars"]

MOST_CELLS = 40
"""Classes a side beyond which a matrix cannot be read; then the pairs most confused are listed instead."""

_GREEN, _ORANGE, _GREY = "#2f7d4f", "#d97a06", "#94a3b8"
_STRONG = 0.6
"""How far a cell of the matrix is coloured, 0..1, from which on white is read on it in either theme."""

_LINES = ("#2f7d4f", "#d97a06", "#5b5bd6", "#c2410c", "#0b84c4", "#8e4ec6", "#64748b", "#b7950b")
"""The theme's colours (.streamlit/config.toml), which a chart made in Python is not given."""


def _plain(figure: go.Figure, height: int, *, left: int = 10, right: int = 10, bottom: int = 10, top: int = 10) -> go.Figure:
    figure.update_layout(height=height, margin={"l": left, "r": right, "t": top, "b": bottom}, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    return figure


def confusion(matrix: Sequence[Sequence[float]], classes: Sequence[str], *, unit: str = "") -> go.Figure:
    """Draw a confusion matrix, rows true and columns predicted, coloured by the share of its row. `unit` says what is counted, if not pictures.

    Every cell also carries an unseen square marker: heat maps give no click events, markers do.
    """
    size = len(classes)
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    # right answers in green, wrong ones in orange: the sign picks the side of the colour scale; the root lets few mistakes be seen
    signed = [[share if row == column else -(share**0.5) for column, share in enumerate(line)] for row, line in enumerate(shares)]
    hover = [
        [
            f"{matrix[row][column]} {unit or f'of {sum(matrix[row])} pictures'} of <b>{classes[row]}</b><br>called <b>{classes[column]}</b>"
            for column in range(size)
        ]
        for row in range(size)
    ]
    cells = [(row, column) for row in range(size) for column in range(size)]
    height = max(320, min(760, 120 + 40 * size))
    figure = go.Figure(
        go.Heatmap(
            z=signed,
            zmin=-1,
            zmax=1,
            zmid=0,
            showscale=False,
            colorscale=[[0, "#d97a06"], [0.5, "rgba(128,128,128,0.06)"], [1, "#2f7d4f"]],
            xgap=2,
            ygap=2,
            hoverinfo="skip",
        )
    )
    figure.add_scatter(
        x=[column for _, column in cells],
        y=[row for row, _ in cells],
        mode="markers",
        marker={"symbol": "square", "size": max(8, min(44, 520 // size)), "color": "rgba(0,0,0,0)", "line": {"width": 0}},
        customdata=[[row, column] for row, column in cells],
        text=[hover[row][column] for row, column in cells],
        hovertemplate="%{text}<extra></extra>",
        selected={"marker": {"color": "rgba(91,91,214,0.35)"}},
        unselected={"marker": {"opacity": 0}},
        showlegend=False,
    )
    # not the heat map's own text: it takes its colour as if the page behind the faint cells were white, which the dark theme's is not
    for strong in (False, True) if size <= 20 else ():
        those = [(row, column) for row, column in cells if (abs(signed[row][column]) > _STRONG) == strong]
        figure.add_scatter(
            x=[column for _, column in those],
            y=[row for row, _ in those],
            mode="text",
            text=[f"{matrix[row][column]:g}" for row, column in those],
            textfont={"color": "white"} if strong else None,
            hoverinfo="skip",
            showlegend=False,
        )
    ticks = {"tickmode": "array", "tickvals": list(range(size)), "ticktext": [_short(name) for name in classes], "showgrid": False, "zeroline": False}
    figure.update_xaxes(title="the model said", side="top", fixedrange=True, tickangle=-90 if size > 7 else -40 if size > 5 else 0, **ticks)
    figure.update_yaxes(title="really is", autorange="reversed", fixedrange=True, **ticks)
    figure.update_layout(clickmode="event+select", dragmode=False, hovermode="closest", hoverdistance=-1)  # a click anywhere counts for the nearest cell
    return _plain(figure, height)


def clicked_cell(selection: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Return the (true, predicted) cell of a selection event of `confusion`, or None."""
    points = ((selection or {}).get("selection") or {}).get("points") or []
    data = points[0].get("customdata") if points else None
    return (int(data[0]), int(data[1])) if data else None


def _short(name: str, most: int = 16) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def class_bars(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw, for each class, how much of it was found (recall) and how often the model is right when it says it (precision)."""
    ordered = sorted(rows, key=lambda row: row["f1"] or 0.0)
    names = [_short(str(row["name"]), 22) for row in ordered]
    figure = go.Figure()
    for key, title, colour in (("precision", "right when it says so (precision)", _ORANGE), ("recall", "found (recall)", _GREEN)):
        figure.add_bar(
            y=names, x=[row[key] for row in ordered], name=title, orientation="h", marker_color=colour, hovertemplate="%{x:.1%}<extra>" + title + "</extra>"
        )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%", fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    figure.update_layout(barmode="group", bargap=0.35, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "reversed"})
    return _plain(figure, max(220, 90 + 40 * len(ordered)), top=50)


def calibration(bins: Sequence[Mapping[str, Any]], *, unit: str = "pictures") -> go.Figure:
    """Draw how often the model is right against how sure it was; the dotted diagonal is a model that is exactly as sure as it should be.

    `unit` says what is counted: pictures, or answers where each picture gets several.
    """
    filled = [row for row in bins if row["count"]]
    most = max((row["count"] for row in filled), default=1)
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": _GREY}, hoverinfo="skip", showlegend=False)
    figure.add_scatter(
        x=[row["confidence"] for row in filled],
        y=[row["accuracy"] for row in filled],
        mode="lines+markers",
        marker={"size": [8 + 22 * (row["count"] / most) ** 0.5 for row in filled], "color": _GREEN, "opacity": 0.85},
        line={"color": _GREEN},
        cliponaxis=False,
        text=[f"{row['count']} {unit}: said {percent(row['confidence'])}, right {percent(row['accuracy'])}" for row in filled],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="how sure the model was", range=[0, 1.03], tickformat=".0%", fixedrange=True)
    figure.update_yaxes(title="how often it was right", range=[0, 1.06], tickformat=".0%", fixedrange=True)
    return _plain(figure, 340)


def tag_bars(answers: Sequence[tuple[str, float]], thresholds: Mapping[str, float]) -> go.Figure:
    """Draw how likely a model calls each tag, the likeliest on top, and a mark where it begins to count: green bars reach theirs."""
    turned = list(reversed(answers))
    rows, names = list(range(len(turned))), [_short(name, 28) for name, _ in turned]
    figure = go.Figure(
        go.Bar(
            x=[share for _, share in turned],
            y=rows,
            orientation="h",
            marker_color=[_GREEN if share >= thresholds[name] else _GREY for name, share in turned],
            hovertemplate="%{x:.1%}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_scatter(
        x=[thresholds[name] for name, _ in turned],
        y=rows,
        mode="markers",
        marker={"symbol": "line-ns", "size": 24, "line": {"width": 2.5, "color": _ORANGE}},
        hovertemplate="counts from %{x:.0%} on<extra></extra>",
        showlegend=False,
    )
    figure.add_scatter(
        x=[1.04] * len(turned),
        y=rows,
        mode="text",
        text=[f"{name}  {percent(share)}" for name, (_, share) in zip(names, turned, strict=True)],
        textposition="middle right",
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(range=[0, 1.95], visible=False, fixedrange=True)
    figure.update_yaxes(range=[-0.6, len(turned) - 0.4], visible=False, fixedrange=True)
    figure.update_layout(bargap=0.35)
    return _plain(figure, 36 * len(turned) + 10, left=0, right=0, top=0, bottom=0)


def probability_bars(answers: Sequence[tuple[str, float]]) -> go.Figure:
    """Draw a model's first answers with their probabilities, the likeliest on top."""
    turned = list(reversed(answers))
    names = [_short(name, 28) for name, _ in turned]
    figure = go.Figure(
        go.Bar(
            x=[share for _, share in turned],
            y=list(range(len(turned))),
            orientation="h",
            marker_color=[_GREY] * (len(turned) - 1) + [_GREEN],
            text=[f"{name}  {percent(share)}" for name, (_, share) in zip(names, turned, strict=True)],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(range=[0, 1.75], visible=False, fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True)
    figure.update_layout(bargap=0.35)
    return _plain(figure, 36 * len(turned) + 10, left=0, right=0, top=0, bottom=0)


def delta_bars(names: Sequence[str], deltas: Sequence[float], title: str) -> go.Figure:
    """Draw per-class differences in points, gains in green and losses in orange."""
    ordered = sorted(zip(names, deltas, strict=True), key=lambda pair: pair[1])
    figure = go.Figure(
        go.Bar(
            x=[delta for _, delta in ordered],
            y=[_short(name, 22) for name, _ in ordered],
            orientation="h",
            marker_color=[_GREEN if delta >= 0 else _ORANGE for _, delta in ordered],
            hovertemplate="%{x:+.1%}<extra></extra>",
        )
    )
    figure.update_xaxes(title=title, tickformat="+.0%", fixedrange=True, zeroline=True)
    figure.update_yaxes(fixedrange=True)
    return _plain(figure, max(200, 80 + 26 * len(ordered)))


def curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float | None]]], *, x_title: str, y_title: str, percent_axis: bool) -> go.Figure:
    """Draw one line a run over steps or minutes."""
    figure = go.Figure()
    for number, (name, (xs, ys)) in enumerate(lines.items()):
        colour = _LINES[number % len(_LINES)]
        figure.add_scatter(x=list(xs), y=list(ys), mode="lines+markers" if len(xs) < 40 else "lines", name=name, line={"width": 2.2, "color": colour})
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title, tickformat=".0%" if percent_axis else None)
    if percent_axis:  # a constant line would be given an axis up to 200 %
        figure.update_yaxes(autorangeoptions={"minallowed": 0, "maxallowed": 1.02})
    figure.update_layout(hovermode="x unified", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return _plain(figure, 340, top=40)


def precision_recall(lines: Mapping[str, Sequence[tuple[float, float]]], here: tuple[float | None, float | None]) -> go.Figure:
    """Draw precision over recall, one line a name, and the point that is chosen."""
    figure = go.Figure()
    for number, (name, points) in enumerate(lines.items()):
        figure.add_scatter(
            x=[recall for recall, _ in points],
            y=[precision for _, precision in points],
            mode="lines",
            name=name,
            line={"width": 2.4 if not number else 1.4, "color": _LINES[number % len(_LINES)], "shape": "hv"},
            hovertemplate="finds %{x:.0%}, right %{y:.0%}<extra>" + name + "</extra>",
        )
    if None not in here:
        marker = {"size": 13, "color": _ORANGE, "line": {"width": 2, "color": "white"}}
        figure.add_scatter(x=[here[0]], y=[here[1]], mode="markers", marker=marker, name="chosen", hoverinfo="skip", showlegend=False)
    figure.update_xaxes(title="found (recall)", tickformat=".0%", range=[0, 1.02], fixedrange=True)
    figure.update_yaxes(title="right (precision)", tickformat=".0%", range=[0, 1.04], fixedrange=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return _plain(figure, 320, top=40)
