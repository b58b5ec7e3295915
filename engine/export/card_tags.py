"""The words of a deploy folder for models that tag pictures: what `engine.export.card` is for those that sort them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.export import card
from engine.export.metadata import About
from engine.recipe import Recipe
from engine.tasks import TASKS

__all__ = ["model_card", "readme"]

_OUTPUTS = (
    "Each is a probability of its own: they need not sum to 1. A class counts as shown from its threshold on; the thresholds are in the file's metadata,\n"
    "under `graft.thresholds`, in the order of the labels."
)


def readme(title: str, about: About) -> str:
    """Return README.md."""
    return card.readme(title, about, purpose=f"say which of {len(about.labels)} things a picture shows", outputs=_OUTPUTS)


def model_card(title: str, about: About, report: Mapping[str, Any], version: Mapping[str, Any], recipe: Recipe, parity: Mapping[str, Any], data: str) -> str:
    """Return MODEL_CARD.md; arguments as `engine.export.card.model_card`'s."""
    titles, interval = TASKS[about.task].metric_titles, report["interval"]["map"]
    return card.filled(
        "MODEL_CARD_TAGS.md",
        title=title,
        n_classes=len(about.labels),
        class_words=card.listed(about.labels),
        n_held=report["n"],
        held_words=card.HELD[report["split"]],
        figure_rows="\n".join(f"| {name.lower()} | {report['metrics'][key]:.3f} |" for key, name in titles.items()),
        interval_words=f"On new pictures of the same kind, expect a mean average precision from {interval[0]:.3f} to {interval[1]:.3f} (95% certain)."
        if interval
        else "These pictures are too few or too easy to say how it does on new ones.",
        class_rows="\n".join(_class_row(row) for row in report["per_class"]),
        calibration_words=_calibration(report),
        nothing=sum(not item["labels"] for item in version["items"]),
        data_rows=_data_rows(version),
        limits=card.limits(report, about, "Whatever else a picture shows is passed over, or taken for one of these."),
        **card.origins(about, version, recipe, parity, data),
    )


def _class_row(row: Mapping[str, Any]) -> str:
    ap = "-" if row["ap"] is None else f"{row['ap']:.3f}"
    shares = f"{row['precision']:.1%} | {row['recall']:.1%} | {row['f1']:.3f}"
    return f"| {card.cell(row['name'])} | {row['threshold']:.2f} | {ap} | {shares} | {row['support']} |"


def _calibration(report: Mapping[str, Any]) -> str:
    if report["n"] < card.FEW_TEST_PICTURES:
        return f"{report['n']} pictures are too few to say how far its percentages can be trusted."
    error = report["calibration"]["ece"]
    return "Its percentages can be taken at their word." if error < 0.03 else f"Its percentages are off by {100 * error:.0f} points on average."


def _data_rows(version: Mapping[str, Any]) -> str:
    counts = Counter((label, item["split"]) for item in version["items"] for label in item["labels"])
    rows = enumerate(version["classes"])
    return "\n".join(f"| {card.cell(name)} | {counts[i, 'train']} | {counts[i, 'val']} | {counts[i, 'test']} |" for i, name in rows)
