"""A network that makes much of the last digit is told from one that was imported wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.models.own_onnx.interface import example, inputs_of
from engine.models.own_onnx.library import import_file
from engine.models.own_onnx.parity import rounding
from tests.engine.models.own_onnx import networks


class Cancelling(nn.Module):
    """Adds up large numbers that almost cancel out: the order in which that is done shows in the fourth digit."""

    def __init__(self) -> None:
        super().__init__()
        large, small = torch.randn(10, 3072), torch.randn(10, 3072)
        self.weight = nn.Parameter(torch.cat([large, 1e-2 * small - large], 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return nn.functional.linear(torch.cat([flat, flat], 1), self.weight)


def test_a_network_that_makes_much_of_the_last_digit_is_told_from_a_wrong_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    found = import_file(networks.export(Cancelling(), tmp_path / "cancelling.onnx", 32))
    assert found.about["trainable"], found.about["why"]
    feeds = [example(inputs_of(found.model), seed=7)]
    told = rounding(found.model, feeds)
    sound = import_file(networks.cnn(tmp_path / "cnn.onnx"))
    assert 10 * rounding(sound.model, [example(inputs_of(sound.model), seed=7)]) < told < 1e-2
