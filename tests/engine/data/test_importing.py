from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from engine import locks, workspace
from engine.data import importing, items, projects
from engine.data.formats import tables
from engine.data.projects import Project
from engine.errors import StudioError


def _files(home: Path, project: Project) -> list[Path]:
    return [file for file in (home / "projects" / project.id / "images").rglob("*") if file.is_file()]


def test_a_folder_is_used_in_place(project: Project, folder: Path, home: Path) -> None:
    told: list[tuple[int, int]] = []
    report = importing.import_path(project.id, folder, report=lambda done, total: told.append((done, total)))
    assert (report.added, report.duplicates, report.skipped, report.problems, report.kind) == (20, 0, [], [], "class folders")
    assert report.classes == {"cat": 10, "dog": 10}
    assert report.splits == {"train": 12, "val": 4, "test": 4}
    assert told[-1] == (20, 20)
    assert _files(home, project) == []
    assert all(folder in item.path.parents for item in items.list_items(project.id))


@pytest.mark.parametrize("packed", [True, False])
def test_copies_are_named_by_their_content(project: Project, folder: Path, home: Path, pack: Callable[..., Path], packed: bool) -> None:
    report = importing.import_path(project.id, pack(folder) if packed else folder, in_place=False)
    assert report.added == 20
    for item in items.list_items(project.id):
        assert item.path == home / "projects" / project.id / "images" / item.sha256[:2] / f"{item.sha256}.png"
        assert item.path.read_bytes() == next(folder.rglob(Path(item.name).name)).read_bytes()
    assert len(_files(home, project)) == 20


def test_a_zip_cannot_be_used_in_place(project: Project, folder: Path, pack: Callable[..., Path]) -> None:
    with pytest.raises(StudioError, match="cannot be used in place"):
        importing.import_path(project.id, pack(folder), in_place=True)


def test_inspect_tells_without_saving(project: Project, folder: Path, pack: Callable[..., Path]) -> None:
    (folder / "notes.txt").write_text("hello")
    for source, in_place in ((folder, True), (pack(folder), False)):
        found = importing.inspect(source)
        assert (found.kind, found.pictures, found.counts, found.in_place) == ("class folders", 20, {"cat": 10, "dog": 10}, in_place)
        assert [len(names) for names in found.examples.values()] == [importing.EXAMPLES] * 2
        assert [skipped.reason for skipped in found.skipped] == ["not a picture"]
    assert items.count_items(project.id) == 0


def test_bad_pictures_are_listed_and_the_rest_is_taken(project: Project, folder: Path, pack: Callable[..., Path]) -> None:
    (folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 rubbish")
    (folder / "cat" / "empty.png").write_bytes(b"")
    whole = (folder / "cat" / "00.png").read_bytes()
    (folder / "dog" / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "vector.png").write_text("<svg/>")
    for in_place in (True, False):
        report = importing.import_path(project.id, folder, in_place=in_place)
        assert {Path(skipped.name).name for skipped in report.skipped if "same picture" not in skipped.reason} == {
            "broken.jpg",
            "empty.png",
            "half.png",
            "vector.png",
        }
    assert items.count_items(project.id) == 20


def test_when_none_can_be_read_nothing_happens(project: Project, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"rubbish")
    with pytest.raises(StudioError, match="none of the 1 pictures could be read"):
        importing.import_path(project.id, tmp_path / "bad")


def test_duplicates_are_listed(project: Project, folder: Path) -> None:
    (folder / "cat" / "copy.png").write_bytes((folder / "cat" / "00.png").read_bytes())
    (folder / "dog" / "wrong.png").write_bytes((folder / "cat" / "02.png").read_bytes())
    report = importing.import_path(project.id, folder)
    assert (report.added, report.duplicates) == (20, 2)
    reasons = {skipped.name: skipped.reason for skipped in report.skipped}
    assert reasons["cat/copy.png"] == "the same picture as cat/00.png"
    assert reasons["dog/wrong.png"] == "the same picture as cat/02.png, but that one is 'cat' and this one 'dog': 'cat' was kept"
    again = importing.import_path(project.id, folder)
    assert (again.added, again.duplicates) == (0, 22)
    assert items.count_items(project.id) == 20


def test_a_label_counts_though_the_same_picture_came_first_without_one(project: Project, folder: Path) -> None:
    (folder / "a-loose.png").write_bytes((folder / "cat" / "00.png").read_bytes())
    report = importing.import_path(project.id, folder)
    assert (report.added, report.duplicates) == (20, 1)
    assert {skipped.name: skipped.reason for skipped in report.skipped}["cat/00.png"] == "the same picture as a-loose.png, which now has the class 'cat'"
    assert items.find_item(project.id, "a-loose.png").label == "cat"


def test_labels_that_come_later_are_taken(project: Project, folder: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    flat = tmp_path / "flat"
    for number in range(6):
        draw(flat / f"{number}.png", number)
    assert importing.import_path(project.id, flat).kind == "flat"
    assert items.count_items(project.id, unlabelled=True) == 6
    report = importing.import_path(project.id, folder)
    assert (report.added, report.duplicates, report.relabelled) == (14, 6, 6)
    assert projects.summary(project.id).classes == {"cat": 10, "dog": 10}


def test_a_table_beside_its_pictures(project: Project, tmp_path: Path, draw: Callable[..., Path]) -> None:
    for number in range(4):
        draw(tmp_path / "photos" / f"{number}.png", number)
    table = tmp_path / "photos" / "labels.csv"
    table.write_text("file,category,split\n0.png,cat,train\n1.png,dog,test\nmissing.png,cat,train\n")
    assert importing.inspect(table).counts == {"cat": 1, "dog": 1}
    report = importing.import_path(project.id, table)
    assert (report.added, report.kind) == (2, "table")
    assert [skipped.name for skipped in report.skipped] == ["missing.png"]
    assert items.list_items(project.id, label="dog")[0].split == "test"


def test_a_huge_table_beside_the_pictures_is_not_loaded(project: Project, folder: Path, pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 1000)
    (folder / "pixels.csv").write_text("path,label\n" + "0,0\n" * 1000)
    for source in (folder, pack(folder)):
        found = importing.inspect(source)
        assert found.counts == {"cat": 10, "dog": 10}
        assert "pixels.csv is larger than" in found.problems[0]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("nowhere", None, "nothing at"),
        ("data.rar", b"x", "neither a folder"),
        ("data.tar.gz", b"x", "not a whole tar"),
    ],
)
def test_what_is_no_data_set(project: Project, tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for job in (importing.inspect, lambda path: importing.import_path(project.id, path)):
        with pytest.raises(StudioError, match=problem):
            job(tmp_path / name)


def test_linked_folders_are_not_followed(project: Project, folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    report = importing.import_path(project.id, folder)
    assert report.added == 20
    assert [(skipped.name, skipped.reason) for skipped in report.skipped] == [("loop", "a link to a folder, not followed")]


def test_stopping_leaves_nothing(project: Project, folder: Path, home: Path) -> None:
    with pytest.raises(StudioError, match="was stopped"):
        importing.import_path(project.id, folder, in_place=False, should_stop=lambda: True)
    assert items.count_items(project.id) == 0
    assert _files(home, project) == []


def test_one_import_at_a_time(project: Project, folder: Path) -> None:
    lock = locks.hold(workspace.project_folder(project.id) / "import.lock")
    assert lock is not None
    with lock, pytest.raises(StudioError, match="another import"):
        importing.import_path(project.id, folder)
    assert importing.import_path(project.id, folder).added == 20


def test_a_killed_import_leaves_the_database_as_it_was_and_the_next_one_goes_through(
    project: Project, tmp_path: Path, home: Path, draw: Callable[..., Path]
) -> None:
    root = tmp_path / "many"
    for number in range(120):
        draw(root / "ab"[number % 2] / f"{number}.png", number, (200, 150))
    code = f"""
import time
from engine.data import importing
importing.import_path({project.id!r}, {str(root)!r}, in_place=False, should_stop=lambda: time.sleep(2))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    while len(_files(home, project)) < 10:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert items.count_items(project.id) == 0
    report = importing.import_path(project.id, root, in_place=False)
    assert report.added == items.count_items(project.id) == 120
    assert len(_files(home, project)) == 120
    assert not list((home / "projects" / project.id / "images").glob(".incoming-*"))


def test_the_report_is_plain_json(project: Project, folder: Path) -> None:
    report = importing.import_path(project.id, folder)
    workspace.write_json(folder / "report.json", asdict(report))
    assert workspace.read_json(folder / "report.json")["added"] == 20


def test_names_from_other_scripts(project: Project, tmp_path: Path, draw: Callable[..., Path], pack: Callable[..., Path]) -> None:
    for number in range(3):
        draw(tmp_path / "data" / "猫" / f"写真 {number}.png", number)
        draw(tmp_path / "data" / "<b>dög 🐶" / f"{number}.png", 10 + number)
    importing.import_path(project.id, pack(tmp_path / "data"))
    assert items.classes(project.id) == ["<b>dög 🐶", "猫"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, draw: Callable[..., Path]) -> None:
    """A real small disk: 1,500 pictures of 200 bytes fit by their sizes, not by the 4 KB blocks they take."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode if shutil.which("unshare") else True:
        pytest.skip("no small disk can be mounted here")
    for number in range(1500):
        draw(tmp_path / "many" / "ab"[number % 2] / f"{number}.png", number, (5, 5))
    code = f"""
import os
from pathlib import Path
from engine.data import importing, items, projects
from engine.data.formats import tables
project = projects.create("Full")
before = os.statvfs(os.environ["GRAFT_HOME"]).f_bfree
try:
    importing.import_path(project.id, {str(tmp_path / "many")!r}, in_place=False)
except Exception as error:
    print(type(error).__name__, error)
print(items.count_items(project.id), sum(path.is_file() for path in (Path(os.environ["GRAFT_HOME"]) / "projects" / project.id / "images").rglob("*")))
"""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=4m none "{disk}" && GRAFT_HOME="{disk}" "{sys.executable}" -c "$0"'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, code], capture_output=True, text=True, timeout=120)
    said, left = done.stdout.strip().splitlines() or ["", done.stderr]
    assert said.startswith("StudioError the disk is full"), said
    assert left == "0 0"
