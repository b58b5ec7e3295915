"""Opening pages in tests, and finding things on them."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

SHELL = Path(__file__).resolve().parents[2] / "pages" / "shell.py"


def open_page(file: str = "projects.py", **address: str) -> AppTest:
    """Open a page with these values in its address; fail where it shows an exception."""
    app = AppTest.from_file(str(SHELL), default_timeout=60)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    if file != "projects.py":
        app.switch_page(file).run()
    return fine(app)


def fine(app: AppTest) -> AppTest:
    """Fail where a page shows an exception, its own or the guard's."""
    assert not app.exception, [shown.message for shown in app.exception]
    assert not [shown.value for shown in app.error if "Something went wrong in Graft" in shown.value]
    return app


def words(app: AppTest) -> str:
    """Return every text the page shows, with plain spaces."""
    kinds = (app.markdown, app.caption, app.title, app.header, app.subheader, app.error, app.warning, app.info, app.success, app.code)
    return "\n".join(str(one.value) for kind in kinds for one in kind).replace("\u00a0", " ")


def command(app: AppTest) -> str:
    """Unfold a page's shell command and return it; folded, it is not even drawn."""
    assert not [one for one in app.code if one.language == "bash"]
    app.session_state["shell-command"] = True
    shown = next(str(one.value) for one in fine(app.run()).code if one.language == "bash")
    app.session_state["shell-command"] = False
    app.run()
    return shown


def button(app: AppTest, key: str):
    """Return the button of that key."""
    return next(one for one in app.button if one.key == key)


def keys(app: AppTest) -> set[str]:
    """Return the keys of all buttons."""
    return {str(one.key) for one in app.button}
