"""The command that says what a picture shows: its class, its classes, or a box in it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from engine.cli.answer import Answer
from engine.errors import StudioError

if TYPE_CHECKING:
    from engine.data.items import Item

__all__ = ["label", "label_options"]


def label_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `label` takes."""
    parser.add_argument("--project", required=True, metavar="NAME")
    parser.add_argument("item", metavar="ITEM", help="a picture: its id, its name, or the end of its name")
    parser.add_argument("labels", metavar="LABEL", nargs="*", help="a class; made if it is new; several where a picture can show several things")
    parser.add_argument("--box", nargs=4, type=float, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help="where labels are drawn: add a box, in pixels")
    parser.add_argument("--none", action="store_true", help="where a picture can show several things: say that it shows none of the classes")
    parser.add_argument("--clear", action="store_true", help="take its classes, or all that is drawn, away: it waits to be labelled again")


def label(given: argparse.Namespace) -> Answer:
    """Put a picture into a class or several, or add a box to it."""
    from engine.data import items, marks, projects

    project = projects.find(given.project)
    item = items.find_item(project.id, given.item)
    drawn = "class" not in marks.TASK_KINDS[project.task]
    if project.task == marks.TAGGING:
        return _tag(given, item)
    if given.none:
        raise StudioError(f"'{project.name}' is for {project.task}, which takes no --none", "Leave it out, or write --clear.")
    if (not given.labels) != given.clear:
        raise StudioError("it takes either a class or --clear", "Write: python -m engine label --project NAME ITEM LABEL")
    if len(given.labels) > 1:
        raise StudioError(f"'{project.name}' is for {project.task}, which takes one class at a time, not {len(given.labels)}", "Give one.")
    name = given.labels[0] if given.labels else None
    if drawn != (given.box is not None) and not given.clear:
        how = "needs --box LEFT TOP RIGHT BOTTOM" if drawn else "takes no --box"
        raise StudioError(f"'{project.name}' is for {project.task}, which {how}", "Add it." if drawn else "Leave it out.")
    if drawn:
        found = [] if given.clear else [*marks.of_items([item.id])[item.id], marks.Mark(given.labels[0], "box", {"box": given.box})]
        revision = marks.replace(item.id, found, item.revision, reviewed=None)
        words = f"{item.name} has {len(found)} label{'' if len(found) == 1 else 's'}."
        return Answer({"item": item.id, "name": item.name, "label": name, "box": given.box, "labels": len(found), "revision": revision}, words)
    saved = items.set_label(item.id, name, item.revision)
    words = f"{item.name} is now '{saved.label}'." if saved.label else f"{item.name} has no class any more."
    return Answer({"item": item.id, "name": item.name, "label": saved.label, "revision": saved.revision}, words)


def _tag(given: argparse.Namespace, item: Item) -> Answer:
    """Say all that a picture shows, in the place of what was said before."""
    from engine.data import items

    if given.box is not None:
        raise StudioError("classes of whole pictures take no --box", "Leave it out.")
    if bool(given.labels) + given.none + given.clear != 1:
        raise StudioError("it takes either classes, --none or --clear", "Write: python -m engine label --project NAME ITEM LABEL LABEL")
    saved = items.set_labels(item.id, given.labels, item.revision, reviewed=not given.clear)
    shown = ", ".join(f"'{name}'" for name in saved.labels)
    words = f"{item.name} shows {shown}." if shown else f"{item.name} {'waits to be tagged' if given.clear else 'shows none of the classes'}."
    return Answer({"item": item.id, "name": item.name, "labels": list(saved.labels), "reviewed": saved.reviewed, "revision": saved.revision}, words)
