"""Where training starts from when it starts from a user's own ONNX file: what `engine.models.build` asks of this door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engine.errors import StudioError
from engine.models.own_onnx.dropped import Choices, choices_of, file_of
from engine.models.own_onnx.library import import_file, load_backbone, reference

__all__ = ["settings_of", "try_choices"]


def settings_of(path: Path, cut: str = "", image_size: int = 0, choices: Choices | None = None) -> dict[str, Any]:
    """Import a file (once) and return what a model spec says of it: backbone, image_size, mean, std, interpolation, crop_share.

    Args:
        cut: the value or node to cut at; empty takes the chosen one, else the proposed one.
        image_size: the side of pictures in pixels; 0 takes the chosen one, else the file's own.
        choices: what the user chose for this file; None reads what lies beside it.

    Raises:
        StudioError: if the file is refused, takes no pictures, or cannot be cut or fed so.
    """
    chosen = choices_of(path) if choices is None else choices
    found = import_file(file_of(path))
    preparation = found.preparation
    if preparation is None:
        raise StudioError(f"{path.name} does not take one picture as its only input", "Choose a network that does; others cannot learn from pictures.")
    fed = {"layout": chosen.layout} if chosen.layout not in ("", preparation.layout) else {}
    fed |= {"colours": chosen.colours} if chosen.colours != "rgb" else {}
    name = reference(found, found.cut(cut or chosen.cut), fed)
    layout = chosen.layout or preparation.layout
    own = [length for length in found.about["port"]["shape"][1 if layout == "NHWC" else 2 :][:2] if length]
    size = image_size or chosen.image_size or max([*own, preparation.image_size])
    if len(set(own)) == 1 and own[0] != size:  # others that are no squares are fed stretched
        _try_size(name, size, own)
    return {
        "backbone": name,
        "image_size": size,
        "mean": tuple(chosen.mean or preparation.mean),
        "std": tuple(chosen.std or preparation.std),
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


def try_choices(path: Path, choices: Choices) -> dict[str, Any]:
    """See whether a file works with these choices: two pictures through everything up to the cut.

    Returns:
        {"cut": the cut as the X-ray tells it, "image_size", "features"}.

    Raises:
        StudioError: if it does not; the sentence says why.
    """
    from engine.models.own_onnx.operators import OperatorError
    from engine.models.own_onnx.parity import RUNTIME_FAULTS

    choices.check()
    told = settings_of(path, choices=choices)
    cut, size = import_file(path).cut(choices.cut), told["image_size"]
    try:
        with torch.no_grad():
            features = load_backbone(told["backbone"]).eval()(torch.zeros(2, 3, size, size))
    except (OperatorError, *RUNTIME_FAULTS) as error:
        raise StudioError(
            f"with these choices the network does not run ({str(error).splitlines()[0][:160]})",
            "Choose another cut or size, or go back to what Graft proposes.",
        ) from error
    if tuple(features.shape) != (2, cut.features):
        raise StudioError(
            f"the value there is no feature of one picture: two pictures give {' x '.join(map(str, features.shape))} numbers",
            "Click another place on the graph.",
        )
    if not torch.isfinite(features).all():
        raise StudioError("the value there is no finite number", "Click another place on the graph.")
    return {"cut": cut.to_json(), "image_size": size, "features": cut.features}
