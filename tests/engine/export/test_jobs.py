"""Export jobs, from request to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import events, runs
from engine.errors import StudioError
from engine.export.jobs import run_export
from engine.recipe import recipe_from
from engine.runs import Run


def ask(request: dict[str, Any], folder: Path | None = None, *, stop: bool = False) -> tuple[dict[str, Any], list[events.Event]]:
    said: list[events.Event] = []
    return run_export(request, said.append, lambda: stop, folder), said


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({"format": "onnx"}, "model.onnx"),
        ({"format": "folder", "options": {}}, "{run}.zip"),
        ({"format": "tensorrt", "options": {"compute_capability": "12.0", "precision": "fp16"}}, "{run}-sm120-fp16.engine"),
    ],
)
def test_every_format(request_: dict[str, Any], name: str, shipped: Run, tmp_path: Path) -> None:
    result, said = ask({"run_id": shipped.id, **request_}, tmp_path)
    file = Path(result["file"])
    assert file.name == name.format(run=shipped.id)
    assert file.stat().st_size > 10_000
    assert [event.name for event in said if isinstance(event, events.Phase)] == ["export"]


@pytest.mark.parametrize("request_", [{"ready": "imagenet_lite0"}, {"run_id": "ready/imagenet_lite0", "format": "onnx", "options": {}}])
def test_ready_models(request_: dict[str, Any], session_home: Path) -> None:
    result, _ = ask(request_)
    assert Path(result["file"]).name == "imagenet_lite0.onnx"


def test_a_missing_file_is_made_from_the_checkpoint(shipped: Run) -> None:
    shipped.path("model.onnx").unlink()
    result, said = ask({"run_id": shipped.id, "format": "onnx"})
    assert Path(result["file"]) == shipped.path("model.onnx")
    assert shipped.path("model.onnx").exists()
    assert len(said) == 2


def test_one_that_is_told_to_stop_leaves_nothing(shipped: Run, tmp_path: Path) -> None:
    result, _ = ask({"run_id": shipped.id, "format": "folder"}, tmp_path, stop=True)
    assert (result, list(tmp_path.iterdir())) == ({}, [])


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ({"run_id": "run-nope"}, "there is no run 'run-nope'"),
        ({"run_id": "run-nope", "format": "floppy"}, "there is no export format 'floppy'"),
        ({"ready": "imagenet_lite0", "format": "folder"}, "a ready model has none"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(request_: dict[str, Any], match: str, home: Path) -> None:
    with pytest.raises(StudioError, match=match):
        ask(request_)


def test_an_untrained_run_is_a_sentence(home: Path) -> None:
    run = runs.create_run("p1", recipe_from({}), {"id": "v", "classes": [], "items": []})
    with pytest.raises(StudioError, match="has no trained model yet"):
        ask({"run_id": run.id, "format": "onnx"})
