from __future__ import annotations

import numpy as np
from PIL import Image

from engine.data import shapes
from engine.data.drawing import Drawn, colour_of, drawn_over


def test_shapes_are_drawn_where_they_are() -> None:
    grey = Image.new("RGB", (200, 100), (128, 128, 128))
    mask = np.zeros((100, 200), bool)
    mask[60:80, 120:180] = True
    drawn = drawn_over(
        grey,
        [
            Drawn("box", {"box": [10, 10, 60, 50]}, "", (255, 0, 0)),
            Drawn("mask", shapes.mask_from(mask), "", (0, 0, 255)),
            Drawn("polygon", {"rings": [[100, 10, 140, 10, 120, 40]]}, "", (0, 255, 0), dashed=True),
        ],
    )
    pixels = np.asarray(drawn)
    assert pixels[10, 30].tolist() == [255, 0, 0]
    assert pixels[30, 30].tolist() == [128, 128, 128]
    assert pixels[70, 150, 2] > 170 > pixels[70, 150, 0]
    assert (pixels[10, 100:141] == [0, 255, 0]).all(1).any()
    assert not (pixels[10, 100:141] == [0, 255, 0]).all(1).all()


def test_a_smaller_picture_has_its_shapes_smaller_and_names_stay_inside() -> None:
    drawn = drawn_over(Image.new("RGB", (400, 200)), [Drawn("box", {"box": [0, 0, 400, 200]}, "a name", (9, 200, 9))], 100)
    assert drawn.size == (100, 50)
    assert (np.asarray(drawn)[:8] > 0).any()


def test_colours_come_round_again() -> None:
    assert colour_of(0) == colour_of(10) != colour_of(1)
