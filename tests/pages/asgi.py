"""Ask an ASGI application without a server: one request in, status, headers and body out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from pages.gate import Gate
from pages.routes import ROUTES

LOCAL = ("127.0.0.1", 8501)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def studio() -> ASGIApp:
    """Our routes behind our gate, as app.py joins them."""
    return Starlette(routes=ROUTES, middleware=[Middleware(Gate)])


def ask(
    path: str,
    *,
    method: str = "GET",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: Iterable[bytes] = (),
    server: tuple[str, int] = LOCAL,
    breaks_off: bool = False,
    app: ASGIApp | None = None,
    kind: str = "http",
) -> Answer:
    """Send one request as a browser on this machine would, unless told otherwise."""
    given = {"host": "127.0.0.1:8501", **(headers or {})}
    scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "method": method,
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
        "client": ("127.0.0.1", 5000),
        "server": server,
        "subprotocols": [],
    }
    blocks = list(body)
    incoming = [{"type": "http.request", "body": block, "more_body": breaks_off or number < len(blocks) - 1} for number, block in enumerate(blocks)]
    incoming += [{"type": "http.disconnect"}] if breaks_off else [] if blocks else [{"type": "http.request", "body": b"", "more_body": False}]
    incoming = [{"type": "websocket.connect"}] if kind == "websocket" else incoming
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not incoming:
            await asyncio.Event().wait()  # the browser stays, until the answer is complete
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as pool:  # a thread of its own: where browser tests ran before, this one has a loop already
        pool.submit(asyncio.run, (app or studio())(scope, receive, send)).result()
    if kind == "websocket":
        return Answer(sent[0].get("code", 0), {"type": sent[0]["type"]}, b"")
    found = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))
