from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from engine.data import importing, items, looking, projects, splits, store, versions
from engine.data.importing import Stage
from engine.data.projects import Project
from engine.errors import StudioError
from tests.pages.drawn import damaged_inside


def _jpeg(seed: int = 0) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(memory, "JPEG")
    return memory.getvalue()


def _damaged_inside(seed: int = 0) -> bytes:
    return damaged_inside(_jpeg(seed))


def _put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _names(project: Project) -> set[str]:
    return {item.name for item in items.list_items(project.id, limit=500)}


def _seen(project: Project) -> int:
    with store.session() as connection:
        found = connection.scalars(select(store.items.c.fingerprint).where(store.items.c.project_id == project.id))
        return sum(one is not None for one in found)


def _only_entered(project: Project, folder: Path, in_place: bool = True) -> None:
    """Import up to the moment from which pictures are looked at."""
    now: list[Stage] = []
    with pytest.raises(StudioError, match="are in the project, but looking through them was stopped"):
        importing.import_path(project.id, folder, in_place=in_place, stage=now.append, should_stop=lambda: now[-1] == "look")


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_cut_short_never_enters_and_one_damaged_inside_is_taken_out_again(project: Project, folder: Path, home: Path, in_place: bool) -> None:
    _put(folder / "cat" / "short.jpg", _jpeg(1)[:-30])
    _put(folder / "cat" / "inside.jpg", _damaged_inside(2))
    entered: dict[Stage, set[str]] = {}
    report = importing.import_path(project.id, folder, in_place=in_place, stage=lambda stage: entered.setdefault(stage, _names(project)))
    assert entered["enter"] == set()
    assert entered["look"] == _names(project) | {"cat/inside.jpg"}
    assert [(one.name, "damaged or cut short" in one.reason) for one in report.skipped] == [("cat/inside.jpg", True), ("cat/short.jpg", True)]
    assert (report.added, report.classes, report.splits) == (20, {"cat": 10, "dog": 10}, {"train": 12, "val": 4, "test": 4})
    copies = [file for file in (home / "projects" / project.id / "images").rglob("*") if file.is_file()]
    assert len(copies) == (0 if in_place else 20)
    assert looking.taken_out(project.id) == []


def test_nothing_of_a_damaged_picture_is_counted_or_kept(project: Project, folder: Path) -> None:
    """As if it had never entered: not its class, nor that another file is the same."""
    _put(folder / "newt" / "one.jpg", _damaged_inside())
    _put(folder / "newt" / "two.jpg", _damaged_inside())
    report = importing.import_path(project.id, folder)
    assert (report.added, report.duplicates, report.labels) == (20, 0, 20)
    assert [one.reason.partition(" (")[0] for one in report.skipped] == [f"newt/{name}.jpg is damaged or cut short" for name in ("one", "two")]
    assert items.classes(project.id) == ["cat", "dog"]


def test_where_every_picture_is_damaged_the_project_is_as_before(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "yolo"
    for number in range(3):
        _put(folder / "images" / f"{number}.jpg", _damaged_inside(number))
        _put(folder / "labels" / f"{number}.txt", b"0 0.5 0.5 0.2 0.2\n")
    _put(folder / "data.yaml", b"names: [thing]\n")
    with pytest.raises(StudioError, match="none of the 3 pictures could be read, the first because .*0.jpg is damaged"):
        importing.import_path(project.id, folder)
    assert projects.get(project.id).task == "image-classification"
    assert items.count_items(project.id) == 0


@pytest.mark.parametrize("in_place", [True, False])
def test_an_import_killed_while_looking_is_finished_by_a_version(
    project: Project, folder: Path, tmp_path: Path, draw: Callable[..., Path], in_place: bool
) -> None:
    for number in range(100):
        draw(folder / ("cat", "dog")[number % 2] / f"more-{number}.png", 100 + number)
    _put(folder / "cat" / "inside.jpg", _damaged_inside())
    code = f"""
import time
from engine.data import importing, looking
looking._KEPT_EVERY_S = 0
now = []
importing.import_path({project.id!r}, {str(folder)!r}, in_place={in_place}, report=lambda *_: time.sleep(now[-1] == "look"), stage=now.append)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    while not _seen(project):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < looking.left(project.id) < 121
    manifest = versions.freeze(project.id)
    assert (len(manifest["items"]), looking.left(project.id)) == (120, 0)
    assert [one.name for one in looking.taken_out(project.id)] == ["cat/inside.jpg"]
    whole = projects.create("At one go")
    importing.import_path(whole.id, folder, in_place=in_place)
    assert _places(whole) == _places(project)


def _places(project: Project) -> dict[str, str | None]:
    return {item.name: item.split for item in items.list_items(project.id, limit=500)}


def test_stopped_while_looking_the_pictures_stay_and_the_next_import_goes_on(project: Project, folder: Path, draw: Callable[..., Path], tmp_path: Path) -> None:
    _put(folder / "cat" / "inside.jpg", _damaged_inside())
    now: list[Stage] = []
    with pytest.raises(StudioError, match="are in the project, but looking through them was stopped"):
        importing.import_path(project.id, folder, stage=now.append, should_stop=lambda: now[-1] == "look")
    assert now == ["enter", "look"]
    assert len(_names(project)) in (20, 21)
    assert set(_places(project).values()) == {None}
    draw(tmp_path / "more" / "cat" / "new.png", 99)
    report = importing.import_path(project.id, tmp_path / "more" / "cat" / "new.png", stage=now.append)
    assert report.added == 1
    assert [one.name for one in report.skipped] == ["cat/inside.jpg"]
    assert looking.left(project.id) == 0
    assert all(place for name, place in _places(project).items() if name != "new.png")


def test_no_picture_has_a_place_before_it_was_looked_at(project: Project, folder: Path) -> None:
    _only_entered(project, folder)
    with store.session() as connection:
        connection.execute(store.items.update().values(fingerprint=None))
    assert splits.assign(project.id) == {}
    assert set(_places(project).values()) == {None}
    assert sum(splits.preview(project.id, splits.Settings()).splits.values()) == 20
    assert looking.left(project.id) == 0
    assert splits.apply(project.id, splits.Settings()) == {"train": 12, "val": 4, "test": 4}


def test_what_a_person_says_while_pictures_are_looked_at_is_kept(project: Project, folder: Path) -> None:
    _put(folder / "cat" / "inside.jpg", _damaged_inside())

    def label(stage: Stage) -> None:
        if stage == "look":
            for item in items.list_items(project.id):
                items.set_label(item.id, "bird", item.revision)

    importing.import_path(project.id, folder, stage=label)
    found = items.list_items(project.id)
    assert [(item.label, item.revision, item.split is not None) for item in found] == [("bird", 1, True)] * 20


def test_a_label_given_between_two_looks_conflicts_with_none(project: Project, folder: Path) -> None:
    """The revision that a page saw stays good: that a picture was looked at is no edit of it."""
    _only_entered(project, folder)
    before = items.list_items(project.id)
    assert looking.finish(project.id) == []
    assert [items.set_label(item.id, "bird", item.revision).revision for item in before] == [1] * 20


def test_two_processes_look_at_once(project: Project, folder: Path, draw: Callable[..., Path]) -> None:
    for number in range(200):
        draw(folder / "cat" / f"more-{number}.png", 100 + number)
    _put(folder / "cat" / "inside.jpg", _damaged_inside())
    _only_entered(project, folder, in_place=False)
    with store.session() as connection:
        connection.execute(store.items.update().values(fingerprint=None))
    code = f"from engine.data import looking\nlooking._KEPT_EVERY_S = 0\nassert looking.finish({project.id!r}) is not None"
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [one.wait(120) for one in both] == [0, 0]
    assert (looking.left(project.id), _seen(project)) == (0, 220)
    assert [one.name for one in looking.taken_out(project.id)] == ["cat/inside.jpg"]


def test_a_file_that_is_gone_or_was_changed_is_not_taken_out(project: Project, folder: Path) -> None:
    """A disk that is not plugged in must not cost anybody their labels."""
    _only_entered(project, folder)
    with store.session() as connection:
        connection.execute(store.items.update().values(fingerprint=None))
    (folder / "cat" / "00.png").unlink()
    (folder / "cat" / "02.png").write_bytes(b"rubbish")
    assert looking.finish(project.id) == []
    assert len(_names(project)) == 20
    assert looking.left(project.id) == 2
    assert sum(splits.assign(project.id).values()) == 18
    assert {name for name, place in _places(project).items() if place is None} == {"cat/00.png", "cat/02.png"}


def test_a_list_whose_last_line_was_cut_by_a_kill_is_read(project: Project, folder: Path) -> None:
    _put(folder / "cat" / "inside.jpg", _damaged_inside())
    _only_entered(project, folder)
    looking.finish(project.id)
    path = looking._list(project.id)
    path.write_text(path.read_text() + '{"sha256": "ab')
    assert [one.name for one in looking.taken_out(project.id)] == ["cat/inside.jpg"]
    looking.forget(project.id)
    assert looking.taken_out(project.id) == []
