from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data import examining, importing, items
from engine.data.check.duplicates import fingerprint
from engine.data.projects import Project


@pytest.mark.parametrize("pictures", [1, examining.ENOUGH])
def test_pictures_are_hashed_measured_and_decoded(folder: Path, pictures: int) -> None:
    (folder / "cat" / "bad.png").write_bytes((folder / "cat" / "00.png").read_bytes()[:200])
    files = sorted(folder.rglob("*.png"))
    with examining.Examiners(pictures) as examiners:
        found = examiners.examine([(str(path), path.name) for path in files] + [(str(folder / "gone.png"), "gone.png")], hashed=True)
    for path, one in zip(files, found, strict=False):
        if path.name == "bad.png":
            assert "bad.png is damaged" in one.problem
            continue
        assert one == examining.Examined(hashlib.sha256(path.read_bytes()).hexdigest(), ".png", 40, 30, fingerprint(path))
    assert found[-1].problem


def test_a_process_that_dies_is_followed_by_another(folder: Path) -> None:
    path = next(folder.rglob("*.png"))
    with examining.Examiners(examining.ENOUGH) as examiners:
        for _ in range(examiners.count):
            child = examiners._free.get()
            assert child is not None
            child._process.kill()
            child._process.wait()
            examiners._free.put(child)
        for _ in range(2 * examiners.count):
            (found,) = examiners.examine([(str(path), path.name)], hashed=False)
            assert (found.width, found.height, found.problem) == (40, 30, "")


@pytest.mark.parametrize("packed", [False, True])
def test_an_import_by_processes_is_the_same_as_without(
    project: Project, folder: Path, pack: Callable[..., Path], packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "ENOUGH", 1)
    (folder / "cat" / "bad.png").write_bytes(b"no picture")
    report = importing.import_path(project.id, pack(folder) if packed else folder)
    assert report.added == 20
    assert [one.name.rpartition("/")[2] for one in report.skipped] == ["bad.png"]
    for item in items.list_items(project.id, limit=100):
        assert hashlib.sha256(item.path.read_bytes()).hexdigest() == item.sha256
        assert (item.width, item.height) == (40, 30)
