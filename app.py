"""The way in: `streamlit run app.py`. An ASGI application round pages/shell.py, with the routes that pages need."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

app = st.App(Path(__file__).resolve().parent / "pages" / "shell.py")

if __name__ == "__main__":
    app.run()
