from __future__ import annotations

import hashlib
import io
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import workspace
from engine.data import arrivals, importing, items, looking, scanner, versions
from engine.data.export import export
from engine.data.importing import Stage
from engine.data.projects import Project
from engine.errors import StudioError
from tests.pages.drawn import damaged_inside


@pytest.fixture(autouse=True)
def _few_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "WORTH", 5)


def _jpeg(seed: int) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(memory, "JPEG")
    return memory.getvalue()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20):
            archive.writestr(f"pets/{('cat', 'dog')[number % 2]}/{number:02}.jpg", _jpeg(number))
    return path


def _paths(project: Project) -> list[Path]:
    return [item.path for item in items.list_items(project.id, limit=500)]


def _whole(project: Project) -> bool:
    """Tell whether every picture is a file with the content it was entered by."""
    return all(workspace.holds(item.path, item.sha256, item.path.stat().st_size) for item in items.list_items(project.id, limit=500))


def _only_entered(project: Project, packed: Path) -> None:
    now: list[Stage] = []
    with pytest.raises(StudioError, match="are in the project, but looking through them was stopped"):
        importing.import_path(project.id, packed, stage=now.append, should_stop=lambda: now[-1] == "look")


def _killed(project: Project, packed: Path, when: str) -> None:
    """Import in a process that is killed, by its own hand, at a moment."""
    code = f"""
import os, signal
from engine.data import entering, importing, scanner
scanner.WORTH = 5
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
{"entering.Entry.end = die" if when == "entering" else ""}
importing.import_path({project.id!r}, {str(packed)!r}, stage=lambda stage: die() if stage == {when!r} else None)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL


def test_in_the_end_all_are_files_and_the_zip_is_let_go(project: Project, packed: Path) -> None:
    seen: list[int] = []
    report = importing.import_path(
        project.id, packed, stage=lambda stage: seen.append(sum(path.exists() for path in _paths(project))) if stage == "look" else None
    )
    assert (report.added, seen) == (20, [0])
    assert _whole(project)
    assert not arrivals.any_left(project.id)
    assert packed.exists()


def test_one_is_seen_before_its_file_was_made(project: Project, packed: Path) -> None:
    from engine.data import images

    _only_entered(project, packed)
    item = items.list_items(project.id)[3]
    item.path.unlink(missing_ok=True)
    assert Image.open(images.thumbnail(item.id, 96)).size == (40, 40)
    assert item.path.exists()


def test_what_was_stopped_is_finished_by_a_version(project: Project, packed: Path) -> None:
    _only_entered(project, packed)
    assert arrivals.any_left(project.id)
    assert len(versions.freeze(project.id)["items"]) == 20
    assert _whole(project)
    assert not arrivals.any_left(project.id)


def test_what_was_killed_after_it_was_entered_is_finished(project: Project, packed: Path) -> None:
    _killed(project, packed, "look")
    assert (items.count_items(project.id), looking.left(project.id)) == (20, 20)
    packed.unlink()
    assert looking.finish(project.id) == []
    assert _whole(project)
    assert not arrivals.any_left(project.id)


def test_what_was_killed_before_it_was_entered_leaves_nothing_to_the_next(project: Project, packed: Path) -> None:
    _killed(project, packed, "entering")
    assert arrivals.any_left(project.id)
    assert items.count_items(project.id) == 0
    assert importing.import_path(project.id, packed).added == 20
    assert _whole(project)
    assert not arrivals.any_left(project.id)


def test_a_file_that_a_power_cut_tore_is_mended(project: Project, packed: Path) -> None:
    _killed(project, packed, "look")
    one, other = _paths(project)[:2]
    arrivals.bring_all(project.id)
    whole = one.read_bytes()
    one.write_bytes(whole[:100])
    other.write_bytes(b"")
    looking.finish(project.id)
    assert one.read_bytes() == whole
    assert _whole(project)


def test_nobody_lets_go_of_a_zip_that_an_import_has_put_aside(project: Project, packed: Path) -> None:
    code = f"""
import time
from engine.data import arrivals, entering, importing, scanner
scanner.WORTH = 5
end = entering.Entry.end
def slowly(self):
    print("now", flush=True)
    time.sleep(2)
    return end(self)
entering.Entry.end = slowly
importing.import_path({project.id!r}, {str(packed)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    assert arrivals.any_left(project.id)
    arrivals.finish_unless_importing(project.id)
    assert arrivals.any_left(project.id)
    assert process.wait() == 0
    assert len(_paths(project)) == 20
    assert _whole(project)


def test_a_damaged_picture_is_taken_out_again_and_not_brought_back(project: Project, packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("pets/cat/inside.jpg", damaged_inside(_jpeg(50)))
    _only_entered(project, packed)
    looking.finish(project.id)
    assert [one.name for one in looking.taken_out(project.id)] == ["pets/cat/inside.jpg"]
    images = workspace.project_folder(project.id, "images")
    assert {path.stem for path in images.rglob("*.jpg")} == {item.sha256 for item in items.list_items(project.id)}
    assert items.count_items(project.id) == 20


def test_a_zip_that_is_written_over_gives_no_wrong_pictures(project: Project, packed: Path) -> None:
    _only_entered(project, packed)
    for path in _paths(project):
        path.unlink(missing_ok=True)
    content = bytearray(packed.read_bytes())
    place = content.find(_jpeg(0))
    content[place + 700] ^= 1
    with packed.open("rb+") as file:  # in place: a new file of this name would be another one
        file.write(content)
    looking.finish(project.id)
    missing = [item.name for item in items.list_items(project.id) if not item.path.exists()]
    assert missing == ["pets/cat/00.jpg"]


def test_without_second_names_pictures_are_copied_at_once(project: Project, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    seen: list[bool] = []
    importing.import_path(project.id, packed, stage=lambda stage: seen.append(_whole(project)) if stage == "look" else None)
    assert seen == [True]
    assert not arrivals.any_left(project.id)


def test_an_export_has_every_picture(project: Project, packed: Path, tmp_path: Path) -> None:
    _only_entered(project, packed)
    report = export(project.id, "folders", tmp_path / "out.zip")
    assert (report.pictures, report.lost) == (20, [])
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sum(name.endswith(".jpg") for name in archive.namelist()) == 20


def test_two_zips_stopped_one_after_the_other(project: Project, packed: Path, tmp_path: Path) -> None:
    _killed(project, packed, "look")
    more = tmp_path / "more.zip"
    with zipfile.ZipFile(more, "w") as archive:
        for number in range(20, 30):
            archive.writestr(f"pets/cat/{number}.jpg", _jpeg(number))
    report = importing.import_path(project.id, more)
    assert (report.added, items.count_items(project.id)) == (10, 30)
    assert _whole(project)
    assert not arrivals.any_left(project.id)


def test_a_zip_that_cannot_be_read_now_is_not_let_go(project: Project, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _killed(project, packed, "look")

    def unreadable(_folder: Path) -> None:
        raise StudioError("archive.zip cannot be read (Too many open files)", "Try again.")

    with monkeypatch.context() as patch:
        patch.setattr(arrivals, "_Zip", unreadable)
        looking.finish(project.id)
    assert arrivals.any_left(project.id)
    looking.finish(project.id)
    assert _whole(project)
    assert not arrivals.any_left(project.id)


def test_on_a_full_disk_nothing_is_lost_and_it_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """A real small disk: the zip and its pictures' sizes fit, not the 4 KB blocks that the files take."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode if shutil.which("unshare") else True:
        pytest.skip("no small disk can be mounted here")
    disk = tmp_path / "disk"
    disk.mkdir()
    code = f"""
import io, zipfile
from pathlib import Path
from PIL import Image
from engine.data import arrivals, importing, items, looking, projects
disk = Path({str(disk)!r})
(disk / "filling").write_bytes(bytes(6 << 20))
with zipfile.ZipFile(disk / "many.zip", "w") as archive:
    for number in range(1500):
        memory = io.BytesIO()
        Image.new("RGB", (5, 5), (number % 256, number // 256, 9)).save(memory, "PNG")
        archive.writestr(f"many/ab/{{number}}.png", memory.getvalue())
project = projects.create("Full")
try:
    importing.import_path(project.id, disk / "many.zip")
except Exception as error:
    print(type(error).__name__, error)
print(items.count_items(project.id), arrivals.any_left(project.id))
(disk / "many.zip").unlink()
(disk / "filling").unlink()
found = looking.finish(project.id)
files = sum(item.path.exists() for item in items.list_items(project.id, limit=2000))
print(found, looking.left(project.id), files, arrivals.any_left(project.id))
"""
    script = f'mount -t tmpfs -o size=12m none "{disk}" && GRAFT_HOME="{disk}" "{sys.executable}" -c "$0"'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, code], capture_output=True, text=True, timeout=120, check=False)
    said, entered, finished = done.stdout.strip().splitlines() or ["", "", done.stderr]
    assert said.startswith("StudioError the disk is full"), said
    assert entered == "1500 True"
    assert finished == "[] 0 1500 False"


def test_a_picture_elsewhere_is_none_of_its_business(project: Project, packed: Path, tmp_path: Path) -> None:
    _only_entered(project, packed)
    assert not arrivals.bring(tmp_path / "images" / "ab" / "none.jpg")
    assert not arrivals.bring(Path("none.jpg"))
    other = workspace.project_folder(project.id, "images") / "ab" / f"{hashlib.sha256(b'').hexdigest()}.jpg"
    assert not arrivals.bring(other)
