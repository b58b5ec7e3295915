from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import workspace
from engine.data import shapes
from engine.evaluation import answers as kept_answers
from engine.evaluation import drawn, shown
from engine.evaluation.answers import Answer, from_class_map

CLASSES = ["red", "white"]
SIDE = 64


def entry(number: int, rng: np.random.Generator, kind: str) -> dict[str, Any]:
    marks = []
    for place in range(int(rng.integers(1, 4))):
        x, y = 20 * place + rng.uniform(0, 4), rng.uniform(0, 30)
        box = {"box": [x, y, x + 14, y + 24]}
        shape = box if kind == "box" else shapes.mask_from(shapes.raster("box", box, SIDE, SIDE))
        marks.append({"class": int(rng.integers(2)), "kind": kind, **shape})
    return {"id": number + 10, "sha256": f"{number:064}", "name": f"{number}.png", "split": "test", "width": SIDE, "height": SIDE, "marks": marks}


def answered(one: dict[str, Any], rng: np.random.Generator, task: str) -> Answer:
    """Most of what is there, a little off, and sometimes something that is not."""
    if task == drawn.SEMANTIC:
        said = np.roll(drawn.true_map(one), int(rng.integers(0, 3)), axis=1)
        return from_class_map(said, np.full(said.shape, 0.9), one["id"])
    rows = [(shapes.bounds(mark["kind"], mark), mark["class"], float(rng.uniform(0.3, 1))) for mark in one["marks"] if rng.random() < 0.9]
    rows += [((50.0, 50.0, 60.0, 60.0), 0, float(rng.uniform(0, 0.5)))] if rng.random() < 0.5 else []
    rows.sort(key=lambda row: -row[2])
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    masks = tuple(shapes.mask_from(shapes.raster("box", {"box": list(box)}, SIDE, SIDE)) for box in boxes) if task == drawn.INSTANCE else None
    scores, classes = np.array([row[2] for row in rows], np.float32), np.array([row[1] for row in rows], np.int64)
    return Answer(SIDE, SIDE, boxes, scores, classes, masks, one["id"])


def perfectly_answered(one: dict[str, Any], task: str) -> Answer:
    """All that is there, exactly."""
    boxes = np.array([shapes.bounds(mark["kind"], mark) for mark in one["marks"]], np.float32)
    masks = tuple({"size": mark["size"], "counts": mark["counts"]} for mark in one["marks"]) if task == drawn.INSTANCE else None
    return Answer(SIDE, SIDE, boxes, np.full(len(boxes), 0.9, np.float32), np.array([mark["class"] for mark in one["marks"]]), masks, one["id"])


def judged(task: str, seed: int = 0, pictures: int = 20) -> drawn.Evidence:
    rng = np.random.default_rng(seed)
    entries = [entry(number, rng, "box" if task == "object-detection" else "mask") for number in range(pictures)]
    return drawn.Evidence(task, tuple(CLASSES), tuple(entries), tuple(answered(one, rng, task) for one in entries))


@pytest.mark.parametrize(("task", "metric"), [("object-detection", "map_50"), (drawn.INSTANCE, "map_50"), (drawn.SEMANTIC, "miou")])
def test_a_report_holds_its_figures_and_is_plain_json(task: str, metric: str) -> None:
    seen = judged(task)
    report = drawn.make_report(seen, "test", val=judged(task, 1), seconds={"total": 3.0})
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    low, high = report["interval"][metric]
    assert 0 < low < report["metrics"][metric] < high <= 1
    assert report["val_metrics"][metric] != report["metrics"][metric]
    assert report["seconds"] == {"total": 3.0}
    assert len(report["per_picture"]["quality"]) == report["n"] == 20
    assert min(report["per_picture"]["quality"]) < 1
    assert [row["name"] for row in report["per_class"] if row["name"] != "background"] == CLASSES
    assert {row["item"] for row in report["mistakes"]} <= {one["id"] for one in seen.entries}


@pytest.mark.parametrize(("task", "metric"), [("object-detection", "map_50"), (drawn.INSTANCE, "map_50")])
def test_all_right_on_a_few_pictures_foretells_nothing(task: str, metric: str) -> None:
    seen = judged(task, pictures=3)
    perfect = [perfectly_answered(one, task) for one in seen.entries]
    report = drawn.make_report(drawn.Evidence(task, tuple(CLASSES), seen.entries, tuple(perfect)), "test")
    assert report["metrics"][metric] == pytest.approx(1)
    assert report["interval"][metric] is None


def test_the_balanced_confidence_is_chosen_on_the_validation_pictures() -> None:
    seen, val = judged("object-detection"), judged("object-detection", 5)
    own, other = drawn.make_report(seen, "test"), drawn.make_report(seen, "test", val=val)
    assert own["points"]["balanced"]["confidence"] != other["points"]["balanced"]["confidence"]
    point = other["points"]["balanced"]
    assert point["right"] + point["missed"] == sum(row["count"] for row in other["per_class"])


@pytest.mark.parametrize("task", ["object-detection", drawn.INSTANCE, drawn.SEMANTIC])
def test_the_evidence_is_found_again_in_the_run_s_directory(task: str, tmp_path: Path) -> None:
    seen = judged(task)
    workspace.write_json(tmp_path / "version.json", {"task": task, "classes": CLASSES, "items": list(seen.entries)})
    kept_answers.write(tmp_path / "predictions.npz", seen.answers, task)
    again = drawn.evidence(tmp_path)
    assert drawn.make_report(again, "test") == drawn.make_report(seen, "test")


def test_no_answer_at_all_is_a_report_too() -> None:
    seen = judged("object-detection")
    nothing = tuple(Answer(SIDE, SIDE, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), None, a.item_id) for a in seen.answers)
    report = drawn.make_report(drawn.Evidence(seen.task, seen.classes, seen.entries, nothing), "test")
    assert report["metrics"]["map"] == 0
    assert report["errors"]["counts"]["missed"] == sum(len(one["marks"]) for one in seen.entries)
    assert json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("show", ["answer", "truth", "errors"])
@pytest.mark.parametrize("task", ["object-detection", drawn.INSTANCE, drawn.SEMANTIC])
def test_an_answer_is_drawn_over_its_picture(task: str, show: Any) -> None:
    seen = judged(task)
    picture = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    over = np.asarray(shown.compared_over(picture, seen, 3, confidence=0.3, show=show))
    assert over.shape == (SIDE, SIDE, 3)
    assert (over != 128).any()
