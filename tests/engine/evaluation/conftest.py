"""Finished runs, as their files: what compare and report read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from engine import runs, workspace
from engine.evaluation import tag_report
from engine.evaluation.report import make_report, write_predictions
from engine.recipe import recipe_from
from engine.runs import Run

CLASSES = ("boot", "hat", "shirt")


def one_hot(predicted: Sequence[int], confidence: float = 0.9) -> np.ndarray:
    """Probabilities whose highest is `confidence`, at the predicted class."""
    rest = (1 - confidence) / (len(CLASSES) - 1)
    return np.where(np.arange(len(CLASSES)) == np.array(predicted)[:, None], confidence, rest).astype(np.float32)


@pytest.fixture
def finished(home: Path) -> Callable[..., Run]:
    """Make a run with test answers: labels and predicted classes by position; `first` is the first picture's number."""

    def make(
        name: str,
        labels: Sequence[int],
        predicted: Sequence[int],
        *,
        first: int = 0,
        project: str = "p1",
        confidence: float = 0.9,
        split: str = "test",
        **settings: object,
    ) -> Run:
        numbers = range(first, first + len(labels))
        items = [
            {"id": n + 1, "sha256": hashlib.sha256(str(n).encode()).hexdigest(), "path": f"{n}.jpg", "name": f"{n}.jpg", "label": int(label), "split": split}
            for n, label in zip(numbers, labels, strict=True)
        ]
        version = {"id": f"v{first}-{len(labels)}", "task": "image-classification", "classes": list(CLASSES), "items": items}
        run = runs.create_run(project, recipe_from({"name": name, **settings}), version)
        ids, truth, probabilities = np.array([item["id"] for item in items]), np.array(labels), one_hot(predicted, confidence)
        write_predictions(run.path("predictions.npz"), ids, truth, probabilities)
        workspace.write_json(run.path("report.json"), make_report(version, ids, truth, probabilities, "test", seconds={"total": 12.0}))
        return run

    return make


@pytest.fixture
def tagged(home: Path) -> Callable[..., Run]:
    """Make a run that tags, with its answers on test pictures: what each shows [N, K] and how likely each was said to be [N, K]."""

    def make(name: str, shown: np.ndarray, sure: np.ndarray, *, first: int = 0) -> Run:
        numbers = range(first, first + len(shown))
        items = [
            {
                "id": n + 1,
                "sha256": hashlib.sha256(str(n).encode()).hexdigest(),
                "path": f"{n}.jpg",
                "name": f"{n}.jpg",
                "labels": np.flatnonzero(row).tolist(),
                "split": "test",
            }
            for n, row in zip(numbers, shown, strict=True)
        ]
        version = {"id": f"t{first}-{len(shown)}", "task": "multi-label-classification", "classes": list(CLASSES), "items": items}
        run, ids = runs.create_run("p1", recipe_from({"name": name, "task": version["task"]}), version), np.array([item["id"] for item in items])
        tag_report.write_predictions(run.path("predictions.npz"), ids, shown, sure)
        workspace.write_json(run.path("report.json"), tag_report.make_report(version, ids, shown, sure, "test", seconds={"total": 12.0}))
        return run

    return make
