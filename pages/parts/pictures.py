"""Pictures inside a page, by URL from this server's own routes: the browser caches them, the session holds none."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from engine.data.items import get_items

__all__ = ["image_url", "picture", "strip"]

_PLACEHOLDER = "background:linear-gradient(135deg,rgba(79,174,120,.28),rgba(217,122,6,.16));"


def image_url(item_id: int, size_px: int, sha256: str = "") -> str:
    """Return the address of a picture of the project; with its hash the browser may keep it for good."""
    return f"/graft/image/{item_id}/{size_px}" + (f"?v={sha256[:16]}" if sha256 else "")


def strip(item_ids: Sequence[int], *, height_px: int = 104, alt: str = "") -> None:
    """Show a few pictures side by side, cut to fill a band of that height; without any, a quiet empty band."""
    cells = "".join(
        f'<img src="{image_url(item.id, 192, item.sha256)}" alt="{html.escape(alt if number == 0 else "")}" loading="lazy" '
        f'style="flex:1 1 0;min-width:0;height:{height_px}px;object-fit:cover">'
        for number, item in enumerate(get_items(item_ids))
    )
    frame = f"display:flex;gap:2px;height:{height_px}px;border-radius:8px;overflow:hidden;"
    st.html(f'<div style="{frame}{"" if cells else _PLACEHOLDER}">{cells}</div>')


def picture(source: str, size: tuple[int, int], *, alt: str, height_px: int) -> None:
    """Show one picture by its address, whole, as wide as there is room and at most that high; `size` (width, height) keeps its place until it is here."""
    style = f"width:100%;aspect-ratio:{size[0]}/{size[1]};max-height:{height_px}px;object-fit:contain;border-radius:8px;display:block"
    st.html(f'<img src="{html.escape(source)}" alt="{html.escape(alt)}" loading="lazy" style="{style}">')
