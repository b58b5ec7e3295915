"""The cut is found by structure; what cannot be cut is refused with a sentence."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.errors import StudioError
from engine.models.own_onnx.library import Imported, import_file, load_backbone, reference
from engine.models.own_onnx.xray import xray_of

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_spec)
sys.modules["networks"] = networks
_spec.loader.exec_module(networks)


class Squeeze(nn.Module):
    """The scores come from a convolution, averaged over the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scores = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU()), nn.Conv2d(12, 7, 1)

    def forward(self, images):
        return torch.relu(self.scores(self.body(images))).mean((2, 3))


class Dense(nn.Module):
    """A map of scores as large as the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scores = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 1, 1), nn.ReLU()), nn.Conv2d(16, 5, 1)

    def forward(self, images):
        return nn.functional.interpolate(self.scores(self.body(images)), scale_factor=2.0, mode="bilinear", align_corners=False)


class Detector(nn.Module):
    """Boxes and scores from one map."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes, self.scores = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU()), nn.Conv2d(12, 4, 1), nn.Conv2d(12, 6, 1)

    def forward(self, images):
        features = self.body(images)
        return self.boxes(features).flatten(2).transpose(1, 2), self.scores(features).flatten(2).transpose(1, 2)


class Embedding(nn.Module):
    """No head at all: a unit vector."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images):
        return nn.functional.normalize(self.body(images))


def imported(module: nn.Module, folder: Path) -> Imported:
    torch.manual_seed(0)
    with torch.no_grad():
        torch.onnx.export(module.eval(), (torch.randn(1, 3, 32, 32),), folder / "model.onnx", dynamo=False, opset_version=17)
    return import_file(folder / "model.onnx")


@pytest.mark.parametrize(
    ("module", "made_for", "features", "pool", "words"),
    [
        (networks.Cnn, "classification", 12, "none", "last fully connected layer"),
        (Squeeze, "classification", 12, "map", "last convolution"),
        (Dense, "segmentation", 16, "map", "last convolution"),
        (Detector, "detection", 12, "map", "share"),
        (Embedding, "features", 12, "none", "no head"),
    ],
)
def test_the_cut_is_found_and_said_why(module, made_for, features, pool, words, tmp_path: Path, home: Path) -> None:
    found = imported(module(), tmp_path)
    cut = found.about["cut"]
    assert (found.about["made_for"], cut["features"], cut["pool"]) == (made_for, features, pool)
    assert words in cut["reason"]
    assert load_backbone(reference(found, found.cut()))(torch.rand(3, 3, 32, 32)).shape == (3, features)


def test_any_other_cut_works_or_is_refused_with_a_sentence(tmp_path: Path, home: Path) -> None:
    found = imported(networks.Cnn(), tmp_path)
    worked = refused = 0
    for node in xray_of(found)["graph"]["nodes"]:
        try:
            cut = found.cut(node["value"])
        except StudioError:
            refused += 1
            continue
        assert load_backbone(reference(found, cut))(torch.rand(2, 3, 32, 32)).shape == (2, cut.features)
        worked += 1
    assert worked >= 5
    assert worked + refused == len(xray_of(found)["graph"]["nodes"])
    with pytest.raises(StudioError, match="there is no node or value 'nowhere'"):
        found.cut("nowhere")


def test_the_x_ray_draws_every_node_in_a_block(tmp_path: Path, home: Path) -> None:
    graph = xray_of(imported(networks.Cnn(), tmp_path))["graph"]
    ids = {node["id"] for node in graph["nodes"]}
    assert graph["complete"]
    assert all(a in ids and b in ids for a, b in graph["edges"])
    assert {node["block"] for node in graph["nodes"]} <= {block["name"] for block in graph["blocks"]}
