"""What a user drops and chooses: kept in the project, fixed once used, and obeyed by training and by the file that goes out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engine import workspace
from engine.data import projects
from engine.errors import StudioError
from engine.models.own_onnx import dropped, jobs
from engine.models.own_onnx.dropped import Choices
from engine.models.own_onnx.library import load_backbone
from engine.models.own_onnx.start import settings_of, try_choices
from engine.models.own_onnx.write import write
from tests.engine.models.own_onnx import networks


def _upload(*files: Path) -> Path:
    """What the upload route leaves: a file, or a folder of several."""
    folder = workspace.uploads() / os.urandom(16).hex()
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / files[0].name if len(files) == 1 else folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return networks.export(networks.Cnn(), tmp_path_factory.mktemp("own") / "cnn.onnx", 32)


@pytest.fixture
def kept(home: Path, plain: Path) -> dropped.Dropped:
    return dropped.keep(projects.create("Own").id, _upload(plain))[0]


def test_a_drop_moves_into_the_project_and_outlives_the_uploads(home: Path, plain: Path) -> None:
    project, upload = projects.create("Own"), _upload(plain)
    one = dropped.keep(project.id, upload)[0]
    assert not upload.exists()
    assert one.path.read_bytes() == plain.read_bytes()
    assert one.path.is_relative_to(home / "projects" / project.id)
    assert [found.key for found in dropped.list_dropped(project.id)] == [one.key]
    assert dropped.list_dropped(projects.create("Other").id) == []
    one.remove()
    assert dropped.list_dropped(project.id) == []


def test_external_data_comes_along_and_is_counted(home: Path, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    onnx.save(onnx.load(plain), path, save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    project = projects.create("Own")
    one = dropped.keep(project.id, _upload(path, tmp_path / "big.onnx.data"))[0]
    assert one.bytes == path.stat().st_size + (tmp_path / "big.onnx.data").stat().st_size
    used = one.use(Choices(image_size=32))
    assert settings_of(used)["image_size"] == 32
    assert [file for file in used.parent.iterdir() if file.suffix != ".json"] == [], "the weights lie on the disk twice"


def test_external_data_with_two_names_is_refused_in_a_sentence(home: Path, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    onnx.save(onnx.load(plain), path, save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    os.link(tmp_path / "big.onnx.data", tmp_path / "again")
    with pytest.raises(StudioError, match="cannot be read"):
        settings_of(path)


def test_without_an_onnx_file_nothing_is_kept(home: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    project = projects.create("Own")
    with pytest.raises(StudioError, match="no .onnx file"):
        dropped.keep(project.id, _upload(tmp_path / "weights.bin"))
    assert dropped.list_dropped(project.id) == []


def test_choices_are_fixed_once_used(kept: dropped.Dropped) -> None:
    first = kept.use(Choices(mean=(0.5,) * 3, std=(0.25,) * 3))
    again, other = kept.use(Choices(mean=(0.5,) * 3, std=(0.25,) * 3)), kept.use(Choices())
    assert first == again != other
    assert settings_of(first)["mean"] == (0.5, 0.5, 0.5)
    assert settings_of(first)["std"] == (0.25, 0.25, 0.25)
    assert settings_of(other)["mean"] == (0.485, 0.456, 0.406)
    assert kept.owns(str(first))
    assert kept.owns(str(other))
    kept.remove()
    assert not kept.path.exists()
    assert settings_of(first)["mean"] == (0.5, 0.5, 0.5), "a run that used it could not be repeated"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"mean": [0.5, 0.5], "std": [1, 1]}, "three numbers"),
        ({"mean": [0.5] * 3, "std": [1, 0, 1]}, "larger than 0"),
        ({"mean": [float("nan")] * 3, "std": [1] * 3}, "three numbers"),
        ({"image_size": 100000}, "cannot be"),
        ({"layout": "NWHC"}, "no layout"),
        ({"colours": "cmyk"}, "no layout"),
        ({"mean": "abc"}, "cannot be read"),
    ],
)
def test_choices_that_cannot_be_are_refused(row: dict, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        Choices.from_json(row)


def test_a_damaged_sidecar_is_a_sentence(kept: dropped.Dropped) -> None:
    used = kept.use(Choices())
    used.with_name(f"{used.name}.choices.json").write_text("{")
    with pytest.raises(StudioError, match="cannot be read"):
        settings_of(used)
    used.with_name(f"{used.name}.choices.json").write_text('{"file": "../../../secret.onnx"}')
    with pytest.raises(StudioError, match="outside their own folder"):
        settings_of(used)


def test_a_draft_and_an_xray_survive(kept: dropped.Dropped) -> None:
    assert kept.xray() is None
    assert kept.draft() == Choices()
    found = jobs.run_xray({"path": str(kept.path)}, lambda _event: None, lambda: False)
    assert found is not None
    kept.keep_xray(found)
    kept.keep_draft(Choices(cut="here", colours="bgr"))
    same = dropped.Dropped(kept.folder, kept.path)
    assert same.xray() == found
    assert same.draft() == Choices(cut="here", colours="bgr")


def test_a_chosen_cut_is_tried(kept: dropped.Dropped) -> None:
    graph = onnx.load(kept.path).graph
    relu = next(node for node in reversed(graph.node) if node.op_type == "Relu" and "head" not in node.name).output[0]
    tried = jobs.run_xray({"path": str(kept.path), "choices": {"cut": relu}}, lambda _event: None, lambda: False)
    assert tried is not None
    assert tried["cut"]["value"] == relu
    assert tried["features"] == 16
    used = kept.use(Choices(cut=relu))
    assert settings_of(used)["backbone"] != settings_of(kept.path)["backbone"]
    with pytest.raises(StudioError, match="no node or value 'nowhere'"):
        try_choices(kept.path, Choices(cut="nowhere"))


def test_a_size_the_network_cannot_take_is_refused(home: Path, tmp_path: Path) -> None:
    flat = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Flatten(), torch.nn.Linear(4 * 16 * 16, 10), torch.nn.ReLU(), torch.nn.Linear(10, 5))
    path = networks.export(flat, tmp_path / "flat.onnx", 32)
    with pytest.raises(StudioError, match="takes pictures of 32 x 32 px only"):
        try_choices(path, Choices(image_size=48))


def test_blue_first_reaches_the_network_and_the_file_that_goes_out(kept: dropped.Dropped) -> None:
    rgb, bgr = settings_of(kept.path), settings_of(kept.use(Choices(colours="bgr")))
    assert rgb["backbone"] != bgr["backbone"]
    images = torch.rand(2, 3, 32, 32)
    one, other = load_backbone(rgb["backbone"]).eval(), load_backbone(bgr["backbone"]).eval()
    with torch.no_grad():
        torch.testing.assert_close(one(images.flip(1)), other(images))
        assert not torch.allclose(one(images), other(images))
    head = torch.nn.Linear(other.num_features, 4)
    model = write(other, head, bgr["mean"], bgr["std"], 32)
    pixels = (images * 255).round()
    mean, std = (torch.tensor(bgr[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        ours = torch.softmax(head(other((pixels / 255 - mean) / std)), 1).numpy()
    theirs = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"images": pixels.numpy()})[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_choices_survive_json() -> None:
    choices = Choices("a", 96, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), "NHWC", "bgr")
    assert Choices.from_json(choices.to_json()) == choices
    assert {field.name for field in dataclasses.fields(Choices)} == set(choices.to_json())
