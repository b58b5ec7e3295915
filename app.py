"""The way in: `streamlit run app.py`. An ASGI application round pages/shell.py, with the routes that pages need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from pages import gate, routes

HERE = Path(__file__).resolve().parent


def _make_samples() -> None:
    """Make the sample projects in a process of their own: the first page must not wait for them, nor share its time."""
    from engine import runs

    command = [sys.executable, "-c", "from engine.data import samples; samples.ensure()"]
    subprocess.Popen(command, cwd=HERE, env=runs.worker_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Before the first page: say how to get in, clear old uploads away, have the samples made."""
    gate.announce()
    routes.prune_uploads()
    _make_samples()
    yield


app = st.App(HERE / "pages" / "shell.py", routes=routes.ROUTES, middleware=[Middleware(gate.Gate)], lifespan=lifespan)

if __name__ == "__main__":
    app.run()
