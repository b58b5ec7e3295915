"""The ONNX file against torch, on real pictures, by both exporters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from engine.errors import StudioError
from engine.export import metadata, onnx_file
from engine.models import build
from engine.models.build import ModelSpec

CLASSES = ("a", "b", "c")


def spec_of(backbone: str, size: int = 96) -> ModelSpec:
    return ModelSpec(backbone=backbone, classes=CLASSES, image_size=size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


Views = Callable[[ModelSpec], np.ndarray]


@pytest.mark.parametrize(
    ("backbone", "exporters"),
    [
        ("test_resnet", onnx_file.EXPORTERS),
        ("test_vit", onnx_file.EXPORTERS),
        ("test_convnext", onnx_file.EXPORTERS),
        ("efficientnet_lite0", onnx_file.EXPORTERS),
        ("test_resnet", ("dynamo",)),
    ],
)
def test_the_file_answers_as_torch_does(
    backbone: str, exporters: tuple[str, ...], views: Views, decide: Callable[[nn.Module], None], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "EXPORTERS", exporters)
    spec = spec_of(backbone, 160 if backbone == "test_vit" else 96)
    network, path, pictures = build.build(spec, pretrained=True, seed=1).eval(), home / "m.onnx", views(spec)
    decide(network)
    parity = onnx_file.export_onnx(network, spec, path, origin={"run_id": "run-9"}, pictures=pictures)
    assert parity["passed"]
    assert (parity["exporter"], parity["n"], parity["bytes"]) == (exporters[0], 4, path.stat().st_size)
    assert parity["max_abs"] <= 1e-4
    assert parity["latency_ms"] > 0

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(row.name, row.type, row.shape[1:]) for row in session.get_inputs()] == [("images", "tensor(float)", [3, spec.image_size, spec.image_size])]
    assert [row.name for row in session.get_outputs()] == ["probabilities"]
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    normal = torch.from_numpy(((pictures / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        expected = network(normal).softmax(1).numpy()
    assert expected.std(0).max() > 1e-3  # it tells pictures apart
    for batch in (1, 2, 4):
        (found,) = session.run(None, {"images": pictures[:batch].transpose(0, 3, 1, 2).astype(np.float32)})
        np.testing.assert_allclose(found, expected[:batch], atol=1e-4)

    about = metadata.parse(session.get_modelmeta().custom_metadata_map)
    assert about is not None
    assert (about.labels, about.origin["run_id"]) == (CLASSES, "run-9")
    proto = onnx.load(path)
    assert {entry.key for entry in proto.metadata_props} == set(metadata.ABOUT_KEYS)
    assert not any(node.doc_string or node.metadata_props for node in proto.graph.node)
    proto.graph.ClearField("initializer")
    text = proto.SerializeToString()
    assert b"site-packages" not in text
    assert str(Path(__file__).parents[3]).encode() not in text


class Fickle(nn.Module):
    """Answers differently when traced: an exporter cannot follow it, and the file would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        pooled = images_BCHW.mean((2, 3))
        return self.layer(pooled) + (5.0 if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting() else 0.0) * pooled


def test_a_file_that_differs_is_not_written(views: Views, home: Path) -> None:
    spec = spec_of("test_resnet", 32)
    with pytest.raises(StudioError, match=r"torchscript: probabilities differ from torch's by .*dynamo: probabilities differ"):
        onnx_file.export_onnx(Fickle(), spec, home / "m.onnx", origin={}, pictures=views(spec))
    assert list(home.glob("*.onnx*")) == []


class Modern(nn.Module):
    """Uses an operator that the older exporter does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        pooled = images_BCHW.mean((2, 3))
        return self.layer(torch.fft.rfft(pooled, n=4, dim=1).real)


def test_the_newer_exporter_steps_in(views: Views, home: Path) -> None:
    spec = spec_of("test_resnet", 32)
    parity = onnx_file.export_onnx(Modern().eval(), spec, home / "m.onnx", origin={}, pictures=views(spec))
    assert (parity["exporter"], parity["passed"]) == ("dynamo", True)


def test_a_model_too_large_for_one_file_is_a_sentence(views: Views, home: Path) -> None:
    class Huge(nn.Module):
        def state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
            return {"weight": torch.empty(600_000_000, device="meta")}

    spec = spec_of("test_resnet", 32)
    with pytest.raises(StudioError, match=r"has 2\.4 GB of weights"):
        onnx_file.export_onnx(Huge(), spec, home / "m.onnx", origin={}, pictures=views(spec))
