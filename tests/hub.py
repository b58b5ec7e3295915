"""A hub of weights on this machine, as the real one behaves. Use the fixture `hub` by importing it; GRAFT_HUB then names it."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import threading
from collections.abc import Iterator

import pytest

NAME = "mobilenetv3_small_050"
BODY = os.urandom(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """As the hub does it: a checksum on a redirect, the bytes behind it, ranges honoured."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stated: str | None = SHA
        self.body = BODY
        self.cut_after: int | None = None  # bytes after which each connection is broken off
        self.ranges_honoured = True
        self.status = 200
        self.asked: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None: ...

    def _resolve(self) -> bool:
        self.server.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if self.server.status != 200:
            self.send_error(self.server.status)
        elif "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/cdn")
            if self.server.stated:
                self.send_header("X-Linked-Etag", f'"{self.server.stated}"')
            self.send_header("X-Linked-Size", str(len(BODY)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            return True
        return False

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        if not self._resolve():
            return
        body, start = self.server.body, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.server.ranges_honoured:
            start = int(wanted[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: self.server.cut_after])
        self.close_connection = True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("GRAFT_HUB", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
