"""The catalogue: what its files say, what is found, how a starting point is written."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from engine import runs, workspace
from engine.errors import StudioError
from engine.models import catalogue
from engine.recipe import Recipe

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("home")


def test_the_default_recipe_starts_from_packaged_weights() -> None:
    start = catalogue.resolve(Recipe().start)
    assert (start.door, start.backbone) == ("general", "efficientnet_lite0")
    row = catalogue.backbone(start.backbone)
    assert row.weights == "packaged"
    assert row.architecture == "tf_efficientnet_lite0"
    assert row.image_size == 224
    assert row.features == 1280
    assert row.accuracy == 75.1
    assert row.licence == "apache-2.0"
    assert row.mean == pytest.approx((127 / 255,) * 3, abs=1e-6)
    assert row.std == pytest.approx((128 / 255,) * 3, abs=1e-6)


def test_every_row_is_sound() -> None:
    rows = catalogue.backbones()
    assert len(rows) > 1300
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.features > 0, row.name
        assert row.params_m > 0, row.name
        assert 0 < row.crop_share <= 1, row.name
        assert row.image_size >= 32, row.name
        assert all(0 <= value <= 1 for value in row.mean), row.name
        assert all(0 < value <= 1 for value in row.std), row.name
        assert row.interpolation in ("bicubic", "bilinear"), row.name
        assert row.title, row.name
        assert (row.accuracy is None) == (row.accuracy_source == ""), row.name
        assert row.licence or row.weights == "absent", f"{row.name} has weights of an unstated licence"


def test_no_accuracy_without_a_link_to_who_states_it() -> None:
    stated = [row for row in catalogue.backbones() if row.accuracy is not None]
    assert len(stated) >= 40
    for row in stated:
        assert row.accuracy_source.startswith("https://github.com/"), row.name
        assert row.accuracy is not None
        assert 50 < row.accuracy < 95, row.name


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("", "efficientnet_lite0"),
        ("resnet18", "resnet18"),
        ("ResNet-18", "resnet18"),
        ("resnet 18", "resnet18"),
        ("lite2", "efficientnet_lite2"),
        ("EfficientNet", "efficientnet_lite0"),
        ("dinov2 small", "vit_small_patch14_dinov2"),
        ("torchvision recipe resnet50", "resnet50.tv2_in1k"),
    ],
)
def test_search(query: str, first: str) -> None:
    assert catalogue.backbones(query)[0].name == first


def test_search_narrows() -> None:
    assert catalogue.backbones("no such thing at all") == []
    vgg = catalogue.backbones(family="vgg")
    assert {row.family for row in vgg} == {"vgg"}
    assert [row.name for row in catalogue.backbones(weights="packaged")] == ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
    assert catalogue.backbones("vgg", weights="packaged") == []


def test_families_cover_every_backbone() -> None:
    found = catalogue.families()
    assert sum(count for _, _, count in found) == len(catalogue.backbones())
    assert {family: title for family, title, _ in found}["resnet"] == "ResNet, ResNeXt"


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("tf_efficientnet_lite0", "efficientnet_lite0"),
        ("tf_efficientnet_lite2.in1k", "efficientnet_lite2"),
        ("resnet18.a1_in1k", "resnet18"),
        ("resnet18.tv_in1k", "resnet18.tv_in1k"),
    ],
)
def test_other_names_resolve(alias: str, name: str) -> None:
    assert catalogue.backbone(alias).name == name


@pytest.mark.parametrize(
    ("start", "door", "key", "head", "backbone"),
    [
        ("efficientnet_lite0", "general", "linear/efficientnet_lite0", "linear", "efficientnet_lite0"),
        (" mlp/tf_efficientnet_lite1 ", "general", "mlp/efficientnet_lite1", "mlp", "efficientnet_lite1"),
        ("cosine/resnet18.tv_in1k", "general", "cosine/resnet18.tv_in1k", "cosine", "resnet18.tv_in1k"),
        ("ready/imagenet_lite2", "optimized", "ready/imagenet_lite2", "linear", "efficientnet_lite2"),
        ("models/mine.ONNX", "onnx", "models/mine.ONNX", "", ""),
    ],
)
def test_resolve(start: str, door: str, key: str, head: str, backbone: str) -> None:
    found = catalogue.resolve(start)
    assert (found.door, found.key, found.head, found.backbone) == (door, key, head, backbone)
    assert found.title
    assert found.origin
    assert catalogue.resolve(found.key) == found


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("efficientnet_light0", "Did you mean 'efficientnet_lite0'"),
        ("linear/resnet-18", "Did you mean 'resnet18'"),
        ("liner/resnet18", "Use one of linear, mlp, cosine"),
        ("ready/imagenet_lite", "'ready/imagenet_lite0'"),
        ("zzzzqqqq", "python -m engine starts"),
        ("", "there is no backbone ''"),
        ("run:gone", "there is no run 'gone'"),
        ("run:../../etc", "there is no run"),
    ],
)
def test_unknown_starts_name_the_nearest(start: str, words: str) -> None:
    with pytest.raises(StudioError) as caught:
        catalogue.resolve(start)
    assert words in str(caught.value)


def test_a_run_is_a_starting_point_and_remembers_its_roots() -> None:
    first = runs.create_run("p1", Recipe(start="mlp/efficientnet_lite1", name="first"), {})
    second = runs.create_run("p1", Recipe(start=f"run:{first.id}", name="second"), {})
    found = catalogue.resolve(f"run:{second.id}")
    assert (found.door, found.head, found.backbone, found.run_id, found.licence) == ("run", "mlp", "efficientnet_lite1", second.id, "apache-2.0")
    assert "second" in found.origin
    assert "EfficientNet Lite1" in found.origin
    runs.delete(first)
    orphan = catalogue.resolve(f"run:{second.id}")
    assert (orphan.door, orphan.run_id, orphan.backbone) == ("run", second.id, "")


def test_ready_models_have_names_for_all_their_classes() -> None:
    found = catalogue.optimized("image-classification")
    assert len(found) >= 3
    assert catalogue.optimized("no-such-task") == []
    for entry in found:
        names = entry.class_names()
        assert len(set(names)) == len(names) == entry.classes_count
        row = catalogue.backbone(entry.backbone)
        assert row.classes == entry.classes_count
        assert (entry.accuracy, entry.accuracy_source, entry.licence) == (row.accuracy, row.accuracy_source, row.licence)
    assert found[0].class_names()[967] == "espresso"


def test_measured_speed(home: Path) -> None:
    assert catalogue.measured_speed("resnet18") is None
    workspace.write_json(home / "cache" / "estimates" / "speed-efficientnet_lite0.json", {"images_per_s": 41.5})
    assert catalogue.measured_speed("tf_efficientnet_lite0") == 41.5


def test_the_file_has_the_columns_that_are_read() -> None:
    with (ROOT / "assets/catalog/backbones.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names == sorted(names)


def test_it_loads_in_a_blink_and_without_torch() -> None:
    code = (
        "import sys, time; import engine.runs; t = time.process_time();"
        "from engine.models import catalogue; catalogue.backbones(); s = time.process_time() - t;"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules); print(s)"
    )
    seconds = min(float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout) for _ in range(3))
    assert seconds < 0.15  # 0.03 on an idle machine
