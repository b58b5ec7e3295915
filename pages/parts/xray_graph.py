"""A network as a drawing: blocks that fold and unfold, zoom and pan, the cut marked; a click on a step proposes it as the cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

__all__ = ["xray_graph"]

_HERE = Path(__file__).parent
_HTML = """
<div class="frame" tabindex="0" role="group" aria-label="Drawing of the network">
  <div class="tools">
    <button type="button" class="closer" title="Larger" aria-label="Larger">+</button>
    <button type="button" class="farther" title="Smaller" aria-label="Smaller">&minus;</button>
    <button type="button" class="whole" title="Show all of it">All</button>
    <button type="button" class="to-cut" title="Go to the cut">Cut</button>
    <button type="button" class="fold" title="Fold every block">Fold</button>
  </div>
  <svg class="drawing"><g class="world"></g></svg>
</div>
<div class="legend">
  <span><i class="kept"></i>kept</span><span><i class="cut"></i>cut after this</span><span><i class="gone"></i>old head, cut off</span>
  <span class="hint"></span>
</div>
"""

_component = st.components.v2.component(
    "graft_xray_graph",
    html=_HTML,
    css=(_HERE / "xray_graph.css").read_text(),
    js=(_HERE / "xray_graph.js").read_text(),
)


def xray_graph(graph: Mapping[str, Any], cut: str, *, key: str) -> str | None:
    """Draw a graph as `engine.models.own_onnx.drawing.draw` tells it, cut after the value `cut`.

    Returns:
        The value the user clicked in this very rerun, else None.
    """
    data = {part: graph[part] for part in ("nodes", "edges", "blocks", "block_edges", "complete")}
    result = _component(key=key, data={**data, "cut": cut}, on_picked_change=lambda: None)
    return str(result.picked) if result.picked else None
