"""Where the numbers of a large model that Graft wrote lie. For those who hand it on: reading and writing it is `stored.py`'s. Needs nothing."""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_path", "file_bytes"]


def data_path(path: Path) -> Path:
    """Return where the large tensors of a model that Graft wrote lie, if it has any: beside it."""
    return path.with_name(f"{path.name}.data")


def file_bytes(path: Path) -> int:
    """Return the size of a model that `save` wrote, its numbers included."""
    return sum(file.stat().st_size for file in (path, data_path(path)) if file.exists())
