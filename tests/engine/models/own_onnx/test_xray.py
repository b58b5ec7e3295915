"""The X-ray says what a network looks at, what it can be retrained for, and why."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.models.own_onnx.xray import xray

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_spec)
sys.modules["networks"] = networks
_spec.loader.exec_module(networks)


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(200, 16), nn.Linear(16, 16)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(self.embedding(input_ids))) * attention_mask.unsqueeze(2)


class _Sound(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 16, 10, 5), nn.Conv1d(16, 16, 4, 2)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(samples.unsqueeze(1))))).transpose(1, 2)


def _export(module: nn.Module, inputs: tuple[torch.Tensor, ...], names: list[str], path: Path) -> Path:
    torch.onnx.export(module.eval(), inputs, path, dynamo=False, opset_version=17, input_names=names, output_names=["features"])
    return path


@pytest.mark.parametrize(
    ("module", "inputs", "names", "takes"),
    [
        (_Words(), (torch.ones(1, 12, dtype=torch.int64), torch.ones(1, 12, dtype=torch.int64)), ["input_ids", "attention_mask"], "text"),
        (_Sound(), (torch.randn(1, 1600),), ["samples"], "sound"),
    ],
    ids=["text", "sound"],
)
def test_what_takes_no_pictures_is_said_to_and_still_learns(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], names: list[str], takes: str, tmp_path: Path, home: Path
) -> None:
    found = xray(_export(module, inputs, names, tmp_path / "model.onnx"))
    assert found["takes"] == takes
    assert found["trainable"], found["why"]
    assert found["parity"]["max_rel"] <= 1e-4
    assert not any(use["possible"] for use in found["uses"])
    assert all(f"it takes {takes}" in use["why"] for use in found["uses"])


def test_a_picture_network_says_at_which_sizes_it_keeps_maps(tmp_path: Path, home: Path) -> None:
    found = xray(networks.export(networks.timm_model("resnet10t")(), tmp_path / "model.onnx", 96))
    assert found["takes"] == "pictures"
    assert [(level["stride"], level["channels"]) for level in found["levels"]] == [(4, 64), (8, 128), (16, 256), (32, 512)]
    whys = {use["task"]: use["why"] for use in found["uses"]}
    assert all(use["possible"] for use in found["uses"])
    assert "1/4, 1/8, 1/16, 1/32" in whys["detection"]
    assert "512 features a picture" in whys["image-classification"]


def test_without_places_no_detection(tmp_path: Path, home: Path) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.ReLU(), nn.Linear(16, 4))
    found = xray(networks.export(flat, tmp_path / "model.onnx", 32))
    possible = {use["task"]: use["possible"] for use in found["uses"]}
    assert possible == {"image-classification": True, "detection": False, "segmentation": False, "features": True}
