"""Files of the kinds users bring become modules that compute the same, learn everywhere, and go out as ONNX again."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from engine.models.own_onnx.backbone import FrozenFeatures, TrainableBackbone, session_of
from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.interface import example, inputs_of
from engine.models.own_onnx.library import Imported, import_file, load_backbone, reference
from engine.models.own_onnx.parity import compare
from engine.models.own_onnx.restored import merged
from engine.models.own_onnx.start import settings_of
from engine.models.own_onnx.stored import array_of
from engine.models.own_onnx.write import write

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_spec)
sys.modules["networks"] = networks
_spec.loader.exec_module(networks)

NETWORKS = {
    "cnn": networks.cnn,
    "cnn, opset 11": partial(networks.cnn, opset=11),
    "cnn, opset 9": partial(networks.cnn, opset=9),
    "cnn, dynamo, batch of 2": partial(networks.cnn, dynamo=True, batch=2),
    "cnn in training form": partial(networks.cnn, train=True),
    "cnn, half": networks.half,
    "cnn, quantised": networks.quantised,
    "cnn, quantised operators": partial(networks.quantised, operators=True),
    "cnn, channels last": networks.channels_last,
    "cnn, bytes": partial(networks.channels_last, as_bytes=True),
    "cnn, functions": networks.embedded_functions,
    "cnn, external data": networks.external,
    "resnet": lambda path: networks.export(networks.timm_model("resnet10t")(), path),
    "densenet": lambda path: networks.export(networks.timm_model("densenet121", growth_rate=8, block_config=(2, 2, 2, 2))(), path),
    "mobilenet": lambda path: networks.export(networks.timm_model("mobilenetv3_small_050")(), path, opset=13),
    "transformer": lambda path: networks.export(networks.timm_model("vit_tiny_patch16_224", img_size=64, depth=2)(), path),
    "windows": lambda path: networks.export(
        networks.timm_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=24, depths=(2, 2), num_heads=(2, 4))(), path
    ),
    "convnext": lambda path: networks.export(networks.timm_model("convnext_atto", depths=(1, 1, 1, 1))(), path, free=True),
}
LOOSE = {"cnn, half": 5e-3, "cnn, quantised": 0.15, "cnn, quantised operators": 0.15}
"""Where the file itself computes with fewer digits, the file is compared with more room; the de-quantised graph is held to 1e-4."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """Each network imported once, in a workspace of this module's own."""
    folder = tmp_path_factory.mktemp("networks")
    kept: dict[str, tuple[Path, Imported]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(folder / "home"))

        def get(name: str) -> tuple[Path, Imported]:
            if name not in kept:
                path = folder / str(len(kept)) / "model.onnx"
                path.parent.mkdir()
                NETWORKS[name](path)
                kept[name] = path, import_file(path)
            return kept[name]

        yield get


@pytest.mark.parametrize("name", NETWORKS)
def test_imports_on_the_trainable_path_and_agrees_with_onnx_runtime(name: str, made) -> None:
    _, found = made(name)
    assert found.about["trainable"], found.about["why"]
    parity = found.about["parity"]
    if "prepared" in parity:
        assert max(row["max_rel"] for row in parity["prepared"].values()) <= 1e-4
    assert parity["max_rel"] <= LOOSE.get(name, 1e-4)
    assert set(parity.get("file") or parity["prepared"]) == {"random", "picture"}


@pytest.mark.parametrize("name", NETWORKS)
def test_any_batch_size_gives_what_each_picture_gives_alone(name: str, made) -> None:
    _, found = made(name)
    model = found.model
    module = ImportedGraph(model)
    images = torch.from_numpy(np.concatenate([example(inputs_of(model), batch=1, seed=seed)[0] for seed in range(5)])).float()
    with torch.no_grad():
        together, alone = module(images), torch.cat([module(images[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    session = session_of(model)
    file = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(file), together, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_reaches_every_weight_and_a_step_lowers_the_loss(name: str, made) -> None:
    _, found = made(name)
    backbone = load_backbone(reference(found, found.cut()))
    assert isinstance(backbone, TrainableBackbone)
    torch.manual_seed(0)
    head = nn.Linear(backbone.num_features, 3)
    images, labels = torch.rand(6, 3, *backbone.port.size) if backbone.port.layout else torch.rand(6, 3, 64, 64), torch.arange(6) % 3
    module = nn.Sequential(backbone, head).train()
    for part in backbone.graph.steps():
        part.node.training = part.node.training and part.node.op != "Dropout"  # the same loss twice needs the same units
    stepper = torch.optim.SGD(module.parameters(), lr=1e-3)
    before = nn.functional.cross_entropy(module(images), labels)
    before.backward()
    dead = [name for name, weight in module.named_parameters() if weight.grad is None or not bool(weight.grad.abs().sum() > 0)]
    assert dead == []
    stepper.step()
    assert nn.functional.cross_entropy(module(images), labels) < before


@pytest.mark.parametrize("name", NETWORKS)
def test_goes_out_as_onnx_again_with_a_new_head(name: str, made) -> None:
    _, found = made(name)
    backbone = load_backbone(reference(found, found.cut())).eval()
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(backbone.num_features, 4)).eval()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.mul_(1.01)  # trained weights, not the file's
    mean, std, size = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), found.preparation.image_size
    model = write(backbone, head, mean, std, size)
    onnx.checker.check_model(model)
    images = torch.rand(3, 3, size, size) * 255
    with torch.no_grad():
        scaled = (images - 255 * torch.tensor(mean).view(1, 3, 1, 1)) / (255 * torch.tensor(std).view(1, 3, 1, 1))
        expected = head(backbone(scaled)).softmax(1)
    answer = onnxruntime.InferenceSession(model.SerializeToString()).run(["probabilities"], {"images": images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(answer), expected, rtol=1e-3, atol=1e-5)


def test_weights_carry_the_names_of_their_layers(made) -> None:
    backbone = load_backbone(reference(made("resnet")[1], made("resnet")[1].cut()))
    names = [name.removeprefix("graph.") for name, _ in backbone.named_parameters()]
    assert names[0] == "conv1.0.weight"
    assert "layer1.0.conv1.weight" in names
    assert not [name for name in names if "onnx" in name or name.split(".")[0].isdigit()]


def test_weights_stored_once_for_several_layers_come_apart(tmp_path: Path, home: Path) -> None:
    twin = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()
    torch.onnx.export(twin, (torch.randn(1, 3, 16, 16),), tmp_path / "twin.onnx", dynamo=False, opset_version=17)
    backbone = load_backbone(reference(found := import_file(tmp_path / "twin.onnx"), found.cut()))
    weights = [weight for name, weight in backbone.named_parameters() if name.endswith(("bn.weight", "3.weight", "1.weight"))]
    assert len({id(weight) for weight in weights}) == len(weights)


def test_batch_norm_learns_again(made) -> None:
    found = made("densenet")[1]
    backbone = load_backbone(reference(found, found.cut()))
    statistics = {name: value.clone() for name, value in backbone.named_buffers()}
    assert statistics
    backbone.eval()(torch.rand(4, 3, 64, 64))
    assert all(torch.equal(statistics[name], value) for name, value in backbone.named_buffers())
    backbone.train()(torch.rand(4, 3, 64, 64))
    assert not any(torch.equal(statistics[name], value) for name, value in backbone.named_buffers())


def test_dropout_is_active_only_while_training(made) -> None:
    found = made("cnn in training form")[1]
    assert found.about["notes"]
    module = ImportedGraph(found.model)
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(module(images), module(images))
    module.train()
    assert not torch.equal(module(images), module(images))


@pytest.mark.parametrize("free", [False, True])
def test_the_floor_trains_a_head_on_what_cannot_be_trained(free: bool, tmp_path: Path, home: Path) -> None:
    path = networks.untrainable(tmp_path / "model.onnx", free=free)
    found = import_file(path)
    assert not found.about["trainable"]
    assert "ExpandDims" in found.about["why"][0]
    backbone = load_backbone(reference(found, found.cut()))
    assert isinstance(backbone, FrozenFeatures)
    images = torch.rand(5, 3, 32, 32)
    features = backbone(images)
    assert features.shape == (5, found.cut().features)
    torch.testing.assert_close(features, torch.cat([backbone(images[i : i + 1]) for i in range(5)]))
    head = nn.Linear(backbone.num_features, 3)
    size = 1 if not free else 3
    model = write(backbone, head, (0.0,) * 3, (1 / 255,) * 3, 32)
    answer = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": images[:size].numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(answer), head(features[:size]).softmax(1).detach(), rtol=1e-4, atol=1e-5)


def test_a_file_is_found_again_without_being_analysed(made) -> None:
    path, found = made("cnn")
    assert import_file(path).id == found.id
    path.rename(path.with_name("gone.onnx"))
    assert import_file(path).id == found.id
    path.with_name("gone.onnx").rename(path)


def test_batch_norm_an_exporter_merged_is_a_layer_again_with_the_same_answers(made) -> None:
    path, found = made("mobilenet")
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "BatchNormalization" not in operators
    norms = [node for node in found.model.graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) > 20
    assert any(f"merged BatchNorm into {len(norms)} convolutions" in note for note in found.about["notes"])
    filters = {item.name: array_of(item) for item in found.model.graph.initializer}
    followed = [node for node in found.model.graph.node if node.op_type == "Conv" and node.output[0] in {norm.input[0] for norm in norms}]
    lengths = np.concatenate([np.linalg.norm(filters[node.input[1]].reshape(len(filters[node.input[1]]), -1), axis=1) for node in followed])
    np.testing.assert_allclose(lengths, 1, rtol=1e-4)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours = ImportedGraph(found.model)(images).numpy()
    theirs = np.concatenate([onnxruntime.InferenceSession(str(path)).run(None, {"images": images[i : i + 1].numpy()})[0] for i in range(2)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_convolutions_written_with_a_bias_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    layers = [part for _ in range(5) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    found = import_file(networks.export(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10)), tmp_path / "plain.onnx", 32))
    assert all(node.op_type != "BatchNormalization" for node in found.model.graph.node)


def test_a_constant_made_for_the_files_batch_is_repeated_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions stored for batch x heads (WavLM), and a table of one row read at every picture's places (RoBERTa)."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
            self.register_buffer("kinds", torch.arange(8).view(1, 8))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = self.layer(images.mean(1))  # [B, 8, 8]
            places = (rows.detach().sum(2) > 0).long().cumsum(1) - 1
            kinds = torch.gather(self.kinds.expand(images.shape[0], 8), 1, places.clamp_min(0))
            heads = rows.view(images.shape[0], 8, 2, 4).transpose(1, 2).reshape(-1, 8, 4)
            scale = self.kinds.view(1, 1, 8, 1).float().add(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)).expand(images.shape[0], 2, 8, 4).reshape(-1, 8, 4)
            mixed = (heads * scale).view(images.shape[0], 2, 8, 4).transpose(1, 2).reshape(images.shape[0], 8, 8) + kinds.unsqueeze(2)
            return self.head(mixed.mean(1))

    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    found = import_file(networks.export(Heads(), tmp_path / "heads.onnx", 8))
    assert found.about["trainable"], found.about["why"]
    images = torch.randn(3, 3, 8, 8)
    torch.manual_seed(0)
    module = ImportedGraph(found.model)
    with torch.no_grad():
        torch.testing.assert_close(module(images), torch.cat([module(images[i : i + 1]) for i in range(3)]))


def test_a_network_that_takes_no_squares_is_fed_stretched_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Oblong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8 * 16 * 24, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(images)).flatten(1))

    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    path = tmp_path / "oblong.onnx"
    torch.onnx.export(Oblong().eval(), (torch.randn(1, 3, 32, 48),), path, dynamo=False, opset_version=13, input_names=["images"], output_names=["scores"])
    told = settings_of(path)
    assert told["image_size"] == 48
    backbone = load_backbone(told["backbone"]).eval()
    head = nn.Linear(backbone.num_features, 4).eval()
    pixels = torch.rand(2, 3, 48, 48) * 255
    with torch.no_grad():
        expected = head(backbone((pixels / 255 - 0.5) / 0.25)).softmax(1).numpy()
    model = write(backbone, head, (0.5,) * 3, (0.25,) * 3, 48)
    answer = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": pixels.numpy()})[0]
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", ["open", "written as -1"])
def test_a_size_at_which_the_network_runs_is_found(size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4 * 24, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(images)).permute(0, 3, 1, 2).flatten(2)).mean(1)

    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    path = networks.export(Lines(), tmp_path / "lines.onnx", 48, free=True)
    model = onnx.load(path)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.ClearField("dim_value")
        if size == "open":
            dim.dim_param = "any"
        else:
            dim.dim_value = -1
    del model.graph.value_info[:]
    onnx.save(model, path)
    found = import_file(path)
    assert found.about["trainable"], found.about["why"]
    assert found.preparation.image_size == 48


def test_stored_tensors_an_old_file_lists_as_inputs_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before IR version 4 every stored tensor was listed as an input; one that folding leaves unread must not turn into a real one."""
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    path = networks.cnn(tmp_path / "old.onnx", opset=9)
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([10], dtype=np.int64), "sizes"))
    for item in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, item.dims))
    last = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]))
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "zeros"], [model.graph.output[0].name]))
    onnx.save(model, path)
    found = import_file(path)
    assert found.about["trainable"], found.about["why"]
    assert [row["name"] for row in found.about["inputs"]] == ["images"]
    assert found.about["parity"]["max_rel"] <= 1e-4


@pytest.mark.parametrize(
    ("weight", "bias", "is_merged"),
    [
        ("stem.weight", "stem.bias", False),
        ("conv1_w_0", "conv1_b_0", False),
        ("net/conv/kernel:0", "net/conv/bias:0", False),
        ("net/conv/Conv2D/ReadVariableOp", "net/conv/BiasAdd/ReadVariableOp", False),
        ("onnx::Conv_193", "onnx::Conv_194", True),
        ("stem.weight", "stem.weight_bias", True),
        ("conv2d_1.w_0", "batch_norm_1.b_0", True),
    ],
)
def test_names_tell_where_batch_norm_was_merged(weight: str, bias: str, is_merged: bool, tmp_path: Path) -> None:
    layers = [part for _ in range(3) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    model = onnx.load(networks.export(nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 2)), tmp_path / "plain.onnx", 2))
    for count, node in enumerate(node for node in model.graph.node if node.op_type == "Conv"):
        names = dict(zip(node.input[1:], (f"part{count}/{weight}", f"part{count}/{bias}"), strict=True))
        for item in model.graph.initializer:
            item.name = names.get(item.name, item.name)
        node.input[1:] = list(names.values())
    assert len(merged(model.graph)) == (3 if is_merged else 0)


@pytest.mark.parametrize(("scale", "ours", "expected"), [(1.0, 1.0, 0.0), (1.0, float("nan"), float("inf")), (float("nan"), float("nan"), float("inf"))])
def test_answers_that_are_no_numbers_never_agree(scale: float, ours: float, expected: float) -> None:
    value = onnx.helper.make_tensor_value_info
    constant = onnx.numpy_helper.from_array(np.array([scale], dtype=np.float32), "scale")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "scale"], ["y"])],
        "one",
        [value("x", onnx.TensorProto.FLOAT, [1, 3])],
        [value("y", onnx.TensorProto.FLOAT, [1, 3])],
        [constant],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert compare(lambda x: x * ours, session, [np.ones((1, 3), dtype=np.float32)])["max_rel"] == expected


def test_it_takes_the_layout_training_chose_whatever_axes_its_tensors_have(made) -> None:
    """The windows' masks have five axes."""
    _, found = made("windows")
    backbone = load_backbone(reference(found, found.cut())).eval()
    assert any(value.dim() == 5 for value in backbone.buffers())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = backbone(images)
        after = backbone.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
