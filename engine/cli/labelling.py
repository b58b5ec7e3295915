"""The command that says what a picture shows."""

from __future__ import annotations

import argparse

from engine.cli.answer import Answer
from engine.errors import StudioError

__all__ = ["label", "label_options"]


def label_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `label` takes."""
    parser.add_argument("--project", required=True, metavar="NAME")
    parser.add_argument("item", metavar="ITEM", help="a picture: its id, its name, or the end of its name")
    parser.add_argument("label", metavar="LABEL", nargs="?", help="a class; made if it is new")
    parser.add_argument("--box", nargs=4, type=float, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help="where labels are drawn: add a box, in pixels")
    parser.add_argument("--clear", action="store_true", help="take the class, or all that is drawn, away")


def label(given: argparse.Namespace) -> Answer:
    """Put a picture into a class, or add a box to it."""
    from engine.data import items, marks, projects

    project = projects.find(given.project)
    item = items.find_item(project.id, given.item)
    drawn = "class" not in marks.TASK_KINDS[project.task]
    if (given.label is None) != given.clear:
        raise StudioError("it takes either a class or --clear", "Write: python -m engine label --project NAME ITEM LABEL")
    if drawn != (given.box is not None) and not given.clear:
        how = "needs --box LEFT TOP RIGHT BOTTOM" if drawn else "takes no --box"
        raise StudioError(f"'{project.name}' is for {project.task}, which {how}", "Add it." if drawn else "Leave it out.")
    if drawn:
        found = [] if given.clear else [*marks.of_items([item.id])[item.id], marks.Mark(given.label, "box", {"box": given.box})]
        revision = marks.replace(item.id, found, item.revision, reviewed=None)
        words = f"{item.name} has {len(found)} label{'' if len(found) == 1 else 's'}."
        return Answer({"item": item.id, "name": item.name, "label": given.label, "box": given.box, "labels": len(found), "revision": revision}, words)
    saved = items.set_label(item.id, given.label, item.revision)
    words = f"{item.name} is now '{saved.label}'." if saved.label else f"{item.name} has no class any more."
    return Answer({"item": item.id, "name": item.name, "label": saved.label, "revision": saved.revision}, words)
