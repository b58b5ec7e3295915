"""Round the first page: our routes come when asked for, old uploads go, samples are made once and by somebody else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette

from engine import workspace
from engine.data import projects, samples
from pages import beginning
from tests.pages.asgi import ask


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test stand for a server of its own, which has not yet started."""
    monkeypatch.setattr(beginning, "_samples_due", threading.Semaphore(0))


def _until(holds: object, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < ends, "this never came true"
        time.sleep(0.05)


def test_the_one_route_leads_to_all_of_ours(home: Path) -> None:
    app = Starlette(routes=[beginning.ROUTE])
    assert ask("/graft/plotly.js", app=app).status == 200
    assert ask("/graft/nothing-like-it", app=app).status == 404
    assert ask("/graft/upload", app=app).status == 405
    assert ask("/graft/upload", app=app, method="POST", query="purpose=pictures&name=a.zip", body=[b"abc"]).json["bytes"] == 3


def test_old_uploads_are_cleared_and_the_database_stands(home: Path) -> None:
    old, new = (workspace.uploads() / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
    week = time.time() - 7 * 86400
    os.utime(old, (week, week))
    beginning.before_first_page()
    _until(lambda: not old.exists())
    assert new.exists()
    assert (home / "graft.db").exists()


def test_samples_are_made_once_a_server_by_a_process_of_its_own(home: Path) -> None:
    projects.create("Mine", "image-classification")  # so that the process finds nothing to do
    beginning.before_first_page()
    beginning.after_first_page()
    _until(samples.made)
    (home / "projects" / ".samples").unlink()
    beginning.after_first_page()
    time.sleep(3)  # the process took less than that
    assert not samples.made()


def test_a_page_without_a_server_makes_no_samples(home: Path) -> None:
    beginning.after_first_page()
    time.sleep(3)
    assert not samples.made()
