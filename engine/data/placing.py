"""Labels of a data set fitted to their picture as it really is: shares become pixels, a turned or resized frame is followed, what does not fit is said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image

from engine.data import shapes
from engine.data.formats.base import DAMAGE, Drawn, Tally
from engine.data.measured import Checked
from engine.errors import StudioError

__all__ = ["Placed", "place"]

Placed = tuple[str, str, str]
"""Class, kind, and shape as it is kept (see `shapes`), in JSON."""

_SAME_FORM = 0.02
"""How far the proportions of a frame may be from the picture's for its labels to be scaled: rounding of small sizes."""


def place(marks: tuple[Drawn, ...], stated: tuple[int, int] | None, picture: Checked, name: str, tally: Tally) -> list[Placed]:
    """Return the marks that fit the picture; the others are counted in `tally` by their reason.

    Args:
        marks: as the data set has them.
        stated: the width and height that the data set says the picture has.
        picture: as it was decoded.
        name: of the picture, for `tally`.
    """
    placed: list[Placed] = []
    fits = stated is None or stated == (picture.width, picture.height)
    for mark in marks:
        if fits and mark.kind == "box" and not (mark.relative or mark.crowd):
            written = shapes.inside(mark.shape, picture.width, picture.height)
            if written is not None:
                placed.append((mark.label, "box", written))
                continue
        try:
            geometry = _geometry(mark, stated, picture, name, tally)
            if mark.crowd:
                geometry["crowd"] = True
            kept = shapes.checked(mark.kind, geometry, picture.width, picture.height)
            assert kept is not None, "only whole-picture labels have no shape"
            placed.append((mark.label, mark.kind, json.dumps(kept)))
        except StudioError as error:
            tally.add(f"{error.problem.partition(' (')[0]}: that label was left out", name)
        except (*DAMAGE, MemoryError):
            tally.add(f"a {mark.kind} is damaged: that label was left out", name)
    return placed


def _geometry(mark: Drawn, stated: tuple[int, int] | None, picture: Checked, name: str, tally: Tally) -> dict[str, Any]:
    if mark.kind == "mask":
        return _mask(mark, picture, name, tally)
    frame = (1, 1) if mark.relative else stated
    fits = frame is None or (not mark.relative and frame == (picture.width, picture.height))
    if fits and mark.kind != "polygon":
        return {mark.kind: mark.shape}
    rings = [np.asarray(ring, np.float64) for ring in (mark.shape if mark.kind == "polygon" else (mark.shape,))]
    if frame is not None and not fits:
        rings = [_moved(ring, frame, picture, mark.relative, name, tally) for ring in rings]
    if mark.kind == "polygon":
        whole = [ring for ring in rings if len(ring) >= 6 and len(ring) % 2 == 0]
        if not whole:
            raise StudioError("a polygon has fewer than three corners", "Draw it again, or leave it out.")
        return {"rings": whole}
    return {mark.kind: rings[0]}


def _moved(flat: Any, frame: tuple[int, int], picture: Checked, relative: bool, name: str, tally: Tally) -> Any:
    """Bring coordinates of a frame of another size, or of the picture before it was turned, into the picture as it is shown."""
    xy_N2 = flat.reshape(-1, 2)
    if relative:
        return (xy_N2 * (picture.width, picture.height)).ravel()
    if picture.turn > 4 and frame == (picture.height, picture.width):
        x, y = xy_N2[:, 0], xy_N2[:, 1]
        right, down = frame
        turned = {5: (y, x), 6: (down - y, x), 7: (down - y, right - x), 8: (y, right - x)}[picture.turn]
        moved = np.stack(turned, 1)
        if len(moved) == 2:  # a box: its corners changed places
            moved = np.sort(moved, axis=0)
        return moved.ravel()
    if abs(frame[0] * picture.height - frame[1] * picture.width) <= _SAME_FORM * frame[0] * picture.height:
        tally.add("a label was scaled: its file says the picture has another size", name)
        return (xy_N2 * (picture.width / frame[0], picture.height / frame[1])).ravel()
    tally.add("a label's file says the picture has other proportions; it was used as it is", name)
    return flat


def _mask(mark: Drawn, picture: Checked, name: str, tally: Tally) -> dict[str, Any]:
    height, width, counts = mark.shape
    kept = {"size": [height, width], "counts": counts if isinstance(counts, str) else counts.tolist()}
    if (height, width) == (picture.height, picture.width) or height * width > 4 * picture.height * picture.width:
        return kept  # where it is far too large the check refuses it, without making room for it first
    if picture.turn > 4 and (height, width) == (picture.width, picture.height):
        pixels_HW = shapes.mask_of(kept)
        turned = {5: pixels_HW.T, 6: np.rot90(pixels_HW, -1), 7: np.rot90(pixels_HW, 2).T, 8: np.rot90(pixels_HW)}[picture.turn]
        return shapes.mask_from(turned)
    if min(width, height) > 0 and abs(width * picture.height - height * picture.width) <= _SAME_FORM * width * picture.height:
        tally.add("a label was scaled: its file says the picture has another size", name)
        small = Image.fromarray(shapes.mask_of(kept)).resize((picture.width, picture.height), Image.Resampling.NEAREST)
        return shapes.mask_from(np.asarray(small))
    return kept
