"""What a Graft ONNX file says about itself: labels, preprocessing, origin and task, as JSON under graft.* in its metadata. Torch-free."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.data.geometry import FILL
from engine.recipe import WHOLE

__all__ = ["ABOUT_KEYS", "FITS", "SORTING", "TAGGING", "WHOLE", "About", "Preprocessing", "attach", "graft_version", "of_spec", "parse", "strip"]

ABOUT_KEYS = ("graft.labels", "graft.preprocessing", "graft.origin", "graft.task")
SORTING, TAGGING = WHOLE
"""The tasks whose models give one probability for each class of a whole picture. Files that do not say their task sort: the first that Graft wrote."""

THRESHOLDS = "graft.thresholds"
"""Where a file that tags says from which probability on each class counts as shown."""
HALF = 0.5

INTERPOLATIONS = ("bilinear", "bicubic")
FITS = ("crop", "stretch", "whole")


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the model's input, RGB 0..255.

    fit 'crop': its central square, resized to image_size / crop_share, the centre of that. fit 'stretch': all of it, resized to
    image_size x image_size, whatever its shape. fit 'whole': the whole of it, resized to fit into
    height x width, in the upper left corner, the rest filled with grey `fill`. `mean` and `std` (of 1) are inside the network already; they
    are told for those who want to know.
    """

    image_size: int
    crop_share: float
    interpolation: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fit: str = "crop"
    height: int = 0
    width: int = 0
    fill: int = FILL

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width, in pixels, of the model's input."""
        return self.height or self.image_size, self.width or self.image_size


@dataclass(frozen=True)
class About:
    """All of it together. `thresholds`, one a label, are those of a model that tags; others have none."""

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    origin: dict[str, Any]
    task: str = SORTING
    thresholds: tuple[float, ...] = ()


def of_spec(spec: Any) -> tuple[tuple[str, ...], Preprocessing, str]:
    """Return labels, preprocessing and task of an `engine.models.build.ModelSpec`."""
    shape = (str(spec.fit), *(spec.input_hw if spec.fit == "whole" else ()))
    row = Preprocessing(int(spec.image_size), float(spec.crop_share), str(spec.interpolation), tuple(spec.mean), tuple(spec.std), *shape)
    return tuple(spec.classes), row, str(spec.task)


def graft_version() -> str:
    """Return Graft's version: that of the installed package, or of this checkout."""
    try:
        return version("graft")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"]) if project.exists() else "unknown"


def attach(proto: Any, described: tuple[tuple[str, ...], Preprocessing, str], origin: Mapping[str, Any], thresholds: Sequence[float] | None = None) -> None:
    """Write labels, preprocessing, origin, task and the thresholds of one that tags (a half where not given) into an onnx.ModelProto's metadata, in place."""
    labels, preprocessing, task = described
    told = {"graft_version": graft_version(), "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **origin}
    rows: dict[str, Any] = dict(zip(ABOUT_KEYS, (list(labels), asdict(preprocessing), told, task), strict=True))
    if task == TAGGING:
        rows[THRESHOLDS] = list(thresholds or [HALF] * len(labels))
    for key, value in rows.items():
        proto.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False, allow_nan=False))


def strip(message: Any) -> None:
    """Remove every doc string and every metadata entry from an ONNX message and all within it, in place.

    Exporters write stack traces with local paths there, and a model that is shipped must not tell them.
    """
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if not hasattr(value, "add") else value:
                strip(part)


def parse(entries: Mapping[str, str]) -> About | None:
    """Read labels, preprocessing, origin and task from a model's metadata; None where they are absent or make no sense."""
    try:
        labels, preprocessing, origin = (json.loads(entries[key]) for key in ABOUT_KEYS[:3])
        task = str(json.loads(entries.get(ABOUT_KEYS[3], json.dumps(SORTING))))
        thresholds = tuple(map(float, json.loads(entries.get(THRESHOLDS, "[]"))))
        row = Preprocessing(
            image_size=int(preprocessing["image_size"]),
            crop_share=float(preprocessing["crop_share"]),
            interpolation=str(preprocessing["interpolation"]),
            mean=tuple(map(float, preprocessing.get("mean", ()))),
            std=tuple(map(float, preprocessing.get("std", ()))),
            fit=str(preprocessing.get("fit", "crop")),
            height=int(preprocessing.get("height", 0)),
            width=int(preprocessing.get("width", 0)),
            fill=int(preprocessing.get("fill", FILL)),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    whole = isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels) and isinstance(origin, dict)
    sane = 1 <= row.image_size <= 4096 and 0.1 <= row.crop_share <= 1 and row.interpolation in INTERPOLATIONS and row.fit in FITS
    decides = len(thresholds) == (len(labels) if whole and task == TAGGING else 0) and all(0 <= threshold <= 1 for threshold in thresholds)
    return About(tuple(labels), row, origin, task, thresholds) if whole and sane and decides and max(row.input_hw) <= 4096 else None
