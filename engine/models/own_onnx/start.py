"""Where training starts from when it starts from a user's own ONNX file: what `engine.models.build` asks of this door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engine.errors import StudioError
from engine.models.own_onnx.library import import_file, load_backbone, reference

__all__ = ["settings_of"]


def settings_of(path: Path, cut: str = "", image_size: int = 0) -> dict[str, Any]:
    """Import a file (once) and return what a model spec says of it: backbone, image_size, mean, std, interpolation, crop_share.

    Args:
        cut: the value or node to cut at; empty takes the proposed one.
        image_size: the side of pictures in pixels; 0 takes the file's own.

    Raises:
        StudioError: if the file is refused, takes no pictures, or cannot be cut or fed so.
    """
    found = import_file(path)
    preparation = found.preparation
    if preparation is None:
        raise StudioError(f"{path.name} does not take one picture as its only input", "Choose a network that does; others cannot learn from pictures.")
    name = reference(found, found.cut(cut))
    own = [length for length in found.about["port"]["shape"][1 if preparation.layout == "NHWC" else 2 :][:2] if length]
    size = image_size or max([*own, preparation.image_size])
    if any(length != size for length in own):
        _try_size(name, size, own)
    return {
        "backbone": name,
        "image_size": size,
        "mean": tuple(preparation.mean),
        "std": tuple(preparation.std),
        "interpolation": preparation.interpolation,
        "crop_share": preparation.crop_share,
    }


def _try_size(name: str, size: int, own: list[int]) -> None:
    """See whether a network takes pictures of another size than it was made for."""
    from engine.models.own_onnx.operators import OperatorError
    from engine.models.own_onnx.parity import RUNTIME_FAULTS

    try:
        with torch.no_grad():
            load_backbone(name).eval()(torch.zeros(1, 3, size, size))
    except (OperatorError, *RUNTIME_FAULTS) as error:
        raise StudioError(
            f"this network takes pictures of {' x '.join(map(str, own))} px only, not {size} x {size}", "Set the picture size to 0, the size it was made for."
        ) from error
