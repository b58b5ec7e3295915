"""How many pictures or labels each class has, as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from pages.parts.overlay import colour_of

__all__ = ["bars", "chart_of"]


_MOST = 20


def bars(counts: Mapping[str, int], unit: str = "Pictures", *, coloured: bool = False) -> None:
    """Draw the counts; many classes as a table that can be sorted and searched. `coloured` takes the colours in which labels are drawn over pictures."""
    if len(counts) <= _MOST:
        st.vega_lite_chart(*chart_of(counts, unit, coloured=coloured))
    else:
        rows = pd.DataFrame({"Class": list(counts), unit: list(counts.values())})
        bar = st.column_config.ProgressColumn(unit, format="%d", min_value=0, max_value=int(rows[unit].max()))
        st.dataframe(rows.sort_values(unit), hide_index=True, height=320, column_config={unit: bar})


def chart_of(counts: Mapping[str, int], unit: str, *, coloured: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the Vega-Lite chart of them. (`st.bar_chart` gives the colours of a column to other rows than their own.)"""
    rows = pd.DataFrame({"Class": list(counts), unit: list(counts.values())})
    name: dict[str, Any] = {"field": "Class", "type": "nominal", "sort": None, "title": None}
    count: dict[str, Any] = {"field": unit, "type": "quantitative", "title": None}
    encoding = {"y": name, "x": count | {"axis": {"tickMinStep": 1, "format": ",d"}}, "tooltip": [name | {"title": "Class"}, count | {"title": unit}]}
    if coloured:
        rows["Colour"] = [colour_of(one, list(counts)) for one in counts]
        encoding["color"] = {"field": "Colour", "type": "nominal", "scale": None, "legend": None}
    return rows, {"mark": "bar", "height": {"step": 24}, "encoding": encoding}
