"""The words of a deploy folder for models that find or outline things: what `engine.export.card` is for those that sort pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.export import card
from engine.export.metadata import About
from engine.recipe import Recipe
from engine.tasks import TASKS

__all__ = ["model_card", "readme"]

PURPOSES = {
    "object-detection": "find things in pictures and draw a box round each",
    "instance-segmentation": "find things in pictures and outline each",
    "semantic-segmentation": "say of every place in a picture what is there",
}

_THINGS = (
    "The output `detections` is [batch, $most, 6]: x1 y1 x2 y2 in pixels of that frame, score 0..1, class; a score of 0 says that there is nothing more. "
    "Divide the corners by the factor the picture was resized by."
)
_MASKS = " The output `masks` is [batch, $most, height, width]: how surely each pixel of the frame belongs to the thing; above 0.5 it does."
_PIXELS = "The output `probabilities` is [batch, classes + 1, height, width] over that frame, the background first."


def readme(title: str, about: About) -> str:
    """Return README.md."""
    row, (height, width) = about.preprocessing, about.preprocessing.input_hw
    outputs = _PIXELS if about.task == "semantic-segmentation" else _THINGS + (_MASKS if about.task == "instance-segmentation" else "")
    return card.filled(
        "README_DRAWN.md",
        title=title,
        purpose=PURPOSES[about.task],
        class_words=card.listed(about.labels),
        interpolation=row.interpolation,
        width=width,
        height=height,
        fill=row.fill,
        outputs=outputs.replace("$most", "things"),
    )


def model_card(title: str, about: About, report: Mapping[str, Any], version: Mapping[str, Any], recipe: Recipe, parity: Mapping[str, Any], data: str) -> str:
    """Return MODEL_CARD.md; arguments as `engine.export.card.model_card`'s."""
    titles = TASKS[about.task].metric_titles
    rows = [(titles.get(key, key.replace("_", " ")), value) for key, value in report["metrics"].items() if isinstance(value, float)]
    return card.filled(
        "MODEL_CARD_DRAWN.md",
        title=title,
        purpose=PURPOSES[about.task],
        n_classes=len(about.labels),
        class_words=card.listed(about.labels),
        n_held=report["n"],
        held_words=card.HELD[report["split"]],
        figure_rows="\n".join(f"| {name} | {value:.3f} |" for name, value in rows),
        class_table=_class_table(report["per_class"]),
        data_rows=_data_rows(version),
        limits=_limits(report, about, version),
        **card.origins(about, version, recipe, parity, data),
    )


def _class_table(rows: list[Mapping[str, Any]]) -> str:
    keys = [key for key in rows[0] if key != "name"]
    lines = [f"| class | {' | '.join(key.replace('_', ' ') for key in keys)} |", "|---" * (len(keys) + 1) + "|"]
    for row in rows:
        cells = ["-" if row[key] is None else f"{row[key]:.3f}" if isinstance(row[key], float) else str(row[key]) for key in keys]
        lines.append(f"| {card.cell(str(row['name']))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _data_rows(version: Mapping[str, Any]) -> str:
    counts = Counter((mark["class"], item["split"]) for item in version["items"] for mark in item["marks"])
    rows = enumerate(version["classes"])
    return "\n".join(f"| {card.cell(name)} | {counts[i, 'train']} | {counts[i, 'val']} | {counts[i, 'test']} |" for i, name in rows)


def _limits(report: Mapping[str, Any], about: About, version: Mapping[str, Any]) -> str:
    """Say plainly what the model is not to be trusted with."""
    height, width = about.preprocessing.input_hw
    said = [
        f"It knows {len(about.labels)} classes and nothing else; other things are passed over, or taken for one of these.",
        "It was measured on pictures like those it learned from. Other cameras, light, backgrounds or places can make it much worse: try it on your own first.",
        f"It sees the whole picture at {width} x {height} pixels. What is only a few pixels large there is lost.",
    ]
    if report["n"] < card.FEW_TEST_PICTURES:
        said.append(f"It was measured on {report['n']} pictures only, so its figures are rough.")
    counts = Counter(mark["class"] for item in version["items"] if item["split"] == "train" for mark in item["marks"])
    few = [name for place, name in enumerate(version["classes"]) if counts[place] < card.FEW_IN_A_CLASS]
    if few:
        said.append(f"It learned from fewer than {card.FEW_IN_A_CLASS} examples of: {card.listed(few)}.")
    said.append("It was not tested for fairness, nor against pictures made to fool it. Do not let it decide alone where a mistake can hurt somebody.")
    return "\n".join(f"- {line}" for line in said)
