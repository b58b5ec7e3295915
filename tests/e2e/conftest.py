"""A real studio on a free port, a real browser in front of it.

`page` fails its test on a script error, on any request that leaves this machine, and on a traceback in the server's log.
`studio` is the running server (one a module, its own workspace). What tests call by name is in `tests.e2e.steps`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.steps import DESKTOP, HERE, Studio, Watcher, running

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TRACING = bool(os.environ.get("GRAFT_TRACES"))
"""Keep what the browser did in each test that failed, for `playwright show-trace`: it costs every test time."""
FAILED = pytest.StashKey[bool]()
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Studio]:
    """A running studio with a workspace of its own, shared by the tests of one module; with sample projects where the module sets WITH_SAMPLES."""
    with running(tmp_path_factory.mktemp("studio") / "graft", samples=getattr(request.module, "WITH_SAMPLES", False)) as started:
        yield started


def find_browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as installed on this machine; without one the browser tests skip, and fail where CI is set."""
    path = find_browser()
    if path is None:
        sentence = "no Chromium found (looked for " + ", ".join(BROWSERS) + "): install it, for example with `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def new_page(browser: Browser, studio: Studio, request: pytest.FixtureRequest) -> Iterator:
    """Return a function that opens one more watched browser page (each its own browser session)."""
    opened = []

    def open_page(**options: object) -> Page:
        context = browser.new_context(viewport=options.pop("viewport", DESKTOP), base_url=studio.url, accept_downloads=True, **options)
        if TRACING:
            context.tracing.start(snapshots=True)
        page = context.new_page()
        opened.append((context, Watcher(page, studio.url)))
        return page

    yield open_page
    failed = request.node.stash.get(FAILED, False)
    for number, (context, _) in enumerate(opened):
        if TRACING:
            trace = HERE / "traces" / f"{request.node.name}-{number}.zip"
            context.tracing.stop(path=str(trace) if failed else None)
        context.close()
    for _, watcher in opened:
        watcher.check()
    assert not studio.tracebacks(), studio.tracebacks()


@pytest.fixture
def page(new_page) -> Page:
    """One watched browser page, 1280 x 800."""
    return new_page()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, None]:
    outcome = yield
    if call.when == "call":
        item.stash[FAILED] = outcome.get_result().failed
