"""Streamlit's own scripts, styles and fonts, each sent as one piece: pure ASGI middleware.

A first page asks for some seventy of them while the server imports what that page needs. Streamlit's handler passes each file on in blocks, and
each block from thread to thread, which then wait for the importing one: a tenth of the time until the page stands.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

import streamlit as st
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Scripts"]

_FOLDER = Path(st.__file__).parent / "static" / "static"
_HEADERS = [(b"cache-control", b"public, immutable, max-age=31536000")]  # as Streamlit says it: each name holds a hash of the content


class Scripts:
    """Answers GET for the files that are there; everything else goes on to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._files = {f"/static/{path.relative_to(_FOLDER).as_posix()}": path for path in _FOLDER.rglob("*") if path.is_file()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        path = self._files.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if path is None:
            await self._app(scope, receive, send)
            return
        content = path.read_bytes()
        kind = (mimetypes.guess_type(path.name)[0] or "application/octet-stream").encode()
        headers = [*_HEADERS, (b"content-type", kind), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
