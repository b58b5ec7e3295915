"""A user's own ONNX file as the backbone of detectors and segmenters."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from benchmarks.cells import parity, scenes, train
from engine.errors import StudioError
from engine.models import dense
from engine.models.own_onnx.library import import_file, reference

SIZE = 96


@pytest.fixture
def imported(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Export a classifier, import the file, and return the name its backbone goes by."""
    torch.manual_seed(0)
    if request.param == "coarse":  # nothing finer than 1/32
        network: nn.Module = nn.Sequential(nn.Conv2d(3, 16, 32, 32), nn.ReLU(), nn.Conv2d(16, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
    else:
        network = timm.create_model(request.param, num_classes=5, **({"img_size": SIZE} if request.param.startswith("vit") else {})).eval()
    content = io.BytesIO()
    torch.onnx.export(network, (torch.zeros(1, 3, SIZE, SIZE),), content, dynamo=False, opset_version=17)
    path = tmp_path / "own.onnx"
    path.write_bytes(content.getvalue())
    found = import_file(path)
    return reference(found, found.cut())


@pytest.mark.parametrize("imported", ["resnet10t"], indirect=True)
@pytest.mark.parametrize("architecture", ["fcos", "unet", "mask_rcnn", "deeplabv3"])
def test_it_trains_and_goes_out_whole(imported: str, architecture: str) -> None:
    network = dense.build(architecture, imported, 3, SIZE)
    images, targets = scenes(network.task, SIZE)
    losses = train(network, images, targets)
    assert min(losses[1:]) < losses[0]
    assert parity(network, images)["passed"]
    assert sorted(name for stage in network.stages() for name in stage) == sorted(network.backbone.state_dict())


@pytest.mark.parametrize("imported", ["vit_tiny_patch16_224"], indirect=True)
def test_a_transformer_gets_the_other_sizes_made(imported: str) -> None:
    network = dense.build("fcos", imported, 3, SIZE)
    assert list(network.backbone.strides) == [16]
    images, targets = scenes(network.task, SIZE)
    assert train(network, images, targets)[-1] < 2.5


@pytest.mark.parametrize("imported", ["coarse"], indirect=True)
def test_one_without_the_maps_is_refused_in_words(imported: str) -> None:
    with pytest.raises(StudioError, match="FCOS needs maps at 1/8.*This network gives 1/32"):
        dense.build("fcos", imported, 3, SIZE)
