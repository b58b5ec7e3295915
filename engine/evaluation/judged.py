"""A finished run as comparing sees it, whatever its task: how good its answer on each picture is, and what it said, by the picture's content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import workspace
from engine.evaluation import tag_report, tags
from engine.evaluation.metrics import Floats
from engine.evaluation.report import read_predictions
from engine.evaluation.tags import Bools
from engine.export.metadata import TAGGING
from engine.runs import Run

__all__ = ["Judged", "load", "support"]

_LEADING = {"object-detection": "map", "instance-segmentation": "map", "semantic-segmentation": "miou"}
"""The figure that leads a task with drawn labels; sorting is led by its accuracy, tagging by its mean average precision."""


@dataclass(frozen=True)
class Judged:
    """One run and its answers on its held-out pictures, by their sha256.

    Attributes:
        score: the task's leading figure; interval: where it lies on new pictures, 95 %, None where that is not known.
        quality: how good each answer is, 0..1; shades: whether there is anything between wrong and right.
        truth: what must be the same for two runs to have had the same question; answer: what was said, and sure: how surely.
        class_metric: the figure by which classes are compared.
        figure: gives the leading figure [D] on pictures named by their content [N], each counted as often as [D, N] says, where that figure is
            no mean over pictures and so their quality does not say it; figure_title: what it is called.
    """

    run: Run
    report: Mapping[str, Any]
    version: Mapping[str, Any]
    score: float
    interval: tuple[float, float] | None
    quality: Mapping[str, float]
    truth: Mapping[str, str]
    answer: Mapping[str, str]
    sure: Mapping[str, float]
    class_metric: str
    shades: bool
    figure: Callable[[Sequence[str], NDArray[Any]], Floats] | None = None
    figure_title: str = ""


def load(run: Run, report: Mapping[str, Any]) -> Judged:
    """Return a finished run as comparing sees it."""
    version = workspace.read_json(run.path("version.json"))
    if report["task"] == TAGGING:
        return _tagged(run, report, version)
    return _drawn(run, report, version) if report["task"] in _LEADING else _sorted(run, report, version)


def support(row: Mapping[str, Any]) -> int:
    """Return how many examples a row of a report's classes rests on: pictures, things or pixels."""
    return int(row.get("support", row.get("count", row.get("pixels", 0))))


def _sorted(run: Run, report: Mapping[str, Any], version: Mapping[str, Any]) -> Judged:
    predictions = read_predictions(run.path("predictions.npz"))
    content = {item["id"]: item["sha256"] for item in version["items"]}
    rows = {content[item]: row for row, item in enumerate(predictions.item_ids.tolist()) if item in content}
    names = report["classes"]
    return Judged(
        run,
        report,
        version,
        score=report["metrics"]["accuracy"],
        interval=tuple(report["accuracy_interval"]),
        quality={sha: float(predictions.predicted[row] == predictions.labels[row]) for sha, row in rows.items()},
        truth={sha: names[int(predictions.labels[row])] for sha, row in rows.items()},
        answer={sha: names[int(predictions.predicted[row])] for sha, row in rows.items()},
        sure={sha: float(predictions.probabilities[row].max()) for sha, row in rows.items()},
        class_metric="f1",
        shades=False,
    )


def _tagged(run: Run, report: Mapping[str, Any], version: Mapping[str, Any]) -> Judged:
    found, names = tag_report.read_predictions(run.path("predictions.npz")), report["classes"]
    content = {item["id"]: item["sha256"] for item in version["items"]}
    rows = {content[item]: row for row, item in enumerate(found.item_ids.tolist()) if item in content}
    said_NK = tags.decided(found.probabilities, np.array(report["thresholds"]))
    quality_N = tags.picture_f1(found.targets, said_NK)
    interval = report["interval"]["map"]

    def listed(shown_K: Bools) -> str:
        return ", ".join(names[place] for place in np.flatnonzero(shown_K)) or "none"

    def figure(pictures: Sequence[str], counts_DN: NDArray[Any]) -> Floats:
        places = [rows[sha] for sha in pictures]
        return tags.resampled(found.targets[places], found.probabilities[places], counts_DN)

    quality = {sha: float(quality_N[row]) for sha, row in rows.items()}
    return Judged(
        run,
        report,
        version,
        score=report["metrics"]["map"],
        interval=tuple(interval) if interval else None,
        quality=quality,
        truth={sha: listed(found.targets[row]) for sha, row in rows.items()},
        answer={sha: listed(said_NK[row]) for sha, row in rows.items()},
        sure=quality,
        class_metric="ap",
        shades=True,
        figure=figure,
        figure_title="mean average precision",
    )


def _drawn(run: Run, report: Mapping[str, Any], version: Mapping[str, Any]) -> Judged:
    entries = {item["id"]: item for item in version["items"]}
    rows = [(entries[item], value) for item, value in zip(report["per_picture"]["items"], report["per_picture"]["quality"], strict=True) if item in entries]
    quality = {entry["sha256"]: float(value) for entry, value in rows}
    metric = _LEADING[report["task"]]
    interval = report["interval"].get(metric)
    return Judged(
        run,
        report,
        version,
        score=report["metrics"][metric] or 0.0,
        interval=tuple(interval) if interval else None,
        quality=quality,
        truth={entry["sha256"]: _labels(entry, version["classes"]) for entry, _ in rows},
        answer={sha: f"{value:.0%}" for sha, value in quality.items()},
        sure=quality,
        class_metric="iou" if metric == "miou" else "f1",
        shades=True,
    )


def _labels(entry: Mapping[str, Any], classes: list[str]) -> str:
    """Say what is drawn in a picture, so that a redrawn picture is another question."""
    counts: dict[str, int] = {}
    for mark in entry["marks"]:
        counts[classes[mark["class"]]] = counts.get(classes[mark["class"]], 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
