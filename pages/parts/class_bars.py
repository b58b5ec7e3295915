"""How many pictures or labels each class has, as bars."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

__all__ = ["bars"]


def bars(counts: Mapping[str, int], unit: str = "Pictures") -> None:
    """Draw the counts; many classes as a table that can be sorted and searched."""
    rows = pd.DataFrame({"Class": list(counts), unit: list(counts.values())})
    if len(rows) <= 20:
        st.bar_chart(rows, x="Class", y=unit, horizontal=True, height=42 + 24 * len(rows), y_label="", x_label="", sort=False)
    else:
        bar = st.column_config.ProgressColumn(unit, format="%d", min_value=0, max_value=int(rows[unit].max()))
        st.dataframe(rows.sort_values(unit), hide_index=True, height=320, column_config={unit: bar})
