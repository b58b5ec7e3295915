"""What a run that tags leaves of its mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StudioError
from engine.evaluation import tag_report, tags

MANIFEST = {"task": "multi-label-classification", "classes": ["boot", "hat"], "items": []}
TARGETS = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
SURE = np.array([[0.9, 0.1], [0.7, 0.3], [0.05, 0.95], [0.2, 0.6]], np.float32)
IDS = np.array([11, 12, 13, 14])


def report(**extra: object) -> dict:
    return tag_report.make_report(MANIFEST, IDS, TARGETS, SURE, "test", **extra)


def test_thresholds_come_from_the_validation_pictures_and_decide_the_figures():
    val = (np.array([[1, 1], [0, 1], [0, 0]], bool), np.array([[0.4, 0.4], [0.2, 0.28], [0.1, 0.2]]))
    found = report(val=val)
    assert found["thresholds"] == tags.best_thresholds(*val).tolist()
    assert found["thresholds"] == pytest.approx([0.3, 0.24])
    assert found["metrics"]["macro_f1"] == pytest.approx((1 + 0.8) / 2)
    assert found["val_metrics"]["exact_match"] == 1
    assert [row["threshold"] for row in found["per_class"]] == found["thresholds"]
    assert report()["thresholds"] == [0.5, 0.5]
    low, high = found["interval"]["map"]
    assert low <= found["metrics"]["map"] <= high
    json.dumps(found, allow_nan=False)


def test_mistakes_are_ranked_by_how_wrong_they_are():
    rows = report()["mistakes"]
    assert [(row["item"], row["missed"], row["false"]) for row in rows] == [(13, [], [1]), (12, [1], [])]
    assert rows[0]["loss"] > rows[1]["loss"]


def test_the_pictures_of_a_class_are_found_by_what_became_of_it():
    found = tag_report.TagPredictions(IDS, TARGETS, SURE)
    listed = {kind: [item for item, _ in tag_report.of_class(found, 1, kind, 0.5)] for kind in tag_report.KINDS}
    assert listed == {"missed": [12], "false": [13], "right": [14]}
    counts = tag_report.counts_of(found, np.array([0.5, 0.5]))
    assert {kind: row.tolist() for kind, row in counts.items()} == {"missed": [0, 1], "false": [0, 1], "right": [2, 1]}
    assert [item for item, _ in tag_report.of_class(found, 0, "right", 0.5)] == [11, 12]


def test_predictions_come_back_as_they_were_written(tmp_path: Path):
    path = tmp_path / "predictions.npz"
    tag_report.write_predictions(path, IDS, TARGETS, SURE)
    found = tag_report.read_predictions(path)
    assert (found.targets.dtype, found.probabilities.dtype, len(found)) == (bool, np.float32, 4)
    assert (found.targets == TARGETS).all()
    assert (found.probabilities == SURE).all()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StudioError, match="damaged"):
        tag_report.read_predictions(path)
    with pytest.raises(StudioError, match="no answers"):
        tag_report.read_predictions(tmp_path / "none.npz")


def test_a_perfect_figure_on_a_few_pictures_promises_nothing():
    perfect = tag_report.make_report(MANIFEST, IDS, TARGETS, TARGETS * 0.8 + 0.1, "test")
    assert (perfect["metrics"]["map"], perfect["interval"]["map"], perfect["mistakes"]) == (1.0, None, [])
