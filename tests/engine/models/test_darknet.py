"""Darknet's YOLOv3-tiny: its weight file is read as Darknet reads it, and the network answers as Darknet's does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.errors import StudioError
from engine.models import darknet
from engine.models.dense import finished
from tests.darknet import LAYERS, weights

NAMES = ("person", "dog", "cat")
ANCHORS = {32: ((81, 82), (135, 169), (344, 319)), 16: ((23, 27), (37, 58), (81, 82))}


class Reader:
    """The file's layers, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.floats: NDArray[np.float32] = np.frombuffer(content, "<f4", offset=20)
        self.at = 0
        self.layers = iter(LAYERS)

    def take(self, *shape: int) -> Tensor:
        count = math.prod(shape)
        self.at += count
        return torch.from_numpy(self.floats[self.at - count : self.at].copy()).view(shape)

    def layer(self, x: Tensor) -> Tensor:
        inside, outside, kernel = next(self.layers)
        if not outside:
            bias = self.take(3 * (5 + len(NAMES)))
            return F.conv2d(x, self.take(len(bias), inside, kernel, kernel), bias)
        shift, scale, mean, variance = (self.take(outside) for _ in range(4))
        x = F.conv2d(x, self.take(outside, inside, kernel, kernel), padding=kernel // 2)
        return F.leaky_relu(F.batch_norm(x, mean, variance, scale, shift), 0.1)


def answered(map_1Chw: Tensor, stride: int) -> list[tuple[list[float], list[float]]]:
    """Boxes x1 y1 x2 y2 and scores a class, read off a map as Darknet's yolo layer does."""
    found = []
    grid = map_1Chw[0].view(3, 5 + len(NAMES), *map_1Chw.shape[-2:])
    for row in range(grid.shape[2]):
        for column in range(grid.shape[3]):
            for kind, (width, height) in enumerate(ANCHORS[stride]):
                x, y, w, h, thing, *classes = grid[kind, :, row, column]
                x, y, w, h = (column + x.sigmoid()) * stride, (row + y.sigmoid()) * stride, w.exp() * width / 2, h.exp() * height / 2
                found.append(([float(v) for v in (x - w, y - h, x + w, y + h)], [float(thing.sigmoid() * one.sigmoid()) for one in classes]))
    return found


def reference(content: bytes, x: Tensor) -> tuple[Tensor, Tensor]:
    file = Reader(content)
    for _ in range(4):
        x = F.max_pool2d(file.layer(x), 2)
    route = file.layer(x)
    x = file.layer(F.max_pool2d(route, 2))
    x = file.layer(F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-math.inf), 2, 1))
    middle = file.layer(x)
    coarse = file.layer(file.layer(middle))
    x = torch.cat((F.interpolate(file.layer(middle), scale_factor=2, mode="nearest"), route), 1)
    fine = file.layer(file.layer(x))
    assert file.at == len(file.floats)
    rows = answered(fine, 16) + answered(coarse, 32)
    return torch.tensor([box for box, _ in rows]), torch.tensor([scores for _, scores in rows])


def test_the_network_answers_as_darknets(tmp_path: Path) -> None:
    content = weights(len(NAMES), seed=3)
    darknet.convert(content, "\n".join(NAMES).encode(), tmp_path)
    assert finished.names_of(tmp_path) == NAMES
    network = finished.load(tmp_path, NAMES).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        outputs = network(images)
        boxes_A4, scores_AK = reference(content, images)
    scores = outputs["bbox_regression"][..., 4:].sigmoid() * outputs["cls_logits"].sigmoid()
    assert torch.allclose(network.head._boxes(outputs)[0], boxes_A4, rtol=1e-4, atol=1e-2)
    assert torch.allclose(scores[0], scores_AK, atol=1e-5)
    assert scores_AK.std() > 0.01


@pytest.mark.parametrize(("change", "match"), [(lambda content: content[:-4], "end too early"), (lambda content: content + b"\0" * 8, "2 numbers too many")])
def test_a_file_of_another_length_is_refused(tmp_path: Path, change, match: str) -> None:
    with pytest.raises(StudioError, match=match):
        darknet.convert(change(weights(len(NAMES))), "\n".join(NAMES).encode(), tmp_path)
    assert list(tmp_path.iterdir()) == []
