"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty workspace of this test's own, as GRAFT_HOME."""
    folder = tmp_path / "graft"
    folder.mkdir()
    monkeypatch.setenv("GRAFT_HOME", str(folder))
    return folder
