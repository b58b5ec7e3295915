"""Networks for detection and segmentation: weights, phases, sizes, and what is refused."""

from __future__ import annotations

import copy

import onnxruntime
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from benchmarks.cells import compare, scenes, train
from engine.errors import StudioError
from engine.models import dense, weights
from engine.models.build import read_weights
from engine.models.dense.onnx_form import to_onnx

SMALL = 64
every_architecture = pytest.mark.parametrize("name", list(dense.ARCHITECTURES))


def test_the_packaged_weights_are_the_ones_in_the_maps() -> None:
    """The coarsest map is what the whole packaged network computes just before its last convolution."""
    network = dense.build("fcos", "efficientnet_lite0", 2, 96, pretrained=True).eval()
    path = weights.find("efficientnet_lite0")
    assert path is not None
    whole = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    whole.load_state_dict(dict(zip(whole.state_dict(), read_weights(path).values(), strict=False)))
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        x = whole.eval().blocks(whole.bn1(whole.conv_stem(images)))
        assert torch.equal(network.features(images)[-1], x)
    assert network.backbone.strides == (8, 16, 32)


def test_pretrained_statistics_stay_while_training_and_random_ones_do_not() -> None:
    images, targets = scenes("object-detection", 96)
    for pretrained in (True, False):
        network = dense.build("fcos", "efficientnet_lite0", 3, 96, pretrained=pretrained)
        before = {name: value.clone() for name, value in network.backbone.state_dict().items() if "running" in name}
        train(network, images, targets, steps=1)
        after = network.backbone.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items()) == pretrained


@pytest.mark.parametrize("name", ["fcos", "faster_rcnn", "rtdetr_v2", "unet", "mask2former"])
def test_cached_maps_give_the_same_loss_and_answer(name: str) -> None:
    network = dense.build(name, "resnet10t", 3, 96)
    images, targets = scenes(network.task, 96)
    for mode in (True, False):
        network.train(mode)
        network.backbone.eval()
        cached = tuple(one.detach() for one in network.features(images))
        losses = []
        for maps in (network.features(images), cached):
            torch.manual_seed(0)
            losses.append({key: float(value.detach()) for key, value in network.loss(network.head(maps), targets).items()})
        assert losses[0] == losses[1]
    with torch.no_grad():
        whole, parts = network.decode(network(images)), network.decode(network.head(cached))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@every_architecture
def test_a_network_is_saved_and_read_back(name: str) -> None:
    """Also where transformers ties weights: safetensors takes no shared memory, and a copy must stay whole."""
    network = dense.build(name, "resnet10t", 3, SMALL).eval()
    content = safetensors.torch.save({key: value.contiguous() for key, value in network.state_dict().items()})
    again = dense.build(name, "resnet10t", 3, SMALL, seed=1).eval()
    again.load_state_dict(safetensors.torch.load(content))
    images, _ = scenes(network.task, SMALL)
    with torch.no_grad():
        answers = [one.decode(one(images)) for one in (network, again, copy.deepcopy(network))]
    assert all(torch.equal(answers[0][key], other[key]) for other in answers[1:] for key in other)


@every_architecture
def test_pictures_without_anything_train(name: str) -> None:
    network = dense.build(name, "resnet10t", 3, SMALL).train()
    images = torch.randn(1, 3, SMALL, SMALL)  # a batch of one as well
    nothing = {"boxes_N4": torch.zeros(0, 4), "labels_N": torch.zeros(0, dtype=torch.int64), "masks_NHW": torch.zeros(0, SMALL, SMALL, dtype=torch.bool)}
    targets = torch.full((1, SMALL, SMALL), 255) if network.task == "semantic-segmentation" else [nothing]
    loss = sum(network.loss(network(images), targets).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(part.grad).all() for part in network.parameters() if part.grad is not None)


@every_architecture
def test_half_precision_and_channels_last_train(name: str) -> None:
    """What the dry run tries: bfloat16 with the channels last."""
    network = dense.build(name, "resnet10t", 3, SMALL).to(memory_format=torch.channels_last)
    images, targets = scenes(network.task, SMALL)
    images = images.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(network.train().loss(network(images), targets).values())
    loss.backward()
    assert torch.isfinite(loss)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        network.eval()
        found = network.decode(network(images))
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("name", [row.name for row in dense.ARCHITECTURES.values() if row.free_size])
def test_a_file_takes_pictures_of_other_sizes(name: str) -> None:
    network = dense.build(name, "resnet10t", 3, 96)
    images, targets = scenes(network.task, 96)
    train(network, images, targets)
    module = dense.for_export(network.eval())
    session = onnxruntime.InferenceSession(to_onnx(module, images[:1], dynamic_size=True).SerializeToString(), providers=["CPUExecutionProvider"])
    other = scenes(network.task, 160, seed=1)[0][:, :, :128]
    with torch.no_grad():
        expected = [part.numpy() for part in module(other)]
    assert compare(network.task, expected, session.run(None, {"images": other.numpy()}))["passed"]


@pytest.mark.parametrize("name", ["fcos", "ssd", "rtdetr_v2", "unet", "mask2former"])
def test_other_sizes_work_too(name: str) -> None:
    network = dense.build(name, "resnet10t", 3, 96).eval()
    with torch.no_grad():
        found = network.decode(network(torch.randn(2, 3, 128, 160)), 20)
    if "detections_BD6" in found:
        assert found["detections_BD6"].shape == (2, 20, 6)
        assert found["detections_BD6"][..., 2].max() <= 160
    else:
        assert found["logits_BKHW"].shape == (2, 4, 128, 160)
    if "masks_BDHW" in found:
        assert found["masks_BDHW"].shape == (2, 20, 128, 160)


def test_the_same_seed_gives_the_same_network() -> None:
    first, second, third = (dense.build("fcos", "resnet10t", 3, 96, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


def test_stages_cover_the_backbone_once() -> None:
    network = dense.build("fcos", "efficientnet_lite0", 3, 96)
    names = [name for stage in network.stages() for name in stage]
    assert sorted(names) == sorted(network.backbone.state_dict())
    assert "conv_stem" in network.stages()[0][0]


def test_denser_maps_where_the_backbone_can() -> None:
    assert dense.build("deeplabv3", "resnet10t", 3, 96).backbone.strides == (16,)
    assert dense.build("deeplabv3", "resnet10t", 3, 96, {"output_stride": 32}).backbone.strides == (32,)


@pytest.mark.parametrize("backbone", ["ghostnet_050", "dla46x_c"])
def test_a_family_that_cannot_be_dilated_keeps_its_stride(backbone: str) -> None:
    assert dense.build("deeplabv3", backbone, 3, 128).backbone.strides == (32,)
    assert dense.build("deeplabv3", "repvit_m0_9", 3, 96).backbone.strides == (32,)  # knows no dilation: it gives what it has


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(StudioError, match="patches of 14 px.*Choose another backbone"):
        dense.build("fcos", "vit_small_patch14_dinov2", 3, 224)
    with pytest.raises(StudioError, match="pictures of 100 x 100 px do not fit: sides must be multiples of 32. Use 96 x 96"):
        dense.build("fcos", "resnet10t", 3, 100)


def test_a_plain_transformer_gets_the_other_sizes_made() -> None:
    network = dense.build("fcos", "vit_tiny_patch16_224", 3, 96)
    assert network.backbone.strides == (16,)
    assert len(network.features(torch.zeros(1, 3, 96, 96))) == 1
    assert network.head.head.pyramid.strides[:3] == (8, 16, 32)


class Own(nn.Module):
    """A backbone of the user's own."""

    def __init__(self, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides, self.channels = strides, tuple(4 * stride for stride in strides)
        self.layers = nn.ModuleList(nn.Conv2d(3, width, stride, stride) for stride, width in zip(strides, self.channels, strict=True))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(images) for layer in self.layers)


def test_a_module_of_ones_own_takes_these_heads() -> None:
    network = dense.build("fcos", Own((4, 8, 16, 32)), 3, 96)
    assert network.backbone.strides == (8, 16, 32)  # of what it gives, what the head reads
    images, targets = scenes("object-detection", 96)
    losses = train(network, images, targets)
    assert losses[-1] < losses[0]
    with pytest.raises(StudioError, match="This network gives 1/16, 1/32"):
        dense.build("fcos", Own((16, 32)), 3, 96)
