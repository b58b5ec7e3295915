"""What can stand on a backbone: heads for sorting pictures, architectures for finding and outlining things. No torch here."""

from __future__ import annotations

from pathlib import Path

from engine.errors import StudioError
from engine.models.catalogue import HEADS, Backbone, Start
from engine.models.dense.table import ARCHITECTURES

__all__ = ["file_start", "of", "title"]


def of(task: str) -> tuple[str, ...]:
    """Return what can stand on a backbone for a task, the usual one first: heads, or architectures."""
    found = tuple(row.name for row in ARCHITECTURES.values() if row.task == task)
    return found or tuple(row.key for row in HEADS)


def title(top: str, row: Backbone, task: str | None) -> str:
    """Return what a head or architecture is called on a backbone.

    Raises:
        StudioError: if there is none of that name, or it does not go with the task or the backbone.
    """
    heads = {known.key: known for known in HEADS}
    if top not in heads and top not in ARCHITECTURES:
        raise StudioError(f"there is no head '{top}'", f"Use one of {', '.join((*heads, *ARCHITECTURES))}, as in linear/{row.name}.")
    if task is not None and top not in of(task):
        raise StudioError(f"'{top}' is not made for this task ({task})", f"Use one of {', '.join(of(task))}, as in {of(task)[0]}/{row.name}.")
    if top in heads:
        return f"{heads[top].title.lower()} head"
    if (reason := ARCHITECTURES[top].takes(row)) is not None:
        raise StudioError(reason, f"Choose another backbone for {ARCHITECTURES[top].title}, or another architecture for {row.title}.")
    return ARCHITECTURES[top].title


def file_start(start: str, task: str | None) -> Start:
    """Resolve an ONNX file, with an architecture before it where the task takes one: what stands before the first slash, unless that is a folder."""
    top, _, rest = start.partition("/")
    usual = "" if task is None or of(task)[0] in (head.key for head in HEADS) else of(task)[0]
    if rest and top in ARCHITECTURES and not Path(start).exists():
        if task is not None and top not in of(task):
            raise StudioError(f"'{top}' is not made for this task ({task})", f"Use one of {', '.join(of(task))}.")
    else:
        top, rest = usual, start
    key = f"{top}/{rest}" if top else rest
    return Start("onnx", key, top, "", "", Path(rest).name, "as stated by the file's owner", f"the ONNX file {Path(rest).name}")
