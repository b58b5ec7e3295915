"""A place to drop files: streamed to disk by this server's upload route, never held in memory (see pages/routes.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

__all__ = ["Upload", "drop_zone"]

_HERE = Path(__file__).parent
_HTML = """
<div class="zone" tabindex="0" role="button">
  <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 16V4M7 9l5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3"/></svg>
  <div class="title"></div>
  <div class="words" role="status"></div>
  <div class="track" role="progressbar" aria-valuemin="0" aria-valuemax="100" hidden><div class="bar"></div></div>
  <button type="button" class="cancel" hidden>Cancel</button>
  <div class="choices"><button type="button" class="pick-files"></button> <button type="button" class="pick-folder">Choose a folder</button></div>
</div>
<input class="files" type="file" hidden>
<input class="folder" type="file" webkitdirectory hidden>
"""


@dataclass(frozen=True)
class Upload:
    """What arrived: its id (see pages.routes.upload_path), its name, its size."""

    upload: str
    name: str
    bytes: int
    files: int


_component = st.components.v2.component(
    "graft_drop_zone",
    html=_HTML,
    css=(_HERE / "drop_zone.css").read_text(),
    js=(_HERE / "drop_zone.js").read_text(),
)


def drop_zone(
    *,
    key: str,
    purpose: Literal["pictures", "onnx", "picture"],
    title: str,
    words: str,
    accept: Sequence[str] = (),
    many: bool = False,
    needs: str = "",
    button: str = "Choose a file",
) -> Upload | None:
    """Show the zone; return what arrived in this very rerun, else None.

    Args:
        accept: endings, with their dot, that a single file may have.
        many: take several files, and folders.
        needs: an ending that at least one of the files must have.
    """
    data = {"purpose": purpose, "title": title, "words": words, "accept": list(accept), "many": many, "needs": needs, "button": button}
    result = _component(key=key, data=data, on_uploaded_change=lambda: None)
    if not result.uploaded:
        return None
    found = dict(result.uploaded)
    return Upload(str(found["upload"]), str(found["name"]), int(found["bytes"]), int(found["files"]))
