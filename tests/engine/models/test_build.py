"""Networks: built from their description, saved and read back, with the packaged weights where they belong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from skimage import data as photographs

from engine.data import images
from engine.errors import StudioError
from engine.models import build as building
from engine.models import catalogue, weights
from engine.models.build import ModelSpec, build, digest, from_checkpoint, ready, save

SMALL = ModelSpec("mobilenetv3_small_050", classes=("a", "b", "c"), image_size=32)


@pytest.mark.parametrize("head", ["linear", "mlp", "cosine"])
def test_a_network_survives_the_disk(tmp_path, head):
    spec = replace(SMALL, head=head, classes=("täxi 🚕", "b"))
    network = build(spec, seed=3).eval()
    save(network.state_dict(), spec, tmp_path / "best.safetensors")
    again, read = from_checkpoint(tmp_path / "best.safetensors")
    assert read == spec
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(pictures), again(pictures))
    assert again(pictures).shape == (2, 2)


def test_a_seed_makes_the_weights_and_leaves_torchs_own_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    assert digest(build(SMALL, seed=1)) == digest(build(SMALL, seed=1)) != digest(build(SMALL, seed=2))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_stages_hold_everything_once_in_order_of_depth(name):
    network = build(replace(SMALL, backbone=name, image_size=64))
    stages = network.stages()
    names = [entry for stage in stages for entry in stage]
    assert sorted(names) == sorted(network.backbone.state_dict())
    assert len(stages) > 4
    first = next(iter(dict(network.backbone.named_parameters())))
    assert first in stages[0] or name.startswith("vit")
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":1}'])
def test_a_damaged_model_is_a_sentence(tmp_path, content):
    path = tmp_path / "best.safetensors"
    with pytest.raises(StudioError, match="no trained model"):
        from_checkpoint(path)
    path.write_bytes(content)
    with pytest.raises(StudioError, match="damaged"):
        from_checkpoint(path)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(StudioError, match="do not fit"):
        building._load_backbone(build(SMALL).backbone, building.read_weights(path), path.name)


def test_an_unknown_backbone_is_a_sentence():
    with pytest.raises(StudioError, match="no backbone 'resnet18x'"):
        build(replace(SMALL, backbone="resnet18x"))


def test_the_packaged_classifier_knows_a_cup_of_coffee(home):
    path = weights.find("efficientnet_lite0")
    assert path is not None
    row = catalogue.backbone("efficientnet_lite0")
    names = catalogue.optimized("image-classification")[0].class_names()
    spec = ModelSpec(row.name, classes=names, image_size=224, mean=row.mean, std=row.std, interpolation=row.interpolation, crop_share=row.crop_share)
    network = ready(spec, path)
    view = images.for_model(Image.fromarray(photographs.coffee()), {"image_size": 224, "crop_share": row.crop_share, "interpolation": row.interpolation})
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) * 255 for part in (row.mean, row.std))
    with torch.no_grad():
        answer = network((torch.from_numpy(view.copy()).permute(2, 0, 1)[None].float() - mean) / std).softmax(1)[0].numpy()
    assert "espresso" in names[int(np.argmax(answer))]
    assert answer.max() > 0.5
    pretrained = build(replace(spec, classes=("a", "b")), pretrained=True)
    assert digest(pretrained.backbone) == digest(network.backbone)
