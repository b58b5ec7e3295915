from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.data import shapes
from engine.errors import StudioError

PICTURES = arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@settings(deadline=None)
@given(PICTURES)
def test_a_mask_survives_its_kept_form_and_is_coco_s_own(pixels: Any) -> None:
    kept = shapes.mask_from(pixels)
    assert (shapes.mask_of(kept) == pixels).all()
    reference = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert kept == {"size": list(reference["size"]), "counts": reference["counts"].decode()}


@settings(deadline=None)
@given(st.tuples(*[st.floats(-2, 50) | st.integers(-2, 50) | st.sampled_from([math.nan, math.inf, 0.005, 473.07 - 460])] * 4))
def test_a_box_inside_is_kept_as_any_other(corners: tuple[float, float, float, float]) -> None:
    written = shapes.inside(corners, 48, 40)
    if written is not None:
        assert json.loads(written) == shapes.checked("box", {"box": list(corners)}, 48, 40)
    elif all(map(math.isfinite, corners)):
        x1, y1, x2, y2 = corners
        assert not (0 <= x1 < x2 - 0.51 and x2 <= 48 and 0 <= y1 < y2 - 0.51 and y2 <= 40), "as nearly all are"


@settings(deadline=None)
@given(st.text(max_size=20))
def test_damaged_run_lengths_are_refused_in_a_sentence(text: str) -> None:
    try:
        kept = shapes.checked("mask", {"size": [4, 4], "counts": text}, 4, 4)
    except StudioError:
        return
    assert kept is not None
    assert shapes.mask_of(kept).any()


@pytest.mark.parametrize(
    ("kind", "geometry", "words"),
    [
        ("box", {"box": [1, 2, math.nan, 4]}, "not a number"),
        ("box", {"box": [1, 2, 3]}, "3 numbers"),
        ("box", {"box": [30, 2, 40, 4]}, "outside"),
        ("box", {"box": [5, 5, 5, 9]}, "no inside"),
        ("box", {"box": "abcd"}, "damaged"),
        ("box", {}, "damaged"),
        ("polygon", {"rings": [[0, 0, 1, 1]]}, "three corners"),
        ("polygon", {"rings": []}, "no inside"),
        ("polygon", {"rings": [[1.0, 2.0] * 20_001]}, "more than 20,000"),
        ("mask", {"size": [10**6, 10**6], "counts": ""}, "and the picture 20 x 10"),
        ("mask", {"size": [10, 20], "counts": [200]}, "empty"),
        ("mask", {"size": [10, 20], "counts": [-5, 205]}, "do not fill"),
        ("point", {"point": [21, 3]}, "outside"),
        ("circle", {"r": 3}, "no kind"),
    ],
)
def test_what_is_no_shape_is_refused_in_a_sentence(kind: str, geometry: dict[str, Any], words: str) -> None:
    with pytest.raises(StudioError, match=words):
        shapes.checked(kind, geometry, 20, 10)


def test_a_shape_is_cut_to_the_picture_and_put_in_order() -> None:
    assert shapes.checked("box", {"box": [25, 8, -3, 2.123], "crowd": True}, 20, 10) == {"box": [0, 2.12, 20, 8], "crowd": True}
    assert shapes.checked("class", None, 20, 10) is None


@pytest.mark.parametrize(
    ("kind", "geometry", "pixels", "box"),
    [
        ("box", {"box": [2, 1, 5, 3]}, 6, (2, 1, 5, 3)),
        ("polygon", {"rings": [[2, 1, 5, 1, 5, 3, 2, 3]]}, 6, (2, 1, 5, 3)),
        ("polygon", {"rings": [[0, 0, 2, 0, 2, 2, 0, 2], [6, 6, 8, 6, 8, 8, 6, 8]]}, 8, (0, 0, 8, 8)),
        ("point", {"point": [3.5, 2.5]}, 1, (3.5, 2.5, 3.5, 2.5)),
    ],
)
def test_pixels_area_and_bounds_agree(kind: str, geometry: dict[str, Any], pixels: int, box: tuple[float, ...]) -> None:
    drawn = shapes.raster(kind, geometry, 20, 10)
    assert drawn.sum() == pixels
    assert shapes.bounds(kind, geometry) == box
    if kind != "point":
        assert shapes.area(kind, geometry) == pixels
        assert shapes.bounds("mask", shapes.mask_from(drawn)) == box
