from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.data import importing, items, projects, scan, scanner, sources
from engine.data.archives import Archive
from engine.data.scanner import Scanner

MOST = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _jpeg(seed: int = 0) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(memory, "JPEG")
    return memory.getvalue()


def _zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def _read(path: Path, name: str) -> bytes | None:
    with Archive(path) as archive, path.open("rb", buffering=0) as file:
        return scan.entry_content(file, archive.place(name), MOST)  # type: ignore[arg-type]


@given(st.binary(max_size=3000), st.sampled_from(_METHODS), st.sampled_from(["a.jpg", "bäume/猫.jpg", "x" * 200 + ".jpg"]))
def test_an_entry_is_read_as_zipfile_reads_it(tmp_path_factory: pytest.TempPathFactory, content: bytes, method: int, name: str) -> None:
    path = _zip(tmp_path_factory.mktemp("zip") / "one.zip", {"first": b"1", name: content, "last": b"2"}, method)
    assert _read(path, name) == content


@given(st.data())
def test_no_wrong_byte_gives_another_content(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = _jpeg()
    path = _zip(tmp_path_factory.mktemp("zip") / "one.zip", {"a.jpg": content}, data.draw(st.sampled_from(_METHODS)))
    with Archive(path) as archive:
        place = archive.place("a.jpg")
    damaged = bytearray(path.read_bytes())
    damaged[data.draw(st.integers(0, place[1] + 34))] ^= data.draw(st.integers(1, 255))
    assert scan.entry_content(io.BytesIO(damaged), place, MOST) in (None, content)


def test_what_is_odd_about_an_entry_is_left_to_others(tmp_path: Path) -> None:
    content = _jpeg()
    plain = _zip(tmp_path / "plain.zip", {"a.jpg": content})
    with Archive(plain) as archive:
        offset, packed, size, crc, method, flags, name = archive.place("a.jpg")
    file = io.BytesIO(plain.read_bytes())
    assert scan.entry_content(file, (offset, packed, size, crc, method, flags, name), MOST) == content
    assert scan.entry_content(file, (offset, packed, size, crc, method, flags, name), 10) is None
    assert scan.entry_content(file, (offset, packed, size - 1, crc, method, flags, name), MOST) is None
    assert scan.entry_content(file, (offset, packed, size, crc ^ 1, method, flags, name), MOST) is None
    assert scan.entry_content(file, (offset, packed, size, crc, method, flags, "b.jpg"), MOST) is None
    assert scan.entry_content(file, (offset + 10_000_000, packed, size, crc, method, flags, name), MOST) is None
    assert _read(_zip(tmp_path / "rare.zip", {"a.jpg": content}, zipfile.ZIP_BZIP2), "a.jpg") is None


def test_what_claims_little_and_unpacks_to_much_is_not_unpacked(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb.zip", {"a.jpg": b"\0" * 5_000_000}, zipfile.ZIP_DEFLATED)
    with Archive(path) as archive:
        offset, packed, _, crc, method, flags, name = archive.place("a.jpg")
    assert scan.entry_content(io.BytesIO(path.read_bytes()), (offset, packed, 100, crc, method, flags, name), MOST) is None


def test_frames_end_with_the_stream() -> None:
    stream = io.BytesIO()
    scan.send(stream, ["ä", 1, None])
    stream.seek(0)
    assert scan.receive(stream) == ["ä", 1, None]
    with pytest.raises(EOFError):
        scan.receive(stream)
    with pytest.raises(EOFError):
        scan.receive(io.BytesIO(struct.pack("<I", 100) + b"short"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty JPEGs, one of them cut short, and a text."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.jpg").write_bytes(_jpeg(number)[: -30 if number == 7 else None])
    (folder / "read me.txt").write_text("hello")
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_the_helper_process_finds_what_is_there(pictures: Path, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "WORTH", 5)
    content = {file.name: file.read_bytes() for file in sorted(pictures.iterdir())}
    path = _zip(tmp_path / "pictures.zip", content) if packed else pictures
    names = [f"{number:02}.jpg" for number in reversed(range(30))]
    with sources.opened(path) as (source, _), scanner.started(source) as helper:  # type: ignore[arg-type]
        assert helper is not None
        helper.want([*names, "read me.txt"])
        found = helper.answer([*names, "read me.txt", "not there.jpg"])
        assert helper.answer(["00.jpg"]) == [None]  # once only
    assert [one is None for one in found] == [number == 7 for number in reversed(range(30))] + [True, True]
    first = found[-3]
    assert first is not None
    assert first == (hashlib.sha256(content["00.jpg"]).hexdigest(), ".jpg", 40, 30, 1)


def test_once_it_is_killed_nothing_is_known_and_nobody_waits(pictures: Path) -> None:
    with sources.opened(pictures) as (source, _):
        helper = Scanner(source, [])  # type: ignore[arg-type]
        helper._process.kill()
        helper.want(["00.jpg"])
        assert helper.answer(["00.jpg"]) == [None]
        helper.close()


def test_an_import_whose_helper_is_killed_reads_by_itself(
    home: Path, pictures: Path, folder: Path, pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner, "WORTH", 5)
    want = Scanner.want

    def killed(self: Scanner, names: list[str]) -> None:
        self._process.kill()
        want(self, names)

    monkeypatch.setattr(Scanner, "want", killed)
    for path in (pictures, pack(folder)):
        project = projects.create(path.name)
        report = importing.import_path(project.id, path)
        assert report.added == items.count_items(project.id) == (29 if path == pictures else 20)


def test_a_slow_helper_is_dropped(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "_SLOW_S", 0.0)
    monkeypatch.setattr(scanner, "_FRAME", 5)
    with sources.opened(pictures) as (source, _):
        helper = Scanner(source, [])  # type: ignore[arg-type]
        names = [f"{number:02}.jpg" for number in range(30)]
        helper.want(names)
        assert helper.answer(names)[0] is not None
        assert helper.slow
        helper.close()


def test_few_pictures_are_not_worth_a_process(pictures: Path) -> None:
    with sources.opened(pictures) as (source, _), scanner.started(source) as helper:  # type: ignore[arg-type]
        assert helper is None


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """What is no plain file says it has no size."""
    import threading

    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"x" * 100_000,))
    writer.start()
    assert scan.file_content(str(tmp_path / "pipe"), MOST) == b"x" * 100_000
    writer.join()
