"""Imported networks give feature maps at several strides, learn through them, and go out with a dense head as one ONNX file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from engine.errors import StudioError
from engine.models.own_onnx.library import Imported, import_file, reference
from engine.models.own_onnx.pyramid import FrozenPyramid, TrainablePyramid, load_pyramid, write_maps

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_spec)
sys.modules["networks"] = networks
_spec.loader.exec_module(networks)


def _torchvision(name: str) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)(weights=None, num_classes=10)


def _swin() -> nn.Module:
    return networks.timm_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=24, depths=(2, 2), num_heads=(2, 4))()


NETWORKS = {
    "torchvision resnet18": (lambda path: networks.export(_torchvision("resnet18"), path, 96), [(4, 64), (8, 128), (16, 256), (32, 512)], "NCHW"),
    "torchvision resnet18, dynamo": (
        lambda path: networks.export(_torchvision("resnet18"), path, 96, dynamo=True, free=True),
        [(4, 64), (8, 128), (16, 256), (32, 512)],
        "NCHW",
    ),
    "torchvision mobilenet_v2": (lambda path: networks.export(_torchvision("mobilenet_v2"), path, 96), [(4, 24), (8, 32), (16, 96), (32, 320)], "NCHW"),
    "timm resnet10t, opset 11": (
        lambda path: networks.export(networks.timm_model("resnet10t")(), path, 96, opset=11),
        [(4, 64), (8, 128), (16, 256), (32, 512)],
        "NCHW",
    ),
    "timm efficientnet_lite0": (
        lambda path: networks.export(networks.timm_model("tf_efficientnet_lite0")(), path, 96),
        [(4, 24), (8, 40), (16, 112), (32, 320)],
        "NCHW",
    ),
    "timm convnext": (
        lambda path: networks.export(networks.timm_model("convnext_atto", depths=(1, 1, 1, 1))(), path, 96),
        [(4, 40), (8, 80), (16, 160), (32, 320)],
        "NCHW",
    ),
    "timm swin": (lambda path: networks.export(_swin(), path), [(4, 24), (8, 48)], "NHWC"),
    "timm vit": (
        lambda path: networks.export(networks.timm_model("vit_tiny_patch16_224", img_size=64, depth=2)(), path),
        [(16, 192)],
        "tokens",
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("pyramids")
    kept: dict[str, Imported] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(folder / "home"))

        def get(name: str) -> Imported:
            if name not in kept:
                path = folder / str(len(kept)) / "model.onnx"
                path.parent.mkdir()
                NETWORKS[name][0](path)
                kept[name] = import_file(path)
            return kept[name]

        yield get


@pytest.mark.parametrize("name", NETWORKS)
def test_levels_are_those_of_the_stages(name: str, made) -> None:
    found = made(name)
    pyramid = load_pyramid(reference(found, found.cut()))
    assert isinstance(pyramid, TrainablePyramid)
    assert list(zip(pyramid.strides, pyramid.channels, strict=True)) == NETWORKS[name][1]
    assert {level.layout for level in pyramid.levels[1:] or pyramid.levels} == {NETWORKS[name][2]}
    nodes = {node.name for node in found.model.graph.node}
    assert all(level.node in nodes for level in pyramid.levels)


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_have_their_places_and_a_gradient_reaches_every_weight(name: str, made) -> None:
    found = made(name)
    size = found.preparation.image_size
    pyramid = load_pyramid(reference(found, found.cut())).train()
    maps = pyramid(torch.randn(3, 3, size, size))
    assert [tuple(item.shape) for item in maps] == [(3, channels, size // stride, size // stride) for stride, channels in NETWORKS[name][1]]
    torch.stack([item.square().mean() for item in maps]).sum().backward()
    assert [key for key, weight in pyramid.named_parameters() if weight.grad is None or not bool(weight.grad.abs().sum() > 0)] == []


@pytest.mark.parametrize("name", ["torchvision resnet18", "timm swin", "timm vit"])
def test_a_place_of_the_map_sees_its_own_part_of_the_picture(name: str, made) -> None:
    """A change in one corner must change that corner's place most: rows and columns are not mixed up."""
    found = made(name)
    size = found.preparation.image_size
    pyramid = load_pyramid(reference(found, found.cut()), strides=(4,) if name != "timm vit" else (16,)).eval()
    plain = torch.zeros(1, 3, size, size)
    changed = plain.clone()
    changed[:, :, : size // 4, -size // 4 :] = 3  # top right
    with torch.no_grad():
        gap = (pyramid(changed)[0] - pyramid(plain)[0]).abs().mean(1)[0]
    rows, columns = gap.shape
    corners = {"top left": gap[0, 0], "top right": gap[0, columns - 1], "bottom left": gap[rows - 1, 0], "bottom right": gap[rows - 1, columns - 1]}
    assert max(corners, key=lambda key: float(corners[key])) == "top right"


class _Dense(nn.Module):
    """A head over all maps: scores of 5 classes at each place, and one number a picture."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.score = nn.ModuleList(nn.Conv2d(count, 5, 1) for count in channels)

    def forward(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        scores = torch.cat([layer(item).flatten(2) for layer, item in zip(self.score, maps, strict=True)], 2)
        return scores.transpose(1, 2), maps[-1].mean((1, 2, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_goes_out_with_a_dense_head(name: str, made) -> None:
    found = made(name)
    size, mean, std = found.preparation.image_size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    pyramid = load_pyramid(reference(found, found.cut())).eval()
    head = _Dense(pyramid.channels).eval()
    model = write_maps(pyramid, head, ["scores", "level"], mean, std, size)
    onnx.checker.check_model(model)
    pixels = torch.rand(3, 3, size, size) * 255
    with torch.no_grad():
        expected = head(pyramid((pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)))
    answer = onnxruntime.InferenceSession(model.SerializeToString()).run(["scores", "level"], {"images": pixels.numpy()})
    for ours, theirs in zip(expected, answer, strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_trained_gives_the_same_maps_from_onnx_runtime(made) -> None:
    found = made("torchvision resnet18")
    name = reference(found, found.cut())
    learning = load_pyramid(name).eval()
    frozen = FrozenPyramid(found.model, learning.levels, learning.port).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        for ours, theirs in zip(learning(images), frozen(images), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-3)


def test_a_cut_further_up_leaves_the_levels_before_it(made) -> None:
    found = made("torchvision resnet18")
    value = load_pyramid(reference(found, found.cut())).levels[2].value
    pyramid = load_pyramid(reference(found, found.cut(value)))
    assert pyramid.strides == [4, 8, 16]


def test_a_network_without_places_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.ReLU(), nn.Linear(16, 4))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layers(images)

    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    found = import_file(networks.export(Flat(), tmp_path / "flat.onnx", 32))
    with pytest.raises(StudioError, match="no map of the picture"):
        load_pyramid(reference(found, found.cut()))
