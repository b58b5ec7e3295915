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


def _tags(drawn: Image.Image, colour: tuple[int, int, int]) -> int:
    """Count the pixels of a name's tag: those of its colour."""
    return int((np.asarray(drawn) == colour).all(2).sum())


def test_in_a_crowd_no_name_lies_on_another() -> None:
    ground, under, over = Image.new("RGB", (640, 480)), (200, 0, 0), (0, 0, 200)
    alone = _tags(drawn_over(ground, [Drawn("box", {"box": [100, 100, 300, 200]}, "over", over)]), over)
    both = [Drawn("box", {"box": [104, 104, 304, 204]}, "under", under), Drawn("box", {"box": [100, 100, 300, 200]}, "over", over)]
    seen = drawn_over(ground, both)
    assert _tags(seen, over) >= 0.98 * alone  # the one on top keeps its place
    box = _tags(drawn_over(ground, [Drawn("box", {"box": [104, 104, 304, 204]}, "", under)]), under)
    assert _tags(seen, under) > box  # the other stands below its box
    third = [Drawn("box", {"box": [102, 102, 302, 202]}, "none", (0, 200, 0)), *both]
    bare = [Drawn("box", {"box": [102, 102, 302, 202]}, "", (0, 200, 0)), *both]
    assert np.array_equal(drawn_over(ground, third), drawn_over(ground, bare))  # where there is room for neither, none is written


def test_a_name_below_is_left_out_where_the_picture_ends() -> None:
    ground = Image.new("RGB", (640, 480))
    boxes = [[100, 300, 300, 478], [102, 300, 302, 478]]
    drawn = [Drawn("box", {"box": box}, name, (200, 0, 0)) for box, name in zip(boxes, ("under", "over"), strict=True)]
    bare = [Drawn("box", {"box": boxes[0]}, "", (200, 0, 0)), drawn[1]]
    assert np.array_equal(drawn_over(ground, drawn), drawn_over(ground, bare))


def test_colours_come_round_again() -> None:
    assert colour_of(0) == colour_of(10) != colour_of(1)
