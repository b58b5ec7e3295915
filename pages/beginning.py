"""What a studio does round its first page: the page comes first, and what it does not need comes after it.

While the browser reads Streamlit's scripts, a thread imports what pages and routes need. Once the first page stands, the sample projects are made.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from anyio import to_thread
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from engine.errors import StudioError

__all__ = ["ROUTE", "after_first_page", "before_first_page"]

HERE = Path(__file__).resolve().parent.parent
LATEST_SECONDS = 10.0
"""The samples are made by then, whether or not somebody has looked at a page."""
_NEEDED = ("engine.data.projects", "engine.data.samples", "pages.parts.state", "pages.parts.pictures", "pages.parts.standing", "pages.parts.run_picker")

_samples_due = threading.Semaphore(0)  # one from the server's start until somebody takes it; none where a page runs without a server


class _Later:
    """Our own routes, imported by the time somebody asks for one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await to_thread.run_sync(_router))(scope, receive, send)


ROUTE = Route("/graft/{rest:path}", _Later())


@cache
def _router() -> Router:
    from pages import routes

    return Router(routes.ROUTES)


def before_first_page() -> None:
    """Begin to import what the first page needs, clear old uploads away, and see to it that the samples are made at some time."""
    _samples_due.release()
    threading.Thread(target=_prepare, name="prepare", daemon=True).start()
    late = threading.Timer(LATEST_SECONDS, after_first_page)
    late.daemon = True
    late.start()


def _prepare() -> None:
    """Import with the collector held still, which finds nothing to free meanwhile and takes an eighth of the time; look once at what will be shown."""
    gc.disable()
    try:
        for name in _NEEDED:
            importlib.import_module(name)
        from pages import routes
    finally:
        gc.freeze()
        gc.enable()
    from engine.data import projects
    from pages.parts.standing import standing

    with contextlib.suppress(StudioError):  # the page says so itself
        for project in projects.list_projects():
            projects.summary(project.id)
            standing(project.id, project.task)
    routes.prune_uploads()


def after_first_page() -> None:
    """Have the sample projects of a fresh workspace made, by a process of their own: no page must share its time. Once a server."""
    if not _samples_due.acquire(blocking=False):
        return
    from engine.data import samples

    if samples.made():
        return
    from engine import runs

    command = [sys.executable, "-c", "from engine.data import samples; samples.ensure()"]
    subprocess.Popen(command, cwd=HERE, env=runs.worker_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
