"""The real photographs that benchmarks use, and a workspace that lives as long as one benchmark.

clothing.zip (CC0) stands beside the checkout, in ../shared/data; GRAFT_BENCH_DATA names another zip of class folders.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["archive", "evenly", "like_a_worker", "project", "workspace_of_its_own"]


def like_a_worker(module: str) -> None:
    """Start the benchmark again in a worker's environment: some settings are read as soon as torch is imported."""
    from engine import runs

    wanted = runs.worker_environment()
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], wanted)


def archive() -> Path:
    """Return the zip; end with a sentence where there is none."""
    path = Path(os.environ.get("GRAFT_BENCH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data" / "clothing.zip")
    if not path.exists():
        sys.exit(f"There are no photographs at {path}. Set GRAFT_BENCH_DATA to a zip of class folders.")
    return path


@contextlib.contextmanager
def workspace_of_its_own() -> Iterator[Path]:
    """Point GRAFT_HOME at a fresh folder, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="graft-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["GRAFT_HOME"] = folder
        yield Path(folder)


def evenly(rows: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many of the rows, spread evenly over all of them, so that every class keeps its share."""
    count = min(most, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def project(most: int | None = None) -> tuple[str, dict[str, Any]]:
    """Import the photographs; return the project's id and its version, cut down to `most` pictures of each split if asked."""
    from engine.data import importing, projects, versions

    made = projects.create("Photographs")
    importing.import_path(made.id, archive())
    manifest = versions.freeze(made.id)
    if most is None:
        return made.id, manifest
    kept: list[dict[str, Any]] = []
    for split in ("train", "val", "test"):
        rows = [item for item in manifest["items"] if item["split"] == split]
        kept += evenly(rows, most)
    return made.id, {**manifest, "items": kept}
