"""The X-ray of a file: everything the Start page and the shell show about it, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.models.own_onnx.drawing import draw
from engine.models.own_onnx.interface import Port
from engine.models.own_onnx.library import Imported, Report, import_file
from engine.models.own_onnx.pyramid import Level, feature_levels

__all__ = ["takes", "xray", "xray_of"]


def xray(path: Path, *, checked: bool = False, report: Report = lambda _words, _share: None) -> dict[str, Any]:
    """Import a file (once) and return its X-ray.

    Args:
        checked: `library.looked_at` has just seen it.

    Raises:
        StudioError: if the file is refused; one sentence says why.
    """
    return xray_of(import_file(path, checked=checked, report=report))


def xray_of(imported: Imported) -> dict[str, Any]:
    """Return the X-ray of an imported file."""
    about = {key: value for key, value in imported.about.items() if key != "shapes"}
    shapes = {name: tuple(shape) for name, shape in imported.about["shapes"].items()}
    model, row = imported.model, imported.about["port"]
    port = Port(row["name"], tuple(row["shape"]), row["dtype"], row["kind"], row["layout"]) if row else None
    levels = feature_levels(model, shapes, port, imported.about["cut"]["value"]) if port is not None else []
    kind = takes(imported.about["inputs"])
    told = {"takes": kind, "levels": [level.to_json() for level in levels], "uses": _uses(imported.about, kind, levels)}
    return {"id": imported.id, **about, **told, "graph": draw(model, shapes)}


def takes(inputs: Sequence[Mapping[str, Any]]) -> str:
    """What a network looks at, by its inputs: 'pictures', 'text', 'sound' or 'numbers'."""
    kinds = {row["kind"] for row in inputs}
    if len(inputs) == 1 and kinds == {"picture"}:
        return "pictures"
    if kinds == {"text"}:
        return "text"
    return "sound" if inputs and inputs[0]["kind"] == "signal" else "numbers"


_TAKES = {
    "pictures": "it takes one picture",
    "text": "it takes text, as the numbers of its pieces of words",
    "sound": "it takes sound, as samples or as a spectrum",
    "numbers": "it takes numbers that are no picture, no text and no sound",
}


def _uses(about: Mapping[str, Any], kind: str, levels: Sequence[Level]) -> list[dict[str, Any]]:
    """What it can be retrained for, and why or why not."""
    picture, cut = about["port"] is not None, about["cut"]
    is_picture = _TAKES[kind] if picture or kind != "pictures" else "it does not take one picture as its only input"
    how = "its features learn along" if about["trainable"] else "its features stay as they are, a new head learns on top"
    if not picture:
        why = f"{is_picture}; Graft's projects are about pictures, so far"
        return [{"task": task, "possible": False, "why": why} for task in ("image-classification", "detection", "segmentation", "features")]
    steps = ", ".join(f"1/{level.stride}" for level in levels)
    where = f"it keeps maps of the picture at {steps} of its size" if levels else "no map of the picture is left in it before the cut"
    return [
        {"task": "image-classification", "possible": True, "why": f"{is_picture}, and the cut gives {cut['features']} features a picture; {how}"},
        {"task": "detection", "possible": any(level.stride >= 8 for level in levels), "why": f"{is_picture}, and {where}"},
        {"task": "segmentation", "possible": bool(levels), "why": f"{is_picture}, and {where}"},
        {"task": "features", "possible": True, "why": f"{is_picture}: the value at the cut describes it"},
    ]
