"""Small real pictures, folders and zips of them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data import importing, items, projects
from engine.data.marks import TAGGING
from engine.data.projects import Project


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Write a picture of noise; another seed gives another picture."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, draw: Callable[..., Path]) -> Path:
    """Two class folders of ten pictures each."""
    root = tmp_path / "pets"
    for number in range(20):
        draw(root / ("cat", "dog")[number % 2] / f"{number:02}.png", number)
    return root


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Zip a folder."""

    def write(source: Path, name: str = "data.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(source.rglob("*")):
                archive.write(file, file.relative_to(source.parent))
        return path

    return write


@pytest.fixture
def project(home: Path) -> Project:
    """An empty project in a workspace of its own."""
    return projects.create("Pets")


TAGS = {"cat": 2, "dog": 3, "outdoors": 5}
"""In `tagged`, which of the pictures' numbers a class divides."""


@pytest.fixture
def tagged(home: Path, tmp_path: Path, draw: Callable[..., Path]) -> Project:
    """Thirty pictures that show several things each, or none; the last two nobody has looked at."""
    made = projects.create("Tags", TAGGING)
    for number in range(30):
        draw(tmp_path / "tags" / f"{number:02}.png", 500 + number)
    importing.import_path(made.id, tmp_path / "tags")
    for number, item in enumerate(items.list_items(made.id, order="name")[:28]):
        items.set_labels(item.id, [name for name, by in TAGS.items() if number % by == 0], item.revision)
    return made
