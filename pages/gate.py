"""Who may talk to this server: pure ASGI middleware, so that it covers pages, routes, uploads and the websocket alike.

- Bound to this machine only: the Host must be a name of this machine, or a foreign site could rebind its own name to us.
- Bound to anything else, or GRAFT_TOKEN set: the token is asked for, once by ?token=, then by cookie.
- Our own routes (/graft/...) answer only to our own pages: the browser's Origin and Sec-Fetch-Site say where a request comes from.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import os
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

import streamlit as st
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Gate", "announce", "bound_to_loopback", "is_loopback", "same_origin", "token"]

COOKIE = "graft_token"
_LOG = logging.getLogger("graft")
_made = secrets.token_urlsafe(24)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def token() -> str:
    """Return the token that opens this server: GRAFT_TOKEN, or one made at its start."""
    return os.environ.get("GRAFT_TOKEN") or _made


def is_loopback(host: str) -> bool:
    """Tell whether a host or address means this machine and nobody else.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, True, False, False)
    """
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def bound_to_loopback() -> bool:
    """Tell whether the configured address is this machine only. None given means every interface."""
    return is_loopback(str(st.get_option("server.address") or ""))


def announce() -> None:
    """Say in the terminal how to get in, where a token is asked for."""
    if not bound_to_loopback() or os.environ.get("GRAFT_TOKEN"):
        port = st.get_option("server.port")
        where = "set in GRAFT_TOKEN" if os.environ.get("GRAFT_TOKEN") else token()
        _LOG.warning(
            "Graft can be reached from other machines or asks for a token. Open http://<this machine>:%s/?token=<token>; the token is: %s", port, where
        )


def same_origin(headers: dict[str, str]) -> bool:
    """Tell whether a browser request comes from this server's own pages (or from no page at all)."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return not origin or urlsplit(origin).netloc == headers.get("host")


class Gate:
    """The middleware: ask for the token where one is needed, refuse foreign hosts and foreign pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {key.decode("latin1").lower(): value.decode("latin1") for key, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is None:
            return await self.app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close", "code": 4401})
        return await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> PlainTextResponse | RedirectResponse | None:
        if _needs_token(scope):
            if not _has_cookie(headers):
                return _opened(scope) or PlainTextResponse("This studio asks for a token. Open the link with ?token=... that its terminal shows.", 401)
        elif not _known_host(headers.get("host", "")):
            return PlainTextResponse("This studio answers to localhost only. Other names: start it with --server.allowedHosts NAME.", 421)
        if scope["path"].startswith("/graft/") and not same_origin(headers):
            return PlainTextResponse("Only the studio's own pages may ask for this.", 403)
        return None


def _needs_token(scope: Scope) -> bool:
    """Ask where the server is bound to more than this machine, by its settings or by the socket this came in on."""
    reached = (scope.get("server") or ("127.0.0.1", 0))[0]
    return bool(os.environ.get("GRAFT_TOKEN")) or not bound_to_loopback() or not (is_loopback(reached) or reached.startswith("/"))


def _known_host(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    allowed = st.get_option("server.allowedHosts") or []
    return is_loopback(name) or name in {str(one).lower() for one in allowed}


def _right(given: str) -> bool:
    return hmac.compare_digest(given.encode(), token().encode())


def _has_cookie(headers: dict[str, str]) -> bool:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and _right(cookie.value)


def _opened(scope: Scope) -> RedirectResponse | None:
    """Take the token out of the address and put it into a cookie, if it is the right one."""
    if scope["type"] != "http":
        return None
    asked = parse_qsl(scope.get("query_string", b"").decode("latin1"))
    if not any(key == "token" and _right(value) for key, value in asked):
        return None
    rest = urlencode([(key, value) for key, value in asked if key != "token"])
    answer = RedirectResponse("/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else ""), 303)
    answer.set_cookie(COOKIE, token(), httponly=True, samesite="strict")
    return answer


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *((key, value) for key, value in _HEADERS if key not in present)]
        await send(message)

    return wrapped
