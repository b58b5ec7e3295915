"""Engines really built, ahead of time, without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import StudioError
from engine.export import models, tensorrt
from engine.export.predictor import Predictor
from engine.runs import Run

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")

AHEAD = [row for row in tensorrt.TARGETS if row.ahead]


@pytest.mark.parametrize(("key", "precision"), [(row.key, precision) for row in AHEAD for precision in row.precisions])
def test_every_generation_gets_an_engine(key: str, precision: str, shipped: Run, tmp_path: Path) -> None:
    out = tmp_path / "model.engine"
    told = tensorrt.build_engine(shipped.path("model.onnx"), out, compute_capability=key, precision=precision)
    assert told["bytes"] == out.stat().st_size > 10_000
    assert (told["target"], told["precision"], told["builder"]) == (key, precision, "tensorrt_rtx")


def test_half_precision_halves_the_engine(session_home: Path, tmp_path: Path) -> None:
    onnx_path = models.export_ready("imagenet_lite0")
    sizes = [tensorrt.build_engine(onnx_path, tmp_path / name, precision=name)["bytes"] for name in ("fp32", "fp16")]
    assert 0.4 < sizes[1] / sizes[0] < 0.6
    assert sizes[0] > 15_000_000


def test_half_precision_answers_nearly_the_same(session_home: Path, tmp_path: Path) -> None:
    onnx_path = models.export_ready("imagenet_lite0")
    (tmp_path / "half.onnx").write_bytes(tensorrt._halved(onnx_path))
    full, half = Predictor(onnx_path), Predictor(tmp_path / "half.onnx")
    pictures = [full.open(path) for path in models._packaged_pictures()]
    difference = np.abs(full.probabilities(pictures) - half.probabilities(pictures)).max()
    assert 0 < difference < 0.01


def test_the_table_is_what_the_installed_builder_offers() -> None:
    offered = {name for name in dir(trt.ComputeCapability) if name.startswith("SM")}
    assert {row.member for row in AHEAD} == offered


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"compute_capability": "5.2"}, "there is no GPU generation '5.2'"),
        ({"precision": "int3"}, "there is no precision 'int3'"),
        ({"compute_capability": "7.5", "precision": "fp32"}, "no fp32 engines for Turing"),
        ({"compute_capability": "9.0"}, "only be built on a machine that has one"),
    ],
)
def test_what_cannot_be_built_is_a_sentence(options: dict[str, str], match: str, shipped: Run, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=match):
        tensorrt.build_engine(shipped.path("model.onnx"), tmp_path / "m.engine", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(StudioError, match="TensorRT cannot build this model"):
        tensorrt.build_engine(tmp_path / "m.onnx", tmp_path / "m.engine")
