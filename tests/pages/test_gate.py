"""Who is let in: hosts, origins, the token, and the websocket too."""

from __future__ import annotations

import pytest
import streamlit as st

from pages import gate
from tests.pages.asgi import ask

LAN = ("192.168.1.20", 8501)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8501"}, 200),
        ({"host": "[::1]:8501"}, 200),
        ({"host": "evil.example:8501"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://127.0.0.1:8501"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_this_machines_own_pages_are_answered(home, headers: dict[str, str], status: int) -> None:
    assert ask("/graft/plotly.js", headers=headers).status == status


def test_another_address_asks_for_the_token(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_TOKEN", "a-secret")
    assert ask("/graft/plotly.js", server=LAN).status == 401
    assert ask("/graft/plotly.js", server=LAN, query="token=wrong").status == 401
    opened = ask("/data", server=LAN, query="token=a-secret&project=p1")
    assert opened.status == 303
    assert opened.headers["location"] == "/data?project=p1"
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ask("/graft/plotly.js", server=LAN, headers={"cookie": cookie.split(";")[0], "host": "studio.lan"}).status == 200
    assert ask("/graft/plotly.js", server=LAN, headers={"cookie": "graft_token=wrong"}).status == 401


def test_a_token_is_needed_on_another_address_even_if_none_was_set(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_TOKEN", raising=False)
    assert ask("/graft/plotly.js", server=LAN).status == 401
    assert ask("/", server=LAN, query=f"token={gate.token()}").status == 303
    assert len(gate.token()) >= 24


def test_binding_every_interface_asks_for_the_token_on_this_one_too(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_TOKEN", raising=False)
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else real(name))
    assert ask("/graft/plotly.js").status == 401


def test_the_redirect_stays_on_this_server(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_TOKEN", "a-secret")
    assert ask("//evil.example/", query="token=a-secret").headers["location"].startswith("/evil.example")


def test_the_websocket_is_gated_too(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_TOKEN", "a-secret")
    refused = ask("/_stcore/stream", kind="websocket")
    assert (refused.headers["type"], refused.status) == ("websocket.close", 4401)


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/graft/plotly.js", {}, 200),
        ("/graft/image/999/96", {}, 404),
        ("/graft/download/run-x/model.onnx", {}, 404),
        ("/graft/nothing", {}, 404),
        ("/graft/plotly.js", {"headers": {"origin": "https://evil.example"}}, 403),
        ("/graft/plotly.js", {"headers": {"host": "evil.example"}}, 421),
        ("/graft/plotly.js", {"server": LAN}, 401),
    ],
)
def test_every_answer_carries_the_headers_that_keep_other_sites_out(home, path: str, more, status: int) -> None:
    answer = ask(path, **more)
    assert answer.status == status
    assert answer.headers["x-content-type-options"] == "nosniff"  # a browser takes a download for what we say it is, never for a page
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["referrer-policy"] == "same-origin"
