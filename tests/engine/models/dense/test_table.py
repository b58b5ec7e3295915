"""The table of architectures: what it offers, what it refuses and why, and how it ranks. No torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.errors import StudioError
from engine.models import catalogue, dense
from engine.models.dense import table


def test_every_task_has_its_architectures() -> None:
    by_task = {task: {row.name for row in dense.ARCHITECTURES.values() if row.task == task} for task in {row.task for row in dense.ARCHITECTURES.values()}}
    assert by_task == {
        "object-detection": {"fcos", "retinanet", "ssd", "yolov3", "faster_rcnn", "rtdetr_v2", "dfine", "deformable_detr"},
        "semantic-segmentation": {"unet", "fpn", "deeplabv3", "fcn", "lraspp", "segformer", "upernet", "mask2former_semantic"},
        "instance-segmentation": {"mask_rcnn", "mask2former"},
    }


@pytest.mark.parametrize("row", dense.ARCHITECTURES.values(), ids=lambda row: row.name)
def test_a_row_says_all_a_user_needs(row: dense.Architecture) -> None:
    assert row.code in ("torchvision", "transformers", "Graft")
    assert "arxiv.org/abs/" in row.method
    assert row.words.endswith(".")
    assert all(1 <= row.traits[trait] <= 5 for trait in dense.TRAITS)
    assert not set(row.strides) & set(row.wanted)
    assert all(option.words and len(set(option.choices)) == len(option.choices) for option in row.options.values())


def test_the_packaged_backbones_take_every_architecture() -> None:
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        assert [row.name for row in dense.ARCHITECTURES.values() if row.takes(catalogue.backbone(name))] == []


@pytest.mark.parametrize(
    ("architecture", "backbone", "reason"),
    [
        ("fcos", "vit_small_patch14_dinov2", "patches of 14 px, which do not line up"),
        ("unet", "vit_small_patch32_224", "patches of 32 px, too coarse"),
        ("fcos", "levit_128", "needs maps at 1/8 of the picture's size; LeViT 128 gives 1/16, 1/32, 1/64"),
        ("unet", "nest_tiny", "none at 1/32"),
    ],
)
def test_a_refusal_says_why(architecture: str, backbone: str, reason: str) -> None:
    assert reason in (dense.architecture(architecture).takes(catalogue.backbone(backbone)) or "")


def test_every_backbone_of_the_catalogue_was_tried() -> None:
    untried = [row.name for row in catalogue.backbones() if "not been tried" in dense.pyramid(row.name).reason]
    assert untried == []


def test_most_of_the_catalogue_can_be_chosen() -> None:
    fitting = [row.name for row in catalogue.backbones() if dense.architecture("fcos").takes(row) is None]
    assert len(fitting) > 1100


def test_ranking_follows_what_matters() -> None:
    assert dense.rank("object-detection", ["edge", "speed"])[0].name == "ssd"
    assert dense.rank("object-detection", ["accuracy"])[0].name in ("rtdetr_v2", "dfine")
    assert dense.rank("semantic-segmentation", ["small_objects"])[0].name == "unet"
    assert dense.rank("instance-segmentation")[0].name == "mask_rcnn"


def test_an_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(StudioError, match="no architecture 'faster-rcnn'.*faster_rcnn"):
        dense.architecture("faster-rcnn")


def test_options_take_their_defaults_and_refuse_others() -> None:
    fcos = dense.architecture("fcos")
    assert fcos.chosen({"width": 256}) == {"width": 256, "convs": 2, "light": False}
    with pytest.raises(StudioError, match="FCOS has no option 'depth'"):
        fcos.chosen({"depth": 3})
    with pytest.raises(StudioError, match="'width' cannot be 100"):
        fcos.chosen({"width": 100})


def test_a_plain_vision_transformer_takes_every_head() -> None:
    row = catalogue.backbone("vit_tiny_patch16_224")
    assert dense.pyramid(row.name).single
    assert [one.name for one in dense.ARCHITECTURES.values() if one.takes(row)] == []


def test_a_backbone_that_nobody_tried_is_refused_in_words() -> None:
    assert table.refusal(dense.architecture("fcos"), table.pyramid("no_such_backbone"), "It") == "It has not been tried as the source of feature maps"


def test_it_imports_no_torch() -> None:
    code = "import sys, engine.models.dense as d; d.rank('object-detection'); assert not {'torch', 'timm', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
