"""Two people label the same pictures while the server is killed twice: what was acknowledged is there, and nothing was overwritten unseen.

Real processes, a real studio, SIGKILL. GRAFT_LABEL_SECONDS=60 makes it as long as an afternoon's minute; by itself it takes a few seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from engine.data import importing, items, marks, projects
from tests.e2e.steps import Studio
from tests.pages.drawn import flat

SECONDS = float(os.environ.get("GRAFT_LABEL_SECONDS", "6"))
FEWEST = 5  # acknowledged edits of each labeller before, between and after the kills
PEOPLE = 2


def acknowledged(log: Path) -> list[dict]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [row for line in lines if line.endswith("}") and "item" in (row := json.loads(line))]


def wait(logs: list[Path], seconds: float) -> None:
    """Wait that long, and until everybody has got a few more edits through."""
    before = [len(acknowledged(log)) for log in logs]
    began = time.monotonic()
    while time.monotonic() - began < seconds or any(len(acknowledged(log)) < count + FEWEST for log, count in zip(logs, before, strict=True)):
        assert time.monotonic() - began < seconds + 90, "the labellers got no answer"
        time.sleep(0.05)


def test_no_acknowledged_edit_is_lost_and_none_is_overwritten_unseen(home: Path, tmp_path: Path) -> None:
    project = projects.create("Shared", "object-detection")
    importing.import_path(project.id, flat(tmp_path / "flat", 3))
    shared = [item.id for item in items.list_items(project.id)]
    studio = Studio(home)
    logs = [tmp_path / f"person-{tag}.jsonl" for tag in range(PEOPLE)]
    people: list[subprocess.Popen[bytes]] = []
    try:
        studio.start()
        for tag, log in enumerate(logs):
            command = [sys.executable, str(Path(__file__).with_name("labeller.py")), studio.url, str(tag), str(log), *map(str, shared)]
            people.append(subprocess.Popen(command))
        for _ in range(2):
            wait(logs, SECONDS / 3)
            studio.kill()
            studio.start()
        wait(logs, SECONDS / 3)
    finally:
        for person in people:
            person.terminate()
        codes = [person.wait(30) for person in people]
        studio.stop()
        studio.end_workers()
    assert codes == [0] * PEOPLE
    assert not studio.tracebacks(), studio.tracebacks()

    rows = [row for log in logs for row in acknowledged(log)]
    kept = {item: [tuple(mark.geometry["point"]) for mark in found if mark.geometry] for item, found in marks.of_items(shared).items()}
    lost = [row for row in rows if tuple(row["point"]) not in kept[row["item"]]]
    assert lost == []
    revisions = [(row["item"], row["revision"]) for row in rows if row["revision"] is not None]
    assert len(revisions) == len(set(revisions)), "two edits were acknowledged on the same revision: one overwrote the other"
    for item in items.get_items(shared):
        assert len(kept[item.id]) == len(set(kept[item.id])) == item.revision, "an edit was entered twice, or one that is not there was counted"
    refused = sum("refused" in line for log in logs for line in log.read_text().splitlines())
    assert refused, "the labellers never met: this test proved nothing"
