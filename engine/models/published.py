"""Finished models as their makers publish them: what there is (assets/catalog/published.json) and where it lies once fetched. No torch here.

They come from the hub, or inside a package of the Python package index, of which only the weights and the names of the classes are read.

    cache/weights/published/KEY/    config.json, model.safetensors, and licence.json: which licence was accepted, and when

Fetching is `engine.models.weights`'s, building the network `engine.models.dense.finished`'s.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import workspace
from engine.errors import StudioError

if TYPE_CHECKING:
    from engine.models.catalogue import Start

__all__ = ["FILES", "PREFIX", "Package", "Published", "accept", "find", "list_published", "start"]

FILES = ("config.json", "model.safetensors")
"""What is fetched of each, as its makers named it."""

PREFIX = "published-"
"""How the name of a backbone begins that is a finished model's."""

_CATALOG = Path(__file__).resolve().parents[2] / "assets" / "catalog" / "published.json"
_BYTES_A_WEIGHT = 4


@dataclass(frozen=True)
class Package:
    """A package of the Python package index that carries weights; nothing of it is installed or run.

    Attributes:
        name, version, file: of the package; sha256, bytes: of that file, pinned.
        weights, names: which files inside hold Darknet's weights and the names of the classes.
    """

    name: str
    version: str
    file: str
    sha256: str
    bytes: int
    weights: str
    names: str


@dataclass(frozen=True)
class Published:
    """A finished model that can be fetched.

    Attributes:
        hub: its repository there, '' where it comes in a package; architecture: the row of `engine.models.dense.table` it is one of.
        params_m: millions of weights; image_size: side in pixels of the pictures it was trained on; mean, std: of 1.
        figure: as its makers published it, in percent, with its title and source.
    """

    key: str
    task: str
    title: str
    words: str
    architecture: str
    params_m: float
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    trained_on: str
    licence: str
    licence_source: str
    figure: float
    figure_title: str
    figure_source: str
    hub: str = ""
    package: Package | None = None

    @property
    def folder(self) -> Path:
        """Where it lies once it was fetched."""
        return workspace.home() / "cache" / "weights" / "published" / self.key

    @property
    def here(self) -> bool:
        """Whether all of it is here."""
        return all((self.folder / name).exists() for name in FILES)

    @property
    def accepted(self) -> bool:
        """Whether the user has accepted its licence."""
        return (self.folder / "licence.json").exists()

    @property
    def megabytes(self) -> float:
        """What there is to fetch, roughly."""
        return self.package.bytes / 1e6 if self.package else self.params_m * _BYTES_A_WEIGHT

    @property
    def place(self) -> str:
        """Where it is fetched from, in words."""
        return f"the package {self.package.name} {self.package.version} of the Python package index" if self.package else f"huggingface.co/{self.hub}"

    @property
    def origin(self) -> str:
        """Where it comes from, for a model card."""
        return f"the finished model '{self.title}' ({self.place}), trained on {self.trained_on}"


@cache
def _rows() -> dict[str, Published]:
    entries: list[dict[str, Any]] = json.loads(_CATALOG.read_bytes())
    found = {entry["key"]: _row(entry) for entry in entries}
    assert len(found) == len(entries), "a finished model is in the catalogue twice"
    return found


def _row(entry: dict[str, Any]) -> Published:
    package = Package(**entry["package"]) if "package" in entry else None
    return Published(**{**entry, "mean": tuple(entry["mean"]), "std": tuple(entry["std"]), "package": package})


def list_published(task: str) -> list[Published]:
    """Return the finished models of a task, in the catalogue's order."""
    return [row for row in _rows().values() if row.task == task]


def find(key: str) -> Published:
    """Return the finished model of that key; 'ready/' and the backbone's prefix before it are passed over.

    Raises:
        StudioError: if there is none.
    """
    name = key.removeprefix("ready/").removeprefix(PREFIX)
    if name not in _rows():
        raise StudioError(f"there is no finished model '{name}' on the list", f"Choose one of {', '.join(_rows())}.")
    return _rows()[name]


def start(name: str, task: str | None, others: Sequence[str] = ()) -> Start:
    """Resolve a finished model as a starting point; `others` are names that might have been meant as well.

    Raises:
        StudioError: if there is none of that name, or it is not for that task.
    """
    from engine.models import catalogue

    if name not in _rows():
        close = difflib.get_close_matches(name.lower(), [*others, *_rows()], n=3, cutoff=0.5)
        words = " or ".join(repr(f"ready/{found}") for found in close)
        raise StudioError(f"there is no ready model '{name}'", f"Did you mean {words}?" if close else "List them with: python -m engine starts")
    row = _rows()[name]
    if task not in (None, row.task):
        raise StudioError(f"'{row.title}' is not made for this task ({task})", f"It is made for {row.task}.")
    return catalogue.Start("optimized", f"ready/{name}", row.architecture, f"{PREFIX}{name}", "", row.title, row.licence, row.origin)


def accept(key: str) -> None:
    """Keep that the user has accepted a finished model's licence: asked once only."""
    row = find(key)
    row.folder.mkdir(parents=True, exist_ok=True)
    workspace.write_json(row.folder / "licence.json", {"licence": row.licence, "source": row.licence_source, "accepted_t": time.time()})
