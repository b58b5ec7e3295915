"""Networks whose numbers lie beside the graph, as past protobuf's 2 GB: the same path with the threshold lowered to a megabyte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from benchmarks import onnx_large
from engine import workspace
from engine.errors import StudioError
from engine.export.onnx_file import export_onnx
from engine.models.build import ModelSpec, build
from engine.models.own_onnx import stored
from engine.models.own_onnx.beside import data_path, file_bytes
from engine.models.own_onnx.library import import_file, load_backbone, reference
from engine.models.own_onnx.limits import MOST
from engine.models.own_onnx.start import settings_of
from engine.models.own_onnx.stored import array_of


@pytest.fixture(autouse=True)
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOST, "whole_bytes", 1 << 20)


@pytest.fixture
def large(tmp_path: Path, home: Path) -> Path:
    (tmp_path / "upload").mkdir()
    return onnx_large.make(tmp_path / "upload" / "large.onnx", 0.006, 512)


def _halved(path: Path) -> Path:
    model = onnx.load(path)
    for item in model.graph.initializer:
        item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), item.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    data_path(path).unlink()
    onnx.save(model, path, save_as_external_data=True, location=data_path(path).name)
    return path


def test_tensors_stay_out_of_the_graph_and_nothing_is_left_behind(large: Path, home: Path) -> None:
    found = import_file(large)
    assert found.about["trainable"], found.about["why"]
    assert found.about["parity"]["file"]["random"]["max_rel"] <= 1e-5
    assert found.about["bytes"] == large.stat().st_size + data_path(large).stat().st_size
    graph = found.folder / "model.onnx"
    assert graph.stat().st_size < 100_000 < 5_000_000 < data_path(graph).stat().st_size
    assert [folder.name for folder in (home / "models").iterdir() if folder.is_dir()] == [found.id]
    assert all(stored.is_apart(item) for item in found.model.graph.initializer if item.name.endswith("weight") and "layers" in item.name)


def test_half_precision_is_raised_beside_the_graph(large: Path) -> None:
    found = import_file(_halved(large))
    assert found.about["trainable"], found.about["why"]
    kinds = {item.data_type for item in found.model.graph.initializer}
    assert TensorProto.FLOAT16 not in kinds
    assert found.about["parity"]["max_rel"] < 5e-3


def test_one_that_cannot_be_trained_runs_frozen(large: Path) -> None:
    model = onnx.load(large, load_external_data=False)
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["flat", "layers.0.weight", "layers.0.bias"], ["inner"], transB=1)],
        "inside",
        [],
        [onnx.helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    other = onnx.GraphProto.FromString(body.SerializeToString())
    place = next(index for index, node in enumerate(model.graph.node) if node.name == "/layers.0/Gemm")
    model.graph.node[place].CopyFrom(onnx.helper.make_node("If", ["always"], ["g0"], "/layers.0/If", then_branch=body, else_branch=other))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    large.write_bytes(model.SerializeToString())
    found = import_file(large)
    assert not found.about["trainable"]
    backbone = load_backbone(reference(found, found.cut()))
    images = torch.rand(3, 3, 64, 64)
    again = onnx.load(large)
    again.graph.output[0].name = found.cut().value
    theirs = np.concatenate([onnxruntime.InferenceSession(again.SerializeToString()).run(None, {"images": images[i : i + 1].numpy()})[0] for i in range(3)])
    np.testing.assert_allclose(backbone(images).numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_a_step_of_training_and_the_file_with_its_weights_beside_it(large: Path, tmp_path: Path) -> None:
    spec = ModelSpec(head="linear", classes=("a", "b"), task="image-classification", **settings_of(large))
    network = build(spec, seed=0)
    before = data_path(import_file(large).folder / "model.onnx").read_bytes()
    images, labels = torch.randn(4, 3, 64, 64), torch.arange(4) % 2
    stepper = torch.optim.SGD(network.parameters(), lr=1e-2)
    first = nn.functional.cross_entropy(network(images), labels)
    first.backward()
    stepper.step()
    assert nn.functional.cross_entropy(network(images), labels) < first
    assert data_path(import_file(large).folder / "model.onnx").read_bytes() == before  # mapped weights learn in memory alone
    out, views = tmp_path / "run" / "model.onnx", np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    parity = export_onnx(network, spec, out, origin={}, pictures=views)
    assert parity["passed"]
    assert parity["bytes"] == file_bytes(out) > 5_000_000 > out.stat().st_size
    assert sorted(file.name for file in out.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    pixels = np.ascontiguousarray(views.transpose(0, 3, 1, 2)).astype(np.float32)
    mean, std = (torch.tensor(row).view(1, 3, 1, 1) * 255 for row in (spec.mean, spec.std))
    with torch.no_grad():
        expected = network.eval()((torch.from_numpy(pixels) - mean) / std).softmax(1).numpy()
    for path in (out, _copied(out, tmp_path)):
        onnx.checker.check_model(str(path), full_check=True)
        answer = onnxruntime.InferenceSession(str(path)).run(None, {"images": pixels})[0]
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def _copied(out: Path, folder: Path) -> Path:
    """Taken away under another name, the file it was copied from gone."""
    target = folder / "away" / "mine.onnx"
    target.parent.mkdir()
    stored.copy_file(out, target)
    hidden = out.parent.rename(folder / "hidden")
    del hidden
    answer = onnxruntime.InferenceSession(str(target)).run(None, {"images": np.zeros((1, 3, 64, 64), np.float32)})[0]
    assert np.isfinite(answer).all()
    (folder / "hidden").rename(out.parent)
    return target


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "bool"])
def test_numbers_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    array = (np.random.default_rng(0).standard_normal((300, 500)) * 100).astype(kind)
    with stored.apart(tmp_path):
        tensors = [stored.tensor_of(array, "first"), stored.tensor_of(array[:, ::-1], "second")]
    assert all(stored.is_apart(item) for item in tensors)
    np.testing.assert_array_equal(array_of(tensors[0]), array)
    np.testing.assert_array_equal(array_of(tensors[1]), array[:, ::-1])
    changed = array_of(tensors[0])
    changed[:] = 0
    np.testing.assert_array_equal(array_of(tensors[0]), array)


def test_more_than_the_machine_holds_is_said_before_it_is_read(tmp_path: Path, home: Path) -> None:
    """Three tensors of 16 GB in a hole of a file: seen in seconds."""
    path = onnx_large.make(tmp_path / "huge.onnx", 0.001, 64)
    model = onnx.load(path, load_external_data=False)
    for name in ("one", "two", "three"):
        large = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1_000_000, 4000], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "hole", "offset": "0", "length": str(16 * 10**9)}.items():
            large.external_data.add(key=key, value=value)
        model.graph.initializer.append(large)
    path.write_bytes(model.SerializeToString())
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(16 * 10**9)
    with pytest.raises(StudioError, match=r"has 48\.0 GB of weights in full precision; this machine can retrain up to"):
        import_file(path)


def test_data_of_the_wrong_length_is_refused(large: Path) -> None:
    with data_path(large).open("rb+") as file:
        file.truncate(data_path(large).stat().st_size - 40_000)
    with pytest.raises(StudioError, match=r"past the end|should have .* bytes and have"):
        import_file(large)
    assert not (workspace.home() / "models").exists() or not list((workspace.home() / "models").glob("*.making"))
