"""The check as a job, on the digits sample with faults planted: what it finds, what it leaves alone, that it goes on after a kill, and its command."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import passport, runs, workspace
from engine.data import importing as bringing
from engine.data import items, marks, projects, samples, store
from engine.data.check.standing import standing
from engine.data.items import Item
from engine.data.marks import Mark
from engine.data.projects import Project
from engine.errors import StudioError
from engine.training import embed
from engine.work import Work
from tests.pages.drawn import class_folders, sorted_pictures, things, things_in


@dataclass
class Planted:
    """A project, what was done to it, and what its check said."""

    project: Project
    flipped: dict[int, str]
    stranger: int
    cut: int
    leak: tuple[int, int]
    result: dict[str, Any]

    def cases(self, key: str) -> list[dict[str, Any]]:
        return next(row["cases"] for row in self.result["findings"] if row["key"] == key)


def run_check(project: Project, **asked: Any) -> dict[str, Any]:
    job = runs.create_job("check", {"project_id": project.id, "device": "cpu", **asked})
    passport.check(Work(job, runs.request_of(job)))
    found = runs.result_of(job)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """The digits sample with 5% of its labels flipped, a copy across the splits, a file cut short, and a photograph of a brick wall."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("passport")
        patch.setenv("GRAFT_HOME", str(home))
        patch.setenv("GRAFT_WARM", "0")
        patch.delenv("GRAFT_DATABASE_URL", raising=False)
        project = samples.make("digits")
        known = items.list_items(project.id, limit=1000)
        chance = np.random.default_rng(0)
        flipped: dict[int, str] = {}
        for place in chance.choice(len(known), len(known) // 20, replace=False):
            item = known[place]
            flipped[item.id] = str(item.label)
            items.set_label(item.id, str((int(str(item.label)) + int(chance.integers(1, 10))) % 10), item.revision)
        extra = home / "extra"
        source = next(item for item in known if item.id not in flipped and item.split == "train")
        bring_copy(source, extra / str(source.label) / "copy.jpg")
        wall = next(picture for _, label, picture in sorted_pictures("surfaces") if label == "brick")
        (extra / "4").mkdir(exist_ok=True)
        wall.save(extra / "4" / "wall.jpg")
        bringing.import_path(project.id, extra, in_place=True)
        added = {item.name.rsplit("/", 1)[-1]: item for item in items.list_items(project.id, limit=1000) if item.id > known[-1].id}
        with store.session() as connection:
            items.touch(connection, added["copy.jpg"].id, None, split="test")
        cut = next(item for item in known if item.id not in flipped and item.id != source.id)
        cut.path.write_bytes(cut.path.read_bytes()[:200])
        yield Planted(project, flipped, added["wall.jpg"].id, cut.id, (source.id, added["copy.jpg"].id), run_check(project))


def bring_copy(item: Item, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with Image.open(item.path) as picture:
        picture.convert("RGB").save(path, quality=80)


def test_flipped_labels_are_found_and_few_others(planted: Planted) -> None:
    cases = planted.cases("labels")
    hits = [case for case in cases if case["items"][0] in planted.flipped]
    assert len(hits) >= 0.7 * len(planted.flipped)
    assert len(hits) >= 0.8 * len(cases)
    right = [case for case in hits if case["suggested"] == planted.flipped[case["items"][0]]]
    assert len(right) >= 0.9 * len(hits)


def test_a_copy_across_training_and_test_is_found(planted: Planted) -> None:
    assert [tuple(case["items"]) for case in planted.cases("leaks")] == [planted.leak]


def test_the_damaged_file_and_the_stranger_are_found(planted: Planted) -> None:
    assert [case["items"] for case in planted.cases("unreadable")] == [[planted.cut]]
    assert planted.stranger in [case["items"][0] for case in planted.cases("outliers")]
    assert len(planted.cases("outliers")) <= 6


def test_every_check_was_made_and_the_rest_is_fine(planted: Planted) -> None:
    from engine.data.check.findings import CHECKS

    by_key = {row["key"]: row for row in planted.result["findings"]}
    assert set(by_key) == {check.key for check in CHECKS} - {"drawn-labels"}
    for key in ("contradictions", "few", "balance", "blank", "dark", "blurred", "tiny", "huge", "shape", "bad-boxes"):
        assert (by_key[key]["severity"], by_key[key]["count"]) == ("green", 0), key


def test_the_map_holds_every_readable_picture_and_is_the_same_again(planted: Planted) -> None:
    chart = planted.result["map"]
    assert len(chart["ids"]) == len(chart["x"]) == len(chart["y"]) == 601 == chart["of"]
    assert planted.cut not in chart["ids"]
    assert 0 <= min(chart["x"]) < max(chart["x"]) <= 1
    label = {item.id: item.label for item in items.get_items(chart["ids"])}
    places = np.array([chart["x"], chart["y"]]).T
    nearest = [int(np.argsort(((places - here) ** 2).sum(1))[1]) for here in places]
    ids = chart["ids"]
    assert np.mean([label[ids[row]] == label[ids[other]] for row, other in enumerate(nearest)]) > 0.7  # alike ones lie together
    for path in workspace.cache("check").glob("map-*.json"):
        path.unlink()
    assert run_check(planted.project)["map"] == chart


def test_a_second_check_computes_nothing_anew(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a picture was opened again")

    monkeypatch.setattr(embed._Opener, "__call__", never)
    again = run_check(planted.project)
    assert [row["count"] for row in again["findings"]] == [row["count"] for row in planted.result["findings"]]


def test_an_empty_project_is_told_so(home: Path) -> None:
    with pytest.raises(StudioError, match="no picture to check"):
        run_check(projects.create("Empty"))


def blood(home: Path) -> tuple[Project, list[int]]:
    """A detection project: each picture has six digits side by side, the last of some with a wrong class."""
    digits: dict[str, list[Image.Image]] = {}
    for _, label, picture in sorted_pictures("digits"):
        digits.setdefault(label, []).append(picture.convert("RGB"))
    folder = home / "rows"
    folder.mkdir()
    for number in range(40):
        sheet = Image.new("RGB", (6 * 96, 96), "white")
        for place in range(6):
            sheet.paste(digits[str((number + place) % 4)][(number + 7 * place) % 60], (96 * place, 0))
        sheet.save(folder / f"{number:02}.png")
    project = projects.create("Rows", "object-detection")
    bringing.import_path(project.id, folder)
    wrong = []
    for number, item in enumerate(sorted(items.list_items(project.id, limit=99), key=lambda one: one.name)):
        labels = [str((number + place) % 4) for place in range(6)]
        if number % 5 == 0:
            labels[5] = str((int(labels[5]) + 1) % 4)
            wrong.append(item.id)
        marks.replace(item.id, [Mark(label, "box", {"box": [96 * place, 0, 96 * place + 96, 96]}) for place, label in enumerate(labels)], item.revision)
    return project, wrong


def test_drawn_labels_of_the_wrong_class_are_found(home: Path) -> None:
    project, wrong = blood(home)
    found = next(row["cases"] for row in run_check(project)["findings"] if row["key"] == "drawn-labels")
    hits = [case for case in found if case["items"][0] in wrong]
    assert len(hits) >= 0.75 * len(wrong)
    assert len(hits) >= 0.75 * len(found)


def test_a_killed_check_goes_on_where_it_was(home: Path, tmp_path: Path) -> None:
    project = projects.create("Colours")
    bringing.import_path(project.id, class_folders(tmp_path / "in", "red", "green", "blue", each=20))
    job = runs.create_job("check", {"project_id": project.id, "device": "cpu"})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    worker = subprocess.Popen([sys.executable, "-m", "engine.worker", str(job.folder)], env=environment)
    deadline = time.monotonic() + 120
    while '"features"' not in (job.events_path.read_text() if job.events_path.exists() else "") and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.wait(20)
    assert runs.state(job) == "interrupted"
    assert (workspace.cache("check") / f"{project.id}-looks.npz").exists()
    done = subprocess.run([sys.executable, "-m", "engine.worker", str(job.folder)], env=environment, check=False, timeout=240)
    assert done.returncode == 0
    assert runs.state(job) == "finished"
    result = runs.result_of(job)
    assert result is not None
    assert result["pictures"] == 60


def test_a_stopped_check_says_so_and_keeps_what_it_saw(home: Path) -> None:
    project = samples.make("surfaces")
    job = runs.create_job("check", {"project_id": project.id, "device": "cpu"})
    job.path("stop").touch()
    said = passport.check(Work(job, runs.request_of(job)))
    assert getattr(said, "outcome", "") == "stopped"
    assert runs.result_of(job) is None


def test_the_command_says_what_stands(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "engine", "check", "--project", planted.project.name, "--device", "cpu", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    value = json.load(io.StringIO(done.stdout))
    now = standing(planted.project.id, planted.result)
    assert value["severity"] == now.severity == "red"
    assert {row["key"]: row["count"] for row in value["findings"]} == {one.key: one.count for one in now.findings}


def test_tags_that_are_likely_wrong_and_copies_tagged_differently_are_found(home: Path, tmp_path: Path) -> None:
    project = projects.create("Things", marks.TAGGING)
    bringing.import_path(project.id, things(tmp_path / "in", 80))
    known = items.list_items(project.id, order="name", limit=100)
    wrong = {5: ("circle", "square"), 10: (), 23: ("circle",), 60: ("circle",)}  # one class too many, one too few, twice
    for number, item in enumerate(known):
        items.set_labels(item.id, wrong.get(number, things_in(number)), item.revision)
    with Image.open(known[31].path) as picture:
        picture.save(tmp_path / "copy.bmp")
    bringing.import_path(project.id, tmp_path / "copy.bmp")
    [copy] = items.list_items(project.id, unlabelled=True)
    items.set_labels(copy.id, ["square"], copy.revision)
    found = {row["key"]: row for row in run_check(project)["findings"]}
    named = {case["items"][0]: case for case in found["labels"]["cases"]}
    hits = {number for number in wrong if known[number].id in named}
    assert len(hits) >= 3
    assert len(named) <= len(hits) + 3
    for number in hits:
        assert named[known[number].id]["suggested"] == ("|".join(things_in(number)) or "|")
    assert [
        31 in [number for number, item in enumerate(known) if item.id in case["items"]] for case in found["contradictions"]["cases"] if copy.id in case["items"]
    ] == [True]
    assert (found["few"]["severity"], found["balance"]["count"]) == ("green", 0)
    assert "drawn-labels" not in found
