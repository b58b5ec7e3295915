"""The map of a data set: a point a picture, alike ones together. Hover shows the picture, the lasso selects; what is done with them is the page's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from engine.data.items import Item
from pages.parts.pictures import image_url

__all__ = ["data_map"]

_MOST_COLOURS = 10
_REST = "Other classes"

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "graft_data_map",
    html='<div class="graft-data-map"><div class="plot"></div><div class="hover" hidden><img alt=""><div class="words"></div></div></div>',
    css=(_HERE / "data_map.css").read_text(),
    js=(_HERE / "plotly_loader.js").read_text() + (_HERE / "data_map.js").read_text(),
    isolate_styles=False,
)


def data_map(shown: Mapping[int, Item], names: Mapping[int, str], places: Mapping[str, Any], *, key: str, none: str, height: int = 480) -> list[int]:
    """Draw the map and return the ids selected with the lasso, none at first.

    Args:
        shown: the pictures that are still used, by id; others are left out.
        names: the class that gives a picture its colour, by id; one that is not there has none.
        places: a check's 'map': ids, x and y.
        key: the element's key.
        none: what is said of a picture without a class.
        height: in pixels.
    """
    rows = [(item_id, x, y) for item_id, x, y in zip(places["ids"], places["x"], places["y"], strict=True) if item_id in shown]
    data = {"traces": _traces(rows, [names.get(item_id, none) for item_id, _, _ in rows], shown, none), "height": height, "source": "/graft/plotly.js"}
    result = _component(key=key, data=data, default={"selected": []}, on_selected_change=lambda: None)
    return [int(one) for one in result.selected or [] if int(one) in shown]


def _traces(rows: Sequence[tuple[int, float, float]], names: Sequence[str], shown: Mapping[int, Item], none: str) -> list[dict[str, Any]]:
    """Return a trace a class: the largest classes have colours of their own, the others share one."""
    largest = [name for name, _ in Counter(names).most_common() if name != none]
    own = sorted(largest[:_MOST_COLOURS])
    titles = own + ([_REST] if len(largest) > _MOST_COLOURS else []) + ([none] if none in names else [])
    traces: dict[str, dict[str, Any]] = {
        name: {"name": name, "slot": place if place < len(own) else -1, "ids": [], "x": [], "y": [], "sources": [], "words": []}
        for place, name in enumerate(titles)
    }
    for (item_id, x, y), name in zip(rows, names, strict=True):
        trace = traces[name if name in traces else _REST]
        trace["ids"].append(item_id)
        trace["x"].append(x)
        trace["y"].append(y)
        trace["sources"].append(image_url(item_id, 192, shown[item_id].sha256))
        trace["words"].append(name)
    return list(traces.values())
