"""Streamlit's files come as Streamlit itself would send them, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from pages.scripts import Scripts
from tests.pages.asgi import Answer, ask

STATIC = Path(st.__file__).parent / "static" / "static"
KINDS = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2"}


def _behind(_: Request) -> PlainTextResponse:
    return PlainTextResponse("the application")


@pytest.fixture(scope="module")
def app() -> ASGIApp:
    return Starlette(routes=[Route("/{rest:path}", _behind)], middleware=[Middleware(Scripts)])


def _ask(app: ASGIApp, path: str, method: str = "GET") -> Answer:
    return ask(path, app=app, method=method)


@pytest.mark.parametrize("suffix", KINDS)
def test_a_file_comes_whole_with_its_kind_and_may_be_kept_for_ever(app: ASGIApp, suffix: str) -> None:
    path = max(STATIC.rglob(f"*{suffix}"), key=lambda one: one.stat().st_size)
    answer = _ask(app, f"/static/{path.relative_to(STATIC).as_posix()}")
    assert answer.body == path.read_bytes()
    assert answer.headers["content-type"] == KINDS[suffix]
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/", "/static/js", "/static/../index.html", "/static//js/../../index.html", "/static/js/none.js", "/graft/upload"])
def test_all_else_goes_on_to_the_application(app: ASGIApp, path: str) -> None:
    assert _ask(app, path).body == b"the application"


def test_a_file_is_only_read(app: ASGIApp) -> None:
    path = next(STATIC.rglob("*.css"))
    assert _ask(app, f"/static/{path.relative_to(STATIC).as_posix()}", "HEAD").body != path.read_bytes()
