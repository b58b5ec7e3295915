"""The way in: `streamlit run app.py`. An ASGI application round pages/shell.py, with the routes that pages need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from pages import beginning, gate, scripts

SCRIPT = Path(__file__).resolve().parent / "pages" / "shell.py"


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Say how to get in, and prepare the first page."""
    gate.announce()
    beginning.before_first_page()
    yield


app = st.App(SCRIPT, routes=[beginning.ROUTE], middleware=[Middleware(gate.Gate), Middleware(scripts.Scripts)], lifespan=lifespan)

if __name__ == "__main__":
    app.run()
