"""What an exporter wrote out in steps runs in one piece, with the same answers and the same gradients."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.normalise import prepare

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_spec)
sys.modules["networks"] = networks
_spec.loader.exec_module(networks)


class _Rows(nn.Module):
    """A picture as rows of numbers, something over them, and scores."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(24, 16), inner, nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.inner(self.first(images.mean(1))).mean(1))


class _Attention(nn.Module):
    def __init__(self, *, scaled_first: bool, mask: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.scaled_first, self.mask = nn.Linear(16, 48), nn.Linear(16, 16), scaled_first, mask

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        batch, count, _ = rows.shape
        q, k, v = self.qkv(rows).reshape(batch, count, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * 8**-0.5) @ k.transpose(-2, -1) if self.scaled_first else (q @ k.transpose(-2, -1)) / 8**0.5
        if self.mask:
            scores = scores + torch.linspace(0, 1, count)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, count, 16))


class _OtherGelu(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return 0.5 * rows * (1 + torch.erf(rows / 2**0.5))


class _Twice(nn.Module):
    """The middle of a GELU is needed elsewhere as well: it must stay."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inner = torch.erf(rows / 2**0.5)
        return rows * 0.5 * (1 + inner) + inner


CASES = {
    "gelu": (nn.GELU(), 17, "Gelu"),
    "gelu, another order": (_OtherGelu(), 17, "Gelu"),
    "gelu that is looked into": (_Twice(), 17, ""),
    "silu": (nn.SiLU(), 17, "Swish"),
    "hard swish": (nn.Hardswish(), 13, "HardSwish"),
    "layer norm written out": (nn.LayerNorm(16), 13, "LayerNormalization"),
    "attention, scaled before": (_Attention(scaled_first=True), 17, "Attended"),
    "attention, scaled after": (_Attention(scaled_first=False), 17, "Attended"),
    "attention with a mask": (_Attention(scaled_first=True, mask=True), 17, ""),
    "linear": (nn.Linear(16, 16), 17, "Linear"),
}
_ALL = {"Gelu", "Swish", "HardSwish", "LayerNormalization", "Attended"}


@pytest.mark.parametrize("dynamo", [False, True], ids=["older exporter", "newer exporter"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_answers_and_gradients_in_one_piece(name: str, dynamo: bool, tmp_path: Path) -> None:
    inner, opset, expected = CASES[name]
    torch.manual_seed(0)
    if dynamo and name in ("hard swish", "layer norm written out"):
        opset = 18
    model = prepare(onnx.load(networks.export(_Rows(inner), tmp_path / "m.onnx", 24, opset=opset, dynamo=dynamo, batch=2))).model
    steps, one = ImportedGraph(model), ImportedGraph(model, fused=True)
    found = {step.node.op for step in one.steps()}
    assert (expected in found) if expected else not (found & _ALL)
    assert dict(steps.named_parameters()).keys() == dict(one.named_parameters()).keys()
    images = torch.randn(2, 3, 24, 24)
    for module in (steps, one):
        module(images).square().sum().backward()
    torch.testing.assert_close(one(images), steps(images), rtol=1e-4, atol=1e-5)
    for (key, ours), theirs in zip(one.named_parameters(), steps.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=key)


def test_a_value_that_is_asked_for_is_still_made(tmp_path: Path) -> None:
    model = prepare(onnx.load(networks.export(_Rows(nn.GELU()), tmp_path / "m.onnx", 24, batch=2))).model
    middle = next(node.output[0] for node in model.graph.node if node.op_type == "Erf")
    both = ImportedGraph(model, [model.graph.output[0].name, middle], fused=True)
    assert "Gelu" not in {step.node.op for step in both.steps()}
    assert both(torch.randn(2, 3, 24, 24))[1].abs().max() <= 1
