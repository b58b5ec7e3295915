"""A field that takes a picture from the clipboard (Ctrl+V or a button) or dropped on it, and hands it to Python as bytes."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import streamlit as st

from engine.errors import StudioError

__all__ = ["content_of", "pasted_picture"]

_HERE = Path(__file__).parent
MOST_BYTES = 12 << 20

_component = st.components.v2.component(
    "graft_paste",
    html='<div class="paste" tabindex="0" role="button"><span class="words"></span></div>',
    css=(_HERE / "paste.css").read_text(),
    js=(_HERE / "paste.js").read_text(),
)


def pasted_picture(*, key: str) -> bytes | None:
    """Return the content of the picture last pasted, or None; errors as for `content_of`."""
    result = _component(key=key, data={"mostBytes": MOST_BYTES}, on_picture_change=lambda: None)
    return content_of(str(result.picture)) if result.picture else None


def content_of(data_url: str) -> bytes:
    """Return the bytes of a picture that came as a data URL.

    Raises:
        StudioError: if it is no picture data or larger than 12 MB.
    """
    try:
        content = base64.b64decode(data_url.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise StudioError("what was pasted is no picture", "Copy a picture, not a link or a file's name, and paste again.") from error
    if len(content) > MOST_BYTES:
        raise StudioError(f"the pasted picture has {len(content) >> 20} MB; at most 12 MB can be pasted", "Save it to a file and drop the file instead.")
    return content
