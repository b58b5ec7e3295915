"""The user interface's process never imports torch: every page visited, with a project, pictures and a run, then sys.modules looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

VISIT = """
import sys
from streamlit.testing.v1 import AppTest
from engine import events, runs
from engine.data import samples, versions
from engine.recipe import Recipe
from pages.parts.places import PLACES

project = samples.make(samples.SAMPLES[0].key)
run = runs.create_run(project.id, Recipe(name="seen"), versions.freeze(project.id))
events.append(run.events_path, events.Started(pid=1, device="cpu"))
events.append(run.events_path, events.Ended(outcome="stopped"))

visited = []
for address in ({}, {"project": project.id}, {"project": project.id, "run": run.id}):
    app = AppTest.from_file("pages/shell.py", default_timeout=60)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    for place in PLACES:
        app.switch_page(place.file).run()
        assert not app.exception, (place.file, address, [shown.message for shown in app.exception])
        assert not any("Something went wrong in Graft itself" in shown.value for shown in app.error), (place.file, address)
        assert len(app.main) > 0, f"{place.file} shows nothing"
        visited.append(place.file)
heavy = {"torch", "torchvision", "timm", "transformers", "tensorrt", "tensorrt_rtx"} & set(sys.modules)
assert not heavy, heavy
print("visited", len(visited))
"""


def test_no_page_imports_torch(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VISIT], cwd=ROOT, env={**os.environ, "GRAFT_HOME": str(home)}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "visited 30" in done.stdout
