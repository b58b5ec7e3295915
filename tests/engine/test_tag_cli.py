"""A tagging project from a shell to a shipped model: a table comes in, real processes train, and what is shipped answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import runs
from tests.shell import graft, sets
from tests.tagged import CLASSES, table

TASK = "multi-label-classification"
SMALL = ["image_size=96", "epochs=1", "batch_size=16", "precision=fp32", "layout=channels_last", "threads=1", "device=cpu"]


@pytest.mark.slow
def test_from_a_table_to_a_model_that_tags(home: Path, tmp_path: Path) -> None:
    told = graft("import", table(tmp_path / "pictures", 60), "--project", "Tags", "--task", TASK)
    assert (told["added"], told["task"]) == (60, TASK)
    offered = graft("starts", "--task", TASK)
    assert [row["head"] for row in offered["heads"]] == ["linear", "mlp", "cosine"]
    assert "ready/imagenet_lite0" in [row["start"] for row in offered["ready"]]

    made = [graft("train", "--project", "Tags", *sets(SMALL), "--set", f"seed={seed}", "--wait") for seed in (0, 1)]
    assert [row["state"] for row in made] == ["finished", "finished"]
    report = graft("report", made[0]["run"])
    assert report["metrics"]["map"] == made[0]["metrics"]["map"]
    assert [row["name"] for row in report["per_class"]] == list(CLASSES)
    version = json.loads(runs.find(made[0]["run"]).path("version.json").read_text())
    assert any(item["labels"] == [] for item in version["items"])
    assert any(len(item["labels"]) == 2 for item in version["items"])
    assert graft("runs", "--project", "Tags")["runs"][0]["metrics"] == made[1]["metrics"]
    found = graft("compare", *(row["run"] for row in made))
    assert (found["task"], found["n_common"], list(found["differing"])) == (TASK, report["n"], ["seed"])

    files = [tmp_path / "pictures" / item["name"] for item in version["items"] if item["split"] == "test"]
    answer = graft("predict", made[0]["run"], *files)
    assert list(answer["thresholds"].values()) == report["thresholds"]
    for row in answer["predictions"]:
        counted = {label for label, share in row["probabilities"].items() if share >= answer["thresholds"][label]}
        assert {entry["label"] for entry in row["tags"]} == counted
    for kind, least in (("onnx", 1e6), ("folder", 1e6)):
        assert Path(graft("export", made[0]["run"], "--format", kind, "-o", tmp_path / f"out.{kind}")["file"]).stat().st_size > least
    assert graft("predict", tmp_path / "out.onnx", files[0])["predictions"] == answer["predictions"][:1]
