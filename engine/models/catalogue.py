"""What a user can start from: backbones, heads, ready models; and how a starting point is written. No torch here.

It owns reading assets/catalog/ (backbones.csv is made by `engine.models.make_catalogue`; the rest is written by hand)
and the grammar of a starting point:

    BACKBONE | HEAD/BACKBONE | ARCHITECTURE/BACKBONE | ready/NAME | run:RUN_ID | FILE.onnx | ARCHITECTURE/FILE.onnx

A head belongs to sorting pictures, an architecture (`engine.models.dense.table`) to the task it does.

Fetching weights is `engine.models.weights`'s business, building networks `engine.models.build`'s.
"""

from __future__ import annotations

import csv
import difflib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from engine import runs, workspace
from engine.errors import StudioError

__all__ = [
    "HEADS",
    "Backbone",
    "Head",
    "Optimized",
    "Start",
    "backbone",
    "backbones",
    "downloaded_file",
    "families",
    "measured_speed",
    "optimized",
    "packaged_file",
    "packaged_sha256",
    "resolve",
]

Weights = Literal["packaged", "here", "downloadable", "absent"]
Door = Literal["general", "optimized", "onnx", "run"]

_CATALOG = Path(__file__).resolve().parents[2] / "assets" / "catalog"
_ORDER: dict[str, int] = {"packaged": 0, "here": 1, "downloadable": 2, "absent": 3}


@dataclass(frozen=True)
class Backbone:
    """One network that turns pictures into features, with the weights it starts from, their preprocessing and their licence.

    Attributes:
        name: what users, recipes and links call it.
        architecture: timm's name of the network; tag: timm's name of the weights ('' where there are none).
        params_m: parameters in millions, without a classifier.
        features: length of the pooled feature vector.
        image_size: side in pixels it was trained for; fixed_size says whether it takes no other.
        mean, std: of pixel values in 0..1; crop_share: the share of the resized picture's side that is kept.
        classes: how many classes the weights' own classifier has (0: none).
        accuracy: published ImageNet-1k top-1 in percent, None where no checked source states it.
    """

    name: str
    architecture: str
    tag: str
    family: str
    title: str
    params_m: float
    features: int
    image_size: int
    fixed_size: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_share: float
    classes: int
    pretraining: str
    licence: str
    hub: str
    accuracy: float | None
    accuracy_source: str

    @property
    def weights(self) -> Weights:
        """Where its pretrained weights are now; 'absent' means it can only be trained from scratch."""
        if packaged_file(self.name):
            return "packaged"
        if downloaded_file(self.name).exists():
            return "here"
        return "downloadable" if self.hub else "absent"

    @property
    def weights_mb(self) -> float:
        """Size of the weights in megabytes: exact where they are packaged, else about four bytes a parameter."""
        if self.name in _packaged():
            return float(_packaged()[self.name]["megabytes"])
        return round((self.params_m + self.features * self.classes / 1e6) * 4, 1)


@dataclass(frozen=True)
class Head:
    """What is put on top of a backbone's features."""

    key: str
    title: str
    words: str


HEADS = (
    Head("linear", "Linear", "One layer. The right first choice: quick, and hard to beat when pictures are few."),
    Head("mlp", "Two layers", "One hidden layer more. Can tell apart classes that no straight line divides; wants more pictures."),
    Head("cosine", "Cosine", "Compares directions only, not lengths. Often steadier when some classes have far fewer pictures than others."),
)


@dataclass(frozen=True)
class Optimized:
    """A finished model for a task: usable at once, and a starting point too."""

    key: str
    task: str
    title: str
    words: str
    backbone: str
    trained_on: str
    licence: str
    accuracy: float | None
    accuracy_source: str
    classes_package: str
    classes_file: str
    classes_count: int

    def class_names(self) -> tuple[str, ...]:
        """Return the names of its classes in the order of its outputs. Names that occur twice are told apart by a number.

        Raises:
            StudioError: if the package that carries them is not installed.
        """
        path = _in_package(self.classes_package, self.classes_file)
        if path is None:
            raise StudioError(f"the class names of '{self.key}' are missing", "Install them with: pip install -r requirements.txt")
        seen: dict[str, int] = {}
        names = []
        for name in json.loads(path.read_bytes()):
            seen[name] = seen.get(name, 0) + 1
            names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
        return tuple(names)


@dataclass(frozen=True)
class Start:
    """A starting point, resolved.

    Attributes:
        key: the starting point as a recipe writes it, in its full form.
        head, backbone, run_id: '' where they do not apply (an ONNX file has no named backbone).
        origin: where it comes from, in words for a model card.
    """

    door: Door
    key: str
    head: str
    backbone: str
    run_id: str
    title: str
    licence: str
    origin: str

    @property
    def file(self) -> Path:
        """The ONNX file of that door."""
        return Path(self.key.removeprefix(f"{self.head}/") if self.head else self.key)


@cache
def _packaged() -> dict[str, dict[str, Any]]:
    return json.loads((_CATALOG / "packaged.json").read_bytes())


@cache
def _in_package(package: str, file: str) -> Path | None:
    """Return a file inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / file).is_file():
            return path
    return None


def packaged_file(name: str) -> Path | None:
    """Return the weight file that an installed package carries for this backbone, if any."""
    entry = _packaged().get(name)
    return _in_package(entry["package"], entry["file"]) if entry else None


def packaged_sha256(name: str) -> str:
    """Return the pinned checksum of a packaged weight file."""
    return str(_packaged()[name]["sha256"])


def downloaded_file(name: str) -> Path:
    """Return where this backbone's weights lie once they have been downloaded."""
    return workspace.home() / "cache" / "weights" / f"{name}.safetensors"


@cache
def _table() -> dict[str, Backbone]:
    with (_CATALOG / "backbones.csv").open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        columns = next(lines)
        rows = [_backbone(dict(zip(columns, line, strict=True))) for line in lines]
    table = {row.name: row for row in rows}
    assert len(table) == len(rows), "a backbone is in the catalogue twice"
    return table


def _backbone(row: dict[str, str]) -> Backbone:
    name = row["name"]
    entry = _packaged().get(name)
    red, green, blue = row["mean"].split()
    s_red, s_green, s_blue = row["std"].split()
    return Backbone(
        name=name,
        architecture=entry["architecture"] if entry else name.partition(".")[0],
        tag=row["tag"],
        family=row["family"],
        title=row["title"],
        params_m=float(row["params_m"]),
        features=int(row["features"]),
        image_size=int(row["input"]),
        fixed_size=row["fixed"] == "1",
        mean=(float(red), float(green), float(blue)),
        std=(float(s_red), float(s_green), float(s_blue)),
        interpolation=row["interpolation"],
        crop_share=float(row["crop"]),
        classes=int(row["classes"]),
        pretraining=row["pretraining"],
        licence=row["licence"],
        hub=row["hub"],
        accuracy=float(row["accuracy"]) if row["accuracy"] else None,
        accuracy_source=row["accuracy_source"],
    )


@cache
def _aliases() -> dict[str, str]:
    """Other names that resolve: timm's own for the packaged ones, and ARCHITECTURE.TAG for each row's weights."""
    found = {}
    for name, row in _table().items():
        for alias in (row.architecture, f"{row.architecture}.{row.tag}"):
            if alias not in _table() and not alias.endswith("."):
                found[alias] = name
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_./-]+", "", text.lower())


@cache
def _searchable() -> tuple[tuple[str, str, Backbone], ...]:
    return tuple((_squeezed(row.name), _squeezed(f"{row.name} {row.title} {row.family} {row.pretraining}"), row) for row in _table().values())


def backbones(query: str = "", family: str | None = None, weights: Weights | None = None) -> list[Backbone]:
    """Return the backbones that match every word of the query, the likeliest first; with no query, those that work at once first."""
    whole, words = _squeezed(query), [_squeezed(word) for word in query.split()]
    folder = workspace.home() / "cache" / "weights"
    here = {path.stem for path in folder.glob("*.safetensors")}

    def order(row: Backbone) -> int:  # as `weights` says it, without asking the disk once a row
        return _ORDER["packaged" if packaged_file(row.name) else "here" if row.name in here else "downloadable" if row.hub else "absent"]

    def rank(entry: tuple[str, str, Backbone]) -> tuple[int, int, bool, float, str]:
        name, _, row = entry
        match = 0 if name == whole else 1 if name.startswith(whole) else 2 if _squeezed(row.family).startswith(whole) else 3
        return match if whole else 0, order(row), row.accuracy is None, row.params_m, name

    found = [entry for entry in _searchable() if all(word in entry[1] for word in words) and family in (None, entry[2].family)]
    return [entry[2] for entry in sorted(found, key=rank) if weights is None or order(entry[2]) == _ORDER[weights]]


def families() -> list[tuple[str, str, int]]:
    """Return (family, its title, how many backbones it has), the largest first."""
    titles = json.loads((_CATALOG / "families.json").read_bytes())
    counts: dict[str, int] = {}
    for row in _table().values():
        counts[row.family] = counts.get(row.family, 0) + 1
    return [(family, titles.get(family, family.replace("_", " ").capitalize()), counts[family]) for family in sorted(counts, key=lambda f: (-counts[f], f))]


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(repr(found) for found in close)}?" if close else "List them with: python -m engine starts"


def backbone(name: str) -> Backbone:
    """Return the backbone of that name.

    Raises:
        StudioError: if there is none; the nearest names are in it.
    """
    row = _table().get(_aliases().get(name, name))
    if row is None:
        raise StudioError(f"there is no backbone '{name}'", _nearest(name, [*_table(), *_aliases()]))
    return row


@cache
def _ready() -> tuple[Optimized, ...]:
    entries = [entry for path in sorted(_CATALOG.glob("ready_*.json")) for entry in json.loads(path.read_bytes())]
    assert len({entry["key"] for entry in entries}) == len(entries), "a ready model is in the catalogue twice"
    return tuple(
        Optimized(
            classes_package=entry["classes"]["package"],
            classes_file=entry["classes"]["file"],
            classes_count=entry["classes"]["count"],
            **{key: value for key, value in entry.items() if key != "classes"},
        )
        for entry in entries
    )


def optimized(task: str = "image-classification") -> list[Optimized]:
    """Return the ready models that can be retrained for a task, in the catalogue's order: what those that sort have learnt to see serves tagging too."""
    return [entry for entry in _ready() if entry.task == task or (entry.task, task) == ("image-classification", "multi-label-classification")]


def resolve(start: str, task: str | None = None) -> Start:
    """Read a starting point as users and recipes write it.

    >>> resolve("efficientnet_lite0").key
    'linear/efficientnet_lite0'
    >>> resolve("efficientnet_lite0", "object-detection").key
    'fcos/efficientnet_lite0'

    Args:
        start: as above.
        task: what it shall be trained for: decides what a bare backbone gets on top, and refuses what does not do it.

    Raises:
        StudioError: if it names nothing known (the nearest names are in it), or nothing for that task.
    """
    start = start.strip()
    if start.lower().endswith(".onnx"):
        from engine.models import tops

        return tops.file_start(start, task)
    if start.startswith("run:"):
        return _from_run(start.removeprefix("run:"))
    from engine.models import tops

    head, slash, name = start.rpartition("/")
    if head == "ready":
        return _from_ready(name, task)
    head = head if slash else HEADS[0].key if task is None else tops.of(task)[0]
    row = backbone(name)
    title = tops.title(head, row, task)
    learned = f"pretrained on {row.pretraining}" if row.pretraining else "with pretrained weights" if row.tag else "trained from scratch"
    return Start("general", f"{head}/{row.name}", head, row.name, "", f"{row.title} · {title}", row.licence, f"{row.title} ({row.name}), {learned}")


def _from_ready(name: str, task: str | None) -> Start:
    for entry in _ready():
        if name == entry.key:
            origin = f"the ready model '{entry.title}' ({backbone(entry.backbone).title}), trained on {entry.trained_on}"
            return Start("optimized", f"ready/{name}", "linear", entry.backbone, "", entry.title, entry.licence, origin)
    from engine.models import published

    return published.start(name, task, [entry.key for entry in _ready()])


def _from_run(run_id: str) -> Start:
    """Resolve a finished run; its backbone and head are those it started from, as far back as runs go."""
    first = run = runs.find(run_id)
    seen = {run.id}
    start = run.recipe.start
    while start.startswith("run:"):
        try:
            run = runs.find(start.removeprefix("run:"))
        except StudioError:  # an older ancestor was deleted: the run's own checkpoint says what it is built of
            return Start("run", f"run:{first.id}", "", "", first.id, first.name, "", f"the run '{first.name}'")
        if run.id in seen:
            raise StudioError(f"the runs that '{first.id}' starts from form a circle", "Choose another starting point.")
        seen.add(run.id)
        start = run.recipe.start
    root = resolve(start)
    return Start(
        "run", f"run:{first.id}", root.head, root.backbone, first.id, first.name, root.licence, f"the run '{first.name}', which started from {root.origin}"
    )


def measured_speed(name: str) -> float | None:
    """Return how many pictures a second this machine trained on with this backbone when last tried, None where it was not."""
    path = workspace.home() / "cache" / "estimates" / f"speed-{backbone(name).name}.json"
    return float(workspace.read_json(path)["images_per_s"]) if path.exists() else None
