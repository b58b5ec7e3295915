"""The words of a deploy folder: model card and README, filled in from what a run knows. Writing the zip is left to `engine.export.folder`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from engine.export.metadata import About
from engine.recipe import Recipe, usual

__all__ = ["FEW_IN_A_CLASS", "FEW_TEST_PICTURES", "HELD", "TEMPLATES", "cell", "command", "filled", "limits", "listed", "model_card", "origins", "readme"]

TEMPLATES = Path(__file__).with_name("templates")

HELD = {
    "test": "test pictures that it never saw while learning",
    "val": "validation pictures (they also chose the best epoch, so the figures are a little too good)",
    "train": "the pictures it learned from, since no others were kept: on new ones it is worse",
}
"""What is said of the pictures a model was measured on, by split."""

FEW_TEST_PICTURES = 100
FEW_IN_A_CLASS = 30


def readme(title: str, about: About, purpose: str = "", outputs: str = "") -> str:
    """Return README.md. `purpose` and `outputs` say what the model is for and what it gives, if not one class a picture."""
    row, purpose = about.preprocessing, purpose or f"sort pictures into {len(about.labels)} classes"
    size, short = row.image_size, round(row.image_size / row.crop_share)
    centre = f"take the picture's central square, resize it to {short} px a side ({row.interpolation}, antialiased), cut out the centre\n{size} x {size} px"
    stretched = f"resize the whole picture to {size} x {size} px, whatever its shape ({row.interpolation}, antialiased)"
    words = {"size": size, "steps": stretched if row.fit == "stretch" else centre}
    return filled("README.md", title=title, purpose=purpose, outputs=outputs and f"\n{outputs}", class_words=listed(about.labels), **words)


def model_card(title: str, about: About, report: Mapping[str, Any], version: Mapping[str, Any], recipe: Recipe, parity: Mapping[str, Any], data: str) -> str:
    """Return MODEL_CARD.md.

    Args:
        data: the project's name, for the command that makes the model again.
    """
    figures, (low, high) = report["metrics"], report["accuracy_interval"]
    return filled(
        "MODEL_CARD.md",
        title=title,
        n_classes=len(about.labels),
        class_words=listed(about.labels),
        n_held=report["n"],
        held_words=HELD[report["split"]],
        accuracy=f"{figures['accuracy']:.1%}",
        low=f"{low:.1%}",
        high=f"{high:.1%}",
        macro_f1=f"{figures['macro_f1']:.3f}",
        top5=f"{figures['top5_accuracy']:.1%}" if len(about.labels) > 5 else "says nothing with 5 classes or fewer",
        loss=f"{figures['loss']:.3f}",
        ece=f"{figures['ece']:.3f}",
        calibration_words=_calibration(report["calibration"], report["n"]),
        class_rows="\n".join(
            f"| {cell(row['name'])} | {row['precision']:.1%} | {row['recall']:.1%} | {row['f1']:.3f} | {row['support']} |" for row in report["per_class"]
        ),
        confused=_confused(report),
        data_rows=_data_rows(version),
        limits=limits(report, about, "A picture of anything else still gets one of these names, sometimes with a high percentage."),
        **origins(about, version, recipe, parity, data),
    )


def origins(about: About, version: Mapping[str, Any], recipe: Recipe, parity: Mapping[str, Any], data: str) -> dict[str, Any]:
    """Return what every card says of where a model comes from, how it was checked and how to make it again."""
    return {
        "graft_version": about.origin.get("graft_version", "unknown"),
        "created": str(about.origin.get("created", ""))[:10],
        "megabytes": f"{parity.get('bytes', 0) / 1e6:.1f}",
        "opset": parity.get("opset", "?"),
        "n_items": len(version["items"]),
        "version_id": str(version["id"])[:12],
        "start": about.origin.get("starting_point", recipe.start),
        "licence": about.origin.get("licence") or "not stated",
        "parity_n": parity.get("n", 0),
        "parity_abs": f"{parity.get('max_abs', 0):.1e}",
        "latency": f"{parity.get('latency_ms', 0):.1f}",
        "threads": parity.get("threads", "?"),
        "command": command(recipe, data),
        "seed": recipe.seed,
    }


def command(recipe: Recipe, project: str) -> str:
    """Return the shell command that trains with this recipe."""
    plain = usual(recipe.task, recipe.preset)
    shown = {key: value for key, value in recipe.model_dump().items() if key not in ("start", "preset", "name", "task")}
    own = {key: value for key, value in shown.items() if value != plain[key] or key == "seed"}
    sets = [f"--set {shlex.quote(f'{key}={str(value).lower() if isinstance(value, bool) else value}')}" for key, value in own.items()]
    start = [f"--project {shlex.quote(project)}", f"--start {shlex.quote(recipe.start)}", f"--preset {recipe.preset}"]
    return " ".join(["python -m engine train", *start, *sets, "--wait"])


def filled(name: str, **words: Any) -> str:
    """Return a template with its words filled in."""
    return Template((TEMPLATES / name).read_text()).substitute(words)


def listed(names: Sequence[str], most: int = 12) -> str:
    """Name names, and how many more there are."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def cell(text: str) -> str:
    """Return a text that can stand in a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _calibration(calibration: Mapping[str, Any], n: int) -> str:
    error, temperature = calibration["ece"], calibration["temperature"]
    if n < FEW_TEST_PICTURES:
        return f"{n} pictures are too few to say how far its percentages can be trusted."
    if error < 0.03:
        return "Its percentages can be taken at their word."
    lean = "too sure of itself" if temperature > 1 else "less sure than it could be"
    return f"Its percentages are off by {100 * error:.0f} points on average: it is {lean}. Dividing the logits by {temperature:.2f} corrects that."


def _confused(report: Mapping[str, Any], most: int = 5) -> str:
    names, table = report["classes"], report["confusion"]
    cells = sorted(((count, i, j) for i, row in enumerate(table) for j, count in enumerate(row) if i != j and count), reverse=True)
    return "\n".join(f"- {names[i]} taken for {names[j]}: {count} of {sum(table[i])}" for count, i, j in cells[:most]) or "- none of the held-out pictures"


def _data_rows(version: Mapping[str, Any]) -> str:
    counts = Counter((item["label"], item["split"]) for item in version["items"])
    rows = enumerate(version["classes"])
    return "\n".join(f"| {cell(name)} | {counts[i, 'train']} | {counts[i, 'val']} | {counts[i, 'test']} |" for i, name in rows)


def limits(report: Mapping[str, Any], about: About, unknown: str) -> str:
    """Say plainly what the model is not to be trusted with; `unknown`: what it makes of things it does not know."""
    size = f"{about.preprocessing.image_size} x {about.preprocessing.image_size}"
    seen, lost = f"the centre of the picture at {size}", "What is small or near the edge may be lost."
    if about.preprocessing.fit == "stretch":
        seen, lost = f"the whole picture, pressed into {size}", "What is only a few pixels large there is lost."
    said = [
        f"It knows {len(about.labels)} classes and nothing else. {unknown}",
        "It was measured on pictures like those it learned from. Other cameras, light, backgrounds or places can make it much worse: try it on your own first.",
        f"It sees {seen} pixels. {lost}",
    ]
    if report["n"] < FEW_TEST_PICTURES:
        said.append(f"It was measured on {report['n']} pictures only, so its figures are rough: mind the interval above.")
    few = [row["name"] for row in report["per_class"] if row["support"] < FEW_IN_A_CLASS]
    if few:
        said.append(f"Fewer than {FEW_IN_A_CLASS} held-out pictures stand behind the figures of: {listed(few)}.")
    weak = [f"{row['name']} ({row['recall']:.0%} found)" for row in report["per_class"] if row["support"] and row["recall"] < 0.7]
    if weak:
        said.append(f"It often misses: {listed(weak)}.")
    said.append("It was not tested for fairness, nor against pictures made to fool it. Do not let it decide alone where a mistake can hurt somebody.")
    return "\n".join(f"- {line}" for line in said)
