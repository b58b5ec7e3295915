from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import workspace
from engine.data import importing, items
from engine.data.archives import Limits
from engine.data.projects import Project
from engine.data.tars import Tar
from engine.errors import StudioError
from tests.engine.data.formats.sources import picture


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


def _tar(path: Path, more: list[tuple[tarfile.TarInfo, bytes]] | None = None, mode: str = "w", count: int = 4) -> Path:
    good = [(_entry(f"pets/{('cat', 'dog')[number % 2]}/{number}.png"), picture(number)) for number in range(count)]
    with tarfile.open(path, mode) as archive:
        for entry, content in [*good, *(more or [])]:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("data.tar", "w"), ("data.tar.gz", "w:gz"), ("data.tgz", "w:gz"), ("data.tar.bz2", "w:bz2"), ("data.tar.xz", "w:xz")]
)
@pytest.mark.usefixtures("home")
def test_tars_are_imported(project: Project, tmp_path: Path, name: str, mode: str) -> None:
    path = _tar(tmp_path / name, mode=mode)
    assert importing.inspect(path).counts == {"cat": 2, "dog": 2}
    report = importing.import_path(project.id, path)
    assert (report.added, report.classes, report.skipped) == (4, {"cat": 2, "dog": 2}, [])
    for item in items.list_items(project.id):
        assert item.path.read_bytes() == picture(int(Path(item.name).stem))
    with pytest.raises(StudioError, match="cannot be used in place"):
        importing.import_path(project.id, path, in_place=True)


LEFT_OUT = {
    "a symbolic link": (_entry("pets/cat/9.png", tarfile.SYMTYPE, "/etc/passwd"), "a link, not followed"),
    "a hard link": (_entry("pets/cat/9.png", tarfile.LNKTYPE, "pets/cat/0.png"), "a hard link, not followed"),
    "a device": (_entry("pets/cat/9.png", tarfile.CHRTYPE), "a device or a pipe"),
    "a block device": (_entry("pets/cat/9.png", tarfile.BLKTYPE), "a device or a pipe"),
    "a pipe": (_entry("pets/cat/9.png", tarfile.FIFOTYPE), "a device or a pipe"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_no_file_is_left_out(project: Project, tmp_path: Path, kind: str) -> None:
    entry, reason = LEFT_OUT[kind]
    report = importing.import_path(project.id, _tar(tmp_path / "data.tar", [(entry, b"")]))
    assert report.added == 4
    assert [skipped.name for skipped in report.skipped] == ["pets/cat/9.png"]
    assert reason in report.skipped[0].reason


def _long_header(path: Path) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        entry = _entry("pets/cat/1.png")
        entry.pax_headers = {"comment": "x" * (3 << 20)}
        archive.addfile(entry)
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "parent": (lambda p: _tar(p, [(_entry("../evil.png"), picture(9))]), "leads out"),
    "absolute": (lambda p: _tar(p, [(_entry("/etc/evil.png"), picture(9))]), "absolute path"),
    "drive": (lambda p: _tar(p, [(_entry("C:/evil.png"), picture(9))]), "absolute path"),
    "control": (lambda p: _tar(p, [(_entry("a\nb.png"), picture(9))]), "control character"),
    "device name": (lambda p: _tar(p, [(_entry("pets/CON/1.png"), picture(9))]), "keeps for devices"),
    "long header": (_long_header, "absurdly long"),
    "gzip bomb": (lambda p: (p.write_bytes(gzip.compress(bytes(64 << 20))), p)[1], "bomb"),
    "truncated": (lambda p: (_tar(p), p.write_bytes(p.read_bytes()[:700]), p)[2], "claims more than it holds|not a whole tar"),
    "half a gzip": (lambda p: (_tar(p, mode="w:gz"), p.write_bytes(p.read_bytes()[:-200]), p)[2], "not a whole tar"),
    "text": (lambda p: (p.write_bytes(b"no tar at all" * 90), p)[1], "not a whole tar"),
    "empty": (lambda p: (p.write_bytes(b""), p)[1], "not a whole tar"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tars_leave_nothing(project: Project, tmp_path: Path, home: Path, kind: str) -> None:
    make, problem = HOSTILE[kind]
    with pytest.raises(StudioError, match=problem):
        importing.import_path(project.id, make(tmp_path / "data.tar"))
    assert items.count_items(project.id) == 0
    assert list(workspace.cache("unpacked").iterdir()) == []
    assert [file for file in (home / "projects" / project.id).rglob("*") if file.is_file() and file.name != "import.lock"] == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("limits", "problem"), [(Limits(entries=3), "more than 3 entries"), (Limits(total=300), "more than"), (Limits(one=50), "MB, more than")]
)
def test_limits(tmp_path: Path, limits: Limits, problem: str) -> None:
    with pytest.raises(StudioError, match=problem):
        Tar(_tar(tmp_path / "data.tar"), limits)


@pytest.mark.usefixtures("home")
def test_a_tar_of_a_million_entries_is_refused_on_the_way(tmp_path: Path) -> None:
    header = _entry("a.png").tobuf()
    path = tmp_path / "many.tar"
    with path.open("wb") as file:
        file.truncate(512 * 1_000_000 + 1024)  # a file with holes: 10^6 entries on paper
        for _ in range(0, 300_100, 300):
            file.write(header * 300)
    with pytest.raises(StudioError, match="more than 300,000 entries"):
        Tar(path)


def test_a_name_that_comes_twice_means_the_later_one(project: Project, tmp_path: Path) -> None:
    report = importing.import_path(project.id, _tar(tmp_path / "data.tar", [(_entry("pets/cat/0.png"), picture(77))]))
    assert report.added == 4
    assert "later one counts" in report.skipped[0].reason
    assert next(item for item in items.list_items(project.id) if item.name == "pets/cat/0.png").path.read_bytes() == picture(77)


def test_damage_in_the_middle_is_said(project: Project, tmp_path: Path) -> None:
    path = _tar(tmp_path / "data.tar")
    content = bytearray(path.read_bytes())
    second = content.index(b"pets/dog/1.png")
    content[second : second + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    report = importing.import_path(project.id, path)
    assert report.added == 1
    assert "damaged" in report.skipped[0].reason


@pytest.mark.usefixtures("home")
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), change=st.binary(min_size=1, max_size=12), cut=st.booleans(), packed=st.booleans())
def test_damage_anywhere_is_a_sentence_or_a_picture(tmp_path: Path, place: float, change: bytes, cut: bool, packed: bool) -> None:
    path = _tar(tmp_path / "data.tar", mode="w:gz" if packed else "w")
    content = bytearray(path.read_bytes())
    at = int(place * (len(content) - 1))
    content[at : at + len(change)] = change
    path.write_bytes(content[:at] if cut else content)
    with contextlib.suppress(StudioError), Tar(path) as archive:  # any other error fails the test
        for name in archive.files:
            with archive.open(name) as stream:
                assert len(stream.read()) == archive.size(name)
