"""A workspace with a sample project and two really trained runs, made once for all page tests and copied for each module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import locks

ROOT = Path(__file__).resolve().parents[2]

_BUILD = """
import time
from engine import runs
from engine.data import samples, versions
from engine.recipe import recipe_from

project = samples.make("surfaces")
version = versions.freeze(project.id)
made = []
for name, seed, size in (("First", 0, 64), ("Second", 1, 32)):
    run = runs.create_run(project.id, recipe_from({"name": name, "seed": seed, "image_size": size}, preset="quick"), version)
    runs.launch(run)
    made.append(run)
deadline = time.monotonic() + 200
while any(runs.state(run) in ("waiting", "running") for run in made) and time.monotonic() < deadline:
    time.sleep(0.1)
for run in made:
    assert runs.state(run) == "finished", (run.id, runs.state(run), run.path("log.txt").read_text()[-2000:])
"""


@dataclass(frozen=True)
class Trained:
    """The workspace, its project, and the ids of the two finished runs, the older first."""

    home: Path
    project_id: str
    first: str
    second: str

    def open(self, file: str, **address: str) -> AppTest:
        """Open a page as a browser would, in this project."""
        return open_page(file, project=self.project_id, **address)


def open_page(file: str, **address: str) -> AppTest:
    """Open a page with these values in its address; fail where it shows an exception."""
    app = AppTest.from_file(str(ROOT / "pages" / "shell.py"), default_timeout=60)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    app.switch_page(file).run()
    assert not app.exception, [shown.message for shown in app.exception]
    return app


def words(app: AppTest) -> str:
    """Return every text the page shows, in one piece, with plain spaces."""
    shown = [*app.markdown, *app.caption, *app.title, *app.header, *app.subheader, *app.error, *app.warning, *app.info, *app.success, *app.code]
    return "\n".join(str(one.value) for one in shown).replace("\u00a0", " ")


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace as it was made; not to be written to."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "trained"
    with locks.hold(shared / "trained.lock") as _:  # type: ignore[union-attr]
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
            folder.mkdir()
            environment = {**os.environ, "GRAFT_HOME": str(folder), "GRAFT_WARM": "0", "OMP_NUM_THREADS": "1"}
            done = subprocess.run([sys.executable, "-c", _BUILD], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="module")
def trained(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A copy of that workspace, set as GRAFT_HOME for the tests of one module."""
    home = tmp_path_factory.mktemp("studio") / "home"
    shutil.copytree(trained_home, home, ignore=shutil.ignore_patterns("*.sock"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(home))
        patch.setenv("GRAFT_WARM", "0")
        patch.delenv("GRAFT_DATABASE_URL", raising=False)
        project = next((home / "projects").iterdir())
        found = sorted(folder.name for folder in (project / "runs").glob("run-*"))
        yield Trained(home, project.name, *found)


def wait_for(truth: object, seconds: float = 240) -> None:
    """Wait until a function of no argument says yes."""
    deadline = time.monotonic() + seconds
    while not truth():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
