"""The composed photographs of `engine.data.scenes` as a version of a data set, for benchmarks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from engine.data import shapes
from engine.data.scenes import CLASSES, scenes

__all__ = ["manifest"]


def manifest(folder: Path, task: str, counts: tuple[int, int, int] = (120, 40, 60)) -> dict[str, Any]:
    """Make pictures in a folder and return them as a version of a data set; `counts` for training, validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    items: list[dict[str, Any]] = []
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        for scene in scenes(split, count):
            path = folder / f"{len(items):04}.png"
            scene.picture.save(path)
            row = {"id": len(items) + 1, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "path": str(path), "name": path.name, "split": split}
            marks = [{"class": kind, "kind": "mask", **shapes.mask_from(mask)} for kind, mask in scene.things]
            items.append({**row, "width": scene.picture.width, "height": scene.picture.height, "marks": marks})
    return {"id": "scenes", "task": task, "classes": list(CLASSES), "items": items}
