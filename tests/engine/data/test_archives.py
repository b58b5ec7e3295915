from __future__ import annotations

import contextlib
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.data import importing, items
from engine.data.archives import Archive, Limits
from engine.data.projects import Project
from engine.errors import StudioError


def _picture(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (seed % 256, seed // 256, 7)).save(file, "PNG")
    return file.getvalue()


def _zip(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


def _good(count: int = 4) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [(f"pets/{('cat', 'dog')[number % 2]}/{number}.png", _picture(number)) for number in range(count)]


def _info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def _raw_name(path: Path, name: bytes) -> Path:
    """Write a zip whose entry has a name that zipfile itself would clean: the bytes are replaced afterwards."""
    _zip(path, [*_good(), ("Q" * len(name), _picture(9))])
    path.write_bytes(path.read_bytes().replace(b"Q" * len(name), name))
    return path


def _patched(path: Path, change: Callable[[bytearray, int, int], None]) -> Path:
    """Change the last entry's local header and directory record by hand."""
    _zip(path, _good())
    content = bytearray(path.read_bytes())
    change(content, content.rfind(b"PK\x03\x04"), content.rfind(b"PK\x01\x02"))
    path.write_bytes(bytes(content))
    return path


def _encrypted(content: bytearray, local: int, central: int) -> None:
    content[local + 6] |= 1
    content[central + 8] |= 1


def _odd_method(content: bytearray, local: int, central: int) -> None:
    content[local + 8 : local + 10] = content[central + 10 : central + 12] = struct.pack("<H", 99)


def _claims_more(content: bytearray, local: int, central: int) -> None:
    content[local + 22 : local + 26] = content[central + 24 : central + 28] = struct.pack("<I", 5000)


def _claims_less(content: bytearray, local: int, central: int) -> None:
    content[local + 22 : local + 26] = content[central + 24 : central + 28] = struct.pack("<I", 30)


def _flipped(content: bytearray, local: int, central: int) -> None:
    content[local + 50] ^= 0xFF


def _same_place(content: bytearray, local: int, central: int) -> None:
    content[central + 42 : central + 46] = struct.pack("<I", 0)


def _zip64_lie(path: Path) -> Path:
    """An entry whose zip64 record claims 2^40 bytes."""
    name = b"a/1.png"
    body = _picture()
    extra = struct.pack("<HHQQ", 1, 16, 1 << 40, len(body))
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra)) + name + extra + body
    central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0, 0) + name + extra
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


def _million(path: Path) -> Path:
    """A zip64 end record that claims a million entries: refused before the directory is read."""
    _zip(path, _good())
    content = path.read_bytes()
    end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1_000_000, 1_000_000, 46_000_000, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(content) - 22, 1)
    path.write_bytes(content[:-22] + end + locator + content[-22:])
    return path


def _tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "parent": (lambda p: _zip(p, [*_good(), ("../evil.png", _picture(9))]), "leads out of the archive"),
    "parent inside": (lambda p: _zip(p, [*_good(), ("pets/../../evil.png", _picture(9))]), "leads out"),
    "absolute": (lambda p: _zip(p, [*_good(), ("/etc/evil.png", _picture(9))]), "absolute path"),
    "drive": (lambda p: _zip(p, [*_good(), ("C:/evil.png", _picture(9))]), "absolute path"),
    "backslash": (lambda p: _raw_name(p, b"pets\\cat\\9.png"), "backslash"),
    "backslash parent": (lambda p: _raw_name(p, b"..\\evil.png"), "leads out"),
    "share": (lambda p: _raw_name(p, b"\\\\host\\share.png"), "absolute path"),
    "nul": (lambda p: _raw_name(p, b"evil\0.png.sh.png"), "control character"),
    "newline": (lambda p: _zip(p, [*_good(), ("pets/cat/a\nb.png", _picture(9))]), "control character"),
    "escape": (lambda p: _zip(p, [*_good(), ("pets/cat/\x1b[31m.png", _picture(9))]), "control character"),
    "long": (lambda p: _zip(p, [*_good(), ("pets/" + "a" * 1000 + ".png", _picture(9))]), "too long"),
    "deep": (lambda p: _zip(p, [*_good(), ("a/" * 600 + "1.png", _picture(9))]), "too long"),
    "device": (lambda p: _zip(p, [*_good(), ("pets/CON/1.png", _picture(9))]), "keeps for devices"),
    "device file": (lambda p: _zip(p, [*_good(), ("pets/nul.png", _picture(9))]), "keeps for devices"),
    "link": (lambda p: _zip(p, [*_good(), (_info("pets/cat/9.png", stat.S_IFLNK | 0o777), b"/etc/passwd")]), "link or a device"),
    "fifo": (lambda p: _zip(p, [*_good(), (_info("pets/cat/9.png", stat.S_IFIFO | 0o644), b"")]), "link or a device"),
    "case": (lambda p: _zip(p, [*_good(), ("pets/CAT/0.png", _picture(9))]), "twice, or differs"),
    "composed": (lambda p: _zip(p, [("é/1.png", _picture(1)), ("e\u0301/1.png", _picture(2))]), "twice, or differs"),
    "encrypted": (lambda p: _patched(p, _encrypted), "encrypted"),
    "method": (lambda p: _patched(p, _odd_method), "cannot be read here"),
    "claims more": (lambda p: _patched(p, _claims_more), "not as large as the zip says"),
    "claims less": (lambda p: _patched(p, _claims_less), "not as large as the zip says"),
    "bit flip": (lambda p: _patched(p, _flipped), "damaged"),
    "overlap": (lambda p: _patched(p, _same_place), "overlap"),
    "zip64 lie": (_zip64_lie, "claims 1,048,576 MB"),
    "a million": (_million, "1,000,000 entries"),
    "bomb": (lambda p: _zip(p, [*_good(), ("pets/cat/9.png", bytes(40 << 20))]), "zip bomb"),
    "many small bombs": (lambda p: _zip(p, [*_good(), *[(f"pets/cat/b{n}.png", bytes(9 << 20)) for n in range(3)]]), "zip bomb"),
    "empty file": (lambda p: (p.write_bytes(b""), p)[1], "not a whole zip"),
    "text": (lambda p: (p.write_bytes(b"no zip at all" * 9), p)[1], "not a whole zip"),
    "tar": (_tar, "not a whole zip"),
    "picture": (lambda p: (p.write_bytes(_picture()), p)[1], "a PNG picture, not a zip"),
    "rar": (lambda p: (p.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(99)), p)[1], "a RAR archive, not a zip"),
    "truncated": (lambda p: (_zip(p, _good()), p.write_bytes(p.read_bytes()[:-60]), p)[2], "not a whole zip"),
    "beheaded": (lambda p: (_zip(p, _good()), p.write_bytes(p.read_bytes()[40:]), p)[2], "not a whole zip"),
    "nothing inside": (lambda p: _zip(p, []), "no pictures"),
    "zip in zip": (lambda p: _zip(p, [("inner.zip", _zip(p.with_name("inner.zip"), _good()).read_bytes())]), "no pictures"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_leave_nothing(project: Project, tmp_path: Path, home: Path, kind: str) -> None:
    make, problem = HOSTILE[kind]
    path = make(tmp_path / "data.zip")
    outside = {file for file in tmp_path.rglob("*") if home not in file.parents}
    with pytest.raises(StudioError, match=problem) as caught:
        importing.import_path(project.id, path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert items.count_items(project.id) == 0
    assert [file for file in (home / "projects" / project.id).rglob("*") if file.is_file() and file.name != "import.lock"] == []
    assert {file for file in tmp_path.rglob("*") if home not in file.parents} == outside


def test_the_same_name_twice(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", _picture(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/1.png", _picture(2))
    with pytest.raises(StudioError, match="twice"):
        importing.import_path(project.id, path)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [(Limits(entries=3), "more than 3"), (Limits(total=300), "too much"), (Limits(one=50), "MB, more than"), (Limits(directory=10), "entries")],
)
def test_limits(tmp_path: Path, limits: Limits, problem: str) -> None:
    with pytest.raises(StudioError, match=problem):
        Archive(_zip(tmp_path / "data.zip", _good()), limits)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_usual_packing_is_read(tmp_path: Path, method: int) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("./pets/cat/1.png", _picture(1))
        archive.mkdir("pets/dog")
    with Archive(path) as archive:
        assert list(archive.files) == ["pets/cat/1.png"]
        with archive.open("pets/cat/1.png") as stream:
            assert stream.read() == _picture(1)


def test_zip64_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("cat/1.png", "w", force_zip64=True) as file:
        file.write(_picture(1))
    with Archive(path) as archive, archive.open("cat/1.png") as stream:
        assert stream.read() == _picture(1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), change=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_damage_anywhere_is_a_sentence_or_a_picture(tmp_path: Path, place: float, change: bytes, cut: bool) -> None:
    path = _zip(tmp_path / "data.zip", _good())
    content = bytearray(path.read_bytes())
    at = int(place * (len(content) - 1))
    content[at : at + len(change)] = change
    path.write_bytes(content[:at] if cut else content)
    sizes: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(StudioError), Archive(path) as archive:  # any other error fails the test
        for name in archive.files:
            with archive.open(name) as stream:
                read = len(stream.read())
            sizes[name] = (read, archive.size(name))
    assert all(read == claimed for read, claimed in sizes.values())
