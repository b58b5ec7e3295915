"""Heat maps of a network that is known to look at one corner only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from engine.evaluation.explain import heat_map, overlay
from engine.export.onnx_file import export_onnx
from engine.export.predictor import Predictor
from engine.models.build import ModelSpec

SIZE = 64


class Corner(nn.Module):
    """Says 'red' the surer, the redder the top left quarter is; sees nothing else."""

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        corner_BCHW = images_BCHW[:, :, : SIZE // 2, : SIZE // 2]
        score_B = (corner_BCHW[:, 0] - corner_BCHW[:, 1]).mean((1, 2))
        return torch.stack([score_B * 4, -score_B * 4], 1)


@pytest.fixture
def predictor(home: Path) -> Predictor:
    spec = ModelSpec(backbone="corner", classes=("red", "not red"), image_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, crop_share=1.0)
    noise = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    export_onnx(Corner(), spec, home / "corner.onnx", origin={}, pictures=noise)
    return Predictor(home / "corner.onnx")


def picture() -> Image.Image:
    """Grey, with a red square in the top left and a larger one in the bottom right."""
    pixels = np.full((SIZE, SIZE, 3), 120, np.uint8)
    pixels[8:24, 8:24] = pixels[36:60, 36:60] = (230, 20, 20)
    return Image.fromarray(pixels)


def test_the_heat_is_where_the_network_looks(predictor: Predictor) -> None:
    heat = heat_map(predictor, picture(), 0)
    assert (heat.shape, heat.dtype) == ((SIZE, SIZE), np.float32)
    assert (heat.min(), heat.max()) == (0, 1)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 8 <= y < 24
    assert 8 <= x < 24
    assert heat[40:, 40:].max() < 0.05  # the other red square means nothing to it


def test_a_picture_without_content_speaks_for_nothing(predictor: Predictor) -> None:
    assert not heat_map(predictor, Image.new("RGB", (90, 70), (200, 90, 90)), 0).any()


def test_overlay_warms_the_hot_and_darkens_the_unseen(predictor: Predictor) -> None:
    wide = Image.new("RGB", (200, 100), (100, 100, 100))
    heat = np.zeros((SIZE, SIZE), np.float32)
    heat[:8] = 1
    found = np.asarray(overlay(wide, heat, predictor.preprocessing))
    assert found.shape == (100, 200, 3)
    assert found[50, 10].tolist() == [45, 45, 45]
    assert found[80, 100].tolist() == [100, 100, 100]
    assert found[3, 100, 0] > 180
    assert np.asarray(overlay(wide, heat))[3, 10, 0] > 180
    stretched = np.asarray(overlay(wide, heat, replace(predictor.preprocessing, fit="stretch")))
    assert stretched[3, 10, 0] > 180
    assert stretched[80, 10].tolist() == [100, 100, 100]  # nothing is unseen
