"""How good a run is, in one figure and in one sentence, whatever its task: the task says which figure leads (`engine.tasks`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.data.marks import TAGGING
from engine.tasks import TASKS
from pages.parts.wording import percent, share_range

__all__ = ["METRIC_HELP", "in_words", "metric_of", "metric_title"]

METRIC_HELP = {
    "image-classification": "Share of validation pictures, which it does not learn from, that the best model so far gets right.",
    "multi-label-classification": "How well its probabilities rank pictures with a tag above those without, on validation pictures, mean over the tags. "
    "100 % is perfect; guessing gets the share of pictures that have the tag.",
    "object-detection": "COCO's average precision on validation pictures: how well boxes are found, named and placed. 100 % is perfect, 40 % is good.",
    "instance-segmentation": "COCO's average precision of outlines on validation pictures. 100 % is perfect, 40 % is good.",
    "semantic-segmentation": "How much of their area what it marks and what is there share, mean over the classes, on validation pictures.",
}


def metric_of(task: str) -> str:
    """Return the name of the figure that decides between models of a task."""
    return TASKS[task].metric


def metric_title(task: str, metric: str | None = None) -> str:
    """Return how a figure of a task is called; the leading one by default."""
    return TASKS[task].metric_titles.get(metric or TASKS[task].metric, metric or TASKS[task].metric)


def expected(interval: Sequence[float] | None, figure: str = "") -> str:
    """Say in a sentence what to expect on new pictures; `figure` is put before the range, such as 'an AP50 of '."""
    if not interval:
        return "These pictures are too few or too easy to tell what to expect on new ones."
    return f"On new pictures of the same kind, expect {figure}**{share_range(*interval)}**."


def in_words(report: Mapping[str, Any]) -> str:
    """Say how good a model is on held-out pictures, in one sentence."""
    metrics = report["metrics"]
    if report.get("task") == TAGGING:
        interval = report["interval"]["map"]
        words = f"; on new ones expect {share_range(*interval)}" if interval else ""
        figure = f"Mean average precision {percent(metrics['map'])} on held-out pictures{words}."
        return f"{figure} All tags of {percent(metrics['exact_match'])} of them are right."
    if "points" in report:
        point, interval = report["points"]["balanced"], report["interval"].get("map_50")
        words = f" (AP50 on new ones: {share_range(*interval)})" if interval else ""
        return f"Finds {percent(point['recall'])} of the things on held-out pictures, and {percent(point['precision'])} of what it finds is right{words}."
    if "pixel_accuracy" in metrics:
        interval = report["interval"].get("miou")
        words = f"; on new ones expect {share_range(*interval)}" if interval else ""
        return f"Shares {percent(metrics['miou'])} of the area with what is there on held-out pictures{words}."
    return f"{percent(metrics['accuracy'])} right on held-out pictures; on new ones expect {share_range(*report['accuracy_interval'])}."
