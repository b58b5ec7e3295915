"""The report's shape, the way back from a cell to its pictures, and the order of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StudioError
from engine.evaluation.report import Predictions, cell, make_report, mistakes, read_predictions, write_predictions

MANIFEST = {"id": "v1", "task": "image-classification", "classes": ["a", "b", "c"], "items": []}
LABELS = np.array([0, 0, 1, 2, 2])
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.7, 0.25, 0.05], [0.2, 0.6, 0.2]], np.float32)
IDS = np.array([10, 11, 12, 13, 14])
ANSWERS = Predictions(IDS, LABELS, PROBABILITIES)


def test_the_report_has_the_agreed_shape_and_is_plain_json() -> None:
    report = make_report(MANIFEST, IDS, LABELS, PROBABILITIES, "test", start={"key": "linear/x"}, best_phase="head")
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert {"task", "classes", "split", "n", "metrics", "val_metrics", "accuracy_interval", "per_class", "confusion", "calibration", "mistakes"} < set(report)
    assert report["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert report["metrics"]["accuracy"] == pytest.approx(0.4)
    assert report["per_class"][2] == {"name": "c", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    assert report["start"] == {"key": "linear/x"}
    low, high = report["accuracy_interval"]
    assert 0 < low < 0.4 < high < 1
    assert sum(row["count"] for row in report["calibration"]["bins"]) == 5


def test_every_cell_leads_to_as_many_pictures_as_it_counts() -> None:
    table = make_report(MANIFEST, IDS, LABELS, PROBABILITIES, "test")["confusion"]
    assert [[len(cell(ANSWERS, true, predicted)) for predicted in range(3)] for true in range(3)] == table
    assert cell(ANSWERS, 2, 0) == [13]
    assert cell(ANSWERS, 0, 2) == []


def test_mistakes_come_worst_first() -> None:
    found = mistakes(ANSWERS)
    assert [row["item"] for row in found] == [13, 14, 11]
    assert found[0] == {"item": 13, "true": 2, "predicted": 0, "confidence": pytest.approx(0.7), "true_probability": pytest.approx(0.05)}


def test_a_report_keeps_at_most_200_mistakes() -> None:
    n = 500
    report = make_report(MANIFEST, np.arange(n), np.zeros(n, np.int64), np.tile(np.array([[0.1, 0.8, 0.1]], np.float32), (n, 1)), "test")
    assert len(report["mistakes"]) == 200


def test_the_temperature_comes_from_the_validation_pictures() -> None:
    too_sure = np.array([[0.99, 0.005, 0.005]] * 10, np.float32)
    half_wrong = np.array([0] * 6 + [1] * 4)
    without = make_report(MANIFEST, IDS, LABELS, PROBABILITIES, "test")
    given = make_report(MANIFEST, IDS, LABELS, PROBABILITIES, "test", val=(half_wrong, too_sure))
    assert given["calibration"]["temperature"] > 2
    assert given["calibration"]["temperature"] != without["calibration"]["temperature"]
    assert given["val_metrics"]["accuracy"] == pytest.approx(0.6)


def test_predictions_survive_the_disk(home: Path) -> None:
    path = home / "predictions.npz"
    write_predictions(path, IDS, LABELS, PROBABILITIES)
    found = read_predictions(path)
    assert found.item_ids.dtype == np.int64
    assert found.probabilities.dtype == np.float32
    assert found.predicted.tolist() == [0, 1, 1, 0, 1]
    np.testing.assert_array_equal(found.probabilities, PROBABILITIES)


@pytest.mark.parametrize(
    ("content", "match"), [(None, "no answers on held-out pictures yet"), (b"not a zip", "is damaged"), (b"PK\x03\x04cut short", "is damaged")]
)
def test_missing_or_damaged_predictions_are_a_sentence(home: Path, content: bytes | None, match: str) -> None:
    path = home / "predictions.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudioError, match=match):
        read_predictions(path)


def test_pickled_arrays_are_refused(home: Path) -> None:
    path = home / "predictions.npz"
    np.savez(path, item_ids=np.array([{}], object), labels=LABELS, probabilities=PROBABILITIES)
    with pytest.raises(StudioError, match="is damaged"):
        read_predictions(path)
