"""engine.workspace: written beside, then moved over; a full disk is a sentence."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from engine import workspace
from engine.errors import StudioError


def test_home_is_where_the_variable_says_and_is_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_HOME", str(home / "deeper" / "still"))
    assert workspace.home() == home / "deeper" / "still"
    assert workspace.home().is_dir()


def test_a_home_that_cannot_be_made_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("GRAFT_HOME", str(home / "file" / "below"))
    with pytest.raises(StudioError, match="cannot be used.*Set GRAFT_HOME"):
        workspace.home()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    workspace.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        workspace.write_json(path, {"a": float("nan")})
    with pytest.raises(ZeroDivisionError), workspace.replacing(path) as beside:
        beside.write_text(f"half {1 / 0}")
    assert workspace.read_json(path) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize(("code", "is_sentence"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_only_a_full_disk_becomes_a_sentence(tmp_path: Path, code: int, is_sentence: bool) -> None:
    error = workspace.disk_error(OSError(code, "x"), tmp_path / "last.safetensors")
    assert isinstance(error, StudioError) is is_sentence
    assert not is_sentence or "the disk is full: last.safetensors" in str(error)


@pytest.mark.parametrize(("content", "match"), [(None, "is missing"), ("{half", "is damaged")])
def test_reading_what_is_not_there_or_damaged_is_a_sentence(tmp_path: Path, content: str | None, match: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StudioError, match=match):
        workspace.read_json(path)
