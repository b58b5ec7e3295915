"""What an open Train page asks: figures and charts of a run, whether the page's frame still holds, and that asking keeps the worker warm."""

from __future__ import annotations

import pytest

from engine import events, runs, warm
from engine.recipe import recipe_from
from engine.runs import Run
from tests.pages.asgi import ask


@pytest.fixture
def run(home) -> Run:
    made = runs.create_run("project", recipe_from({"name": "Live"}), {"id": "0" * 64})
    events.append(made.events_path, events.Ended(outcome="stopped"))
    return made


def test_a_run_is_told_whole_at_first_and_then_what_is_new(run: Run) -> None:
    answer = ask(f"/graft/live/{run.id}", query=f"at=-1&marks={run.id}:stopped")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert [chart["id"] for chart in answer.json["charts"]] == ["loss", "accuracy", "rate", "speed"]
    assert answer.json["changed"] is False
    again = ask(f"/graft/live/{run.id}", query=f"at={answer.json['at']}&marks={run.id}:running").json
    assert "charts" not in again
    assert again["changed"] is True


@pytest.mark.parametrize("query", ["", "at=", "at=-5", "at=x", "at=" + "9" * 40, "marks=%2C%2C:", "marks=" + "a" * 9000])
def test_whatever_is_asked_the_answer_is_plain(run: Run, query: str) -> None:
    answer = ask(f"/graft/live/{run.id}", query=query)
    assert answer.status == 200
    assert answer.json["words"] == "Stopped; the best model was kept"


def test_a_run_that_is_gone_is_said_to_be(run: Run) -> None:
    assert ask("/graft/live/run-000101-000000-000").status == 404
    assert ask("/graft/live", query="marks=run-000101-000000-000:running").json == {"changed": True}
    assert ask("/graft/live", query=f"marks={run.id}:stopped").json == {"changed": False}


def test_who_asks_keeps_the_worker_warm(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_WARM", "1")
    monkeypatch.setattr(warm, "_last", warm._Last(started=float("inf")))  # kept, not started: this test needs no worker
    monkeypatch.setattr(warm._last, "name", warm.fingerprint())
    assert not warm.keep_alive_path().exists()
    ask("/graft/live", query="marks=")
    assert warm.keep_alive_path().exists()


def test_another_sites_page_is_told_nothing(run: Run) -> None:
    assert ask(f"/graft/live/{run.id}", headers={"sec-fetch-site": "cross-site"}).status == 403
