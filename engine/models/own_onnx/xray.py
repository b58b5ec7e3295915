"""The X-ray of a file: everything the Start page and the shell show about it, as one JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.models.own_onnx.drawing import draw
from engine.models.own_onnx.library import Imported, Report, import_file

__all__ = ["xray", "xray_of"]


def xray(path: Path, *, report: Report = lambda _words, _share: None) -> dict[str, Any]:
    """Import a file (once) and return its X-ray.

    Raises:
        StudioError: if the file is refused; one sentence says why.
    """
    return xray_of(import_file(path, report=report))


def xray_of(imported: Imported) -> dict[str, Any]:
    """Return the X-ray of an imported file."""
    about = {key: value for key, value in imported.about.items() if key != "shapes"}
    shapes = {name: tuple(shape) for name, shape in imported.about["shapes"].items()}
    return {"id": imported.id, **about, "uses": _uses(imported.about), "graph": draw(imported.model, shapes)}


def _uses(about: dict[str, Any]) -> list[dict[str, Any]]:
    """What it can be retrained for, and why or why not."""
    picture, cut = about["port"] is not None, about["cut"]
    takes = "it takes one picture" if picture else "it does not take one picture as its only input"
    is_map = cut["pool"] in ("map", "map_last") and len(cut["shape"]) == 4 and max(cut["shape"][2:]) > 1
    maps = [row for row in [cut, *about["alternatives"]] if row["pool"] in ("map", "map_last") and len(row["shape"]) == 4 and min(row["shape"][1:]) > 1]
    how = "its features learn along" if about["trainable"] else "its features stay as they are, a new head learns on top"
    where = (
        f"a feature map of {'x'.join(map(str, (cut if is_map else maps[0])['shape'][1:]))} is there"
        if maps or is_map
        else "no feature map with places is left in it"
    )
    return [
        {"task": "image-classification", "possible": picture, "why": f"{takes}, and the cut gives {cut['features']} features a picture; {how}"},
        {"task": "detection", "possible": picture and bool(maps), "why": f"{takes}, and {where}"},
        {"task": "segmentation", "possible": picture and bool(maps), "why": f"{takes}, and {where}"},
        {"task": "features", "possible": picture, "why": f"{takes}: the value at the cut describes it"},
    ]
