"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of the test's own. Runs start cold, unless the test switches the warm worker on."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("GRAFT_HOME", str(folder))
    monkeypatch.setenv("GRAFT_WARM", "0")
    monkeypatch.delenv("GRAFT_DATABASE_URL", raising=False)
    return folder
