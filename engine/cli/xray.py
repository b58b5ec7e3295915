"""The command that looks into an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine import runs
from engine.cli import waiting
from engine.cli.answer import Answer
from engine.errors import StudioError

__all__ = ["xray", "xray_options"]


def xray_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `xray` takes."""
    parser.add_argument("file", metavar="FILE.onnx", type=Path)
    parser.add_argument("--graph", action="store_true", help="with --json: print the whole graph too")


def xray(given: argparse.Namespace) -> Answer:
    """Say what an ONNX file is, what it can be retrained for, and where its old head would be cut off."""
    job = runs.create_job("xray", {"path": str(given.file.absolute())})
    runs.launch(job)
    waiting.wait(job)
    found = runs.result_of(job)
    if found is None:
        told = waiting.outcome(job)
        raise StudioError(told["problem"] or f"the X-ray was {told['state']}", told["remedy"] or "Try again.")
    value = found if given.graph else {key: item for key, item in found.items() if key != "graph"}
    return Answer(value, "\n".join(_lines(found)))


def _lines(row: dict[str, Any]) -> list[str]:
    cut, parity, uses = row["cut"], row["parity"], [use["task"] for use in row["uses"] if use["possible"]]
    shown = ", ".join(f"{item['name']} {'x'.join(str(size or '?') for size in item['shape'])} {item['dtype']}" for item in row["inputs"])
    lines = [
        f"{row['file']}: {row['nodes']} operators, opset {row['opset']}, written by {row['producer']}, {row['bytes'] / 1e6:.1f} MB",
        f"takes {shown}",
        f"{row['parameters']['total']:,} weights can learn" if row["trainable"] else f"cannot be trained itself: {'; '.join(row['why'])}. A new head can be.",
        f"can be retrained for: {', '.join(uses) or 'nothing here'}",
        f"cut: {cut['value']} ({cut['features']} features), because {cut['reason']}",
    ]
    if parity.get("max_rel") is not None:
        lines.append(f"largest difference from ONNX Runtime: {parity['max_rel']:.1e} of the largest output")
    return [*lines, *(f"note: {note}" for note in row["notes"])]
