"""Running a file: the same answers as torch, from several threads, and a sentence for what is no Graft file."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from engine.errors import StudioError
from engine.export import predictor as module
from engine.export.predictor import Predictor
from engine.models import build
from engine.runs import Run


def test_it_answers_as_the_checkpoint_does(shipped: Run, photographs: list[Path]) -> None:
    model = Predictor(shipped.path("model.onnx"))
    pictures = [model.open(path) for path in photographs]
    network, spec = build.from_checkpoint(shipped.path("best.safetensors"))
    seen = torch.from_numpy(np.stack([model.view(picture) for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    with torch.no_grad():
        expected = network((seen - mean) / std).softmax(1).numpy()
    found = model.probabilities(pictures)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert model.labels == spec.classes


def test_predict_ranks_labels(shipped: Run, photographs: list[Path]) -> None:
    model = Predictor(shipped.path("model.onnx"))
    picture = model.open(photographs[0])
    row = model.probabilities([picture])[0]
    (answers,) = model.predict([picture], top=2)
    assert answers == [(model.labels[i], pytest.approx(float(row[i]))) for i in np.argsort(-row)[:2]]
    assert model.predict([]) == []


def test_transparent_places_count_as_white(shipped: Run) -> None:
    model = Predictor(shipped.path("model.onnx"))
    clear = Image.new("RGBA", (120, 100), (200, 0, 0, 0))
    assert (model.view(clear) == 255).all()


def test_a_session_is_opened_once_and_again_when_the_file_changes(shipped: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(shipped.path("model.onnx"), path)
    first = Predictor(path)
    assert Predictor(path)._session is first._session
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert Predictor(path)._session is not first._session


def test_few_sessions_are_kept(shipped: Run, tmp_path: Path) -> None:
    for i in range(module.MOST_SESSIONS + 2):
        shutil.copy(shipped.path("model.onnx"), tmp_path / f"{i}.onnx")
        Predictor(tmp_path / f"{i}.onnx")
    assert len(module._sessions) == module.MOST_SESSIONS


def test_many_threads_get_the_same_answers(shipped: Run, photographs: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(shipped.path("model.onnx"), path)
    picture = Image.open(photographs[0]).convert("RGB")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Predictor(path).probabilities([picture]), range(24)))
    for row in found[1:]:
        np.testing.assert_array_equal(row, found[0])


def foreign(path: Path) -> None:
    """A valid ONNX file that Graft did not make."""
    value = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 3, 8, 8]) for name in ("images", "probabilities")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["images"], ["probabilities"])], "g", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)


def wrong_size(path: Path, source: Path) -> None:
    """A Graft file whose metadata claims another picture size."""
    proto = onnx.load(source)
    for entry in proto.metadata_props:
        entry.value = entry.value.replace('"image_size": 96', '"image_size": 64')
    onnx.save(proto, path)


def test_other_files_are_a_sentence(shipped: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(StudioError, match="there is no model file at"):
        Predictor(path)
    path.write_bytes(b"not an onnx file")
    with pytest.raises(StudioError, match=r"m\.onnx cannot be read as an ONNX model"):
        Predictor(path)
    foreign(path)
    with pytest.raises(StudioError, match=r"m\.onnx was not made by Graft"):
        Predictor(path)
    wrong_size(path, shipped.path("model.onnx"))
    with pytest.raises(StudioError, match=r"m\.onnx was not made by Graft"):
        Predictor(path)
