"""Commands on projects and pictures."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from engine.cli.answer import Answer, say, table
from engine.errors import StudioError

__all__ = ["import_options", "import_pictures", "projects", "projects_options"]


def projects_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `projects` takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, words, arguments in (
        ("list", "list them (the default)", ()),
        ("create", "make an empty project", ("name",)),
        ("rename", "give a project another name", ("project", "name")),
        ("delete", "put a project away; it can be restored", ("project",)),
        ("restore", "take a deleted project back", ("project",)),
    ):
        action = actions.add_parser(name, help=words)
        for argument in arguments:
            action.add_argument(argument)
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")


def projects(given: argparse.Namespace) -> Answer:
    """List, make, rename, delete or restore projects."""
    from engine.data import projects as store

    if given.action == "create":
        made = store.create(given.name)
        return Answer({"project": dataclasses.asdict(made)}, f"Made '{made.name}'.")
    if given.action == "rename":
        project = store.find(given.project)
        store.rename(project.id, given.name)
        return Answer({"project": dataclasses.asdict(store.get(project.id))}, f"'{project.name}' is now '{given.name}'.")
    if given.action == "delete":
        project = store.find(given.project)
        store.delete(project.id)
        return Answer(
            {"project": dataclasses.asdict(project), "deleted": True}, f"Deleted '{project.name}'. Back with: python -m engine projects restore {project.id}"
        )
    if given.action == "restore":
        away = [each for each in store.list_projects(deleted=True) if given.project in (each.id, each.name)]
        if not away:
            raise StudioError(f"no deleted project is called '{given.project}'", "Give the id that 'projects delete' printed.")
        store.restore(away[0].id)
        return Answer({"project": dataclasses.asdict(store.get(away[0].id))}, f"'{away[0].name}' is back.")
    return _listed(store)


def _listed(store: Any) -> Answer:
    rows = [(project, store.summary(project.id)) for project in store.list_projects()]
    value = {
        "projects": [
            {**dataclasses.asdict(project), "pictures": summary.items, "labelled": summary.labelled, "classes": summary.classes} for project, summary in rows
        ]
    }
    if not rows:
        return Answer(value, "There is no project yet. Make one with: python -m engine import PATH --project NAME")
    return Answer(
        value, table(("id", "name", "pictures", "classes"), [(project.id, project.name, summary.items, len(summary.classes)) for project, summary in rows])
    )


def import_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `import` takes."""
    parser.add_argument("path", type=Path, help="a folder or an archive (zip, tar)")
    parser.add_argument("--project", required=True, metavar="NAME", help="made if there is none of that name")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--in-place", dest="in_place", action="store_const", const=True, help="leave the pictures where they are")
    where.add_argument("--copy", dest="in_place", action="store_const", const=False, help="copy them into the workspace")


def import_pictures(given: argparse.Namespace) -> Answer:
    """Take pictures into a project, which is made if it does not exist."""
    from engine.data import importing, items

    if not given.path.exists():
        raise StudioError(f"there is no '{given.path}'", "Give a folder or an archive of pictures.")
    project = _found_or_made(given.project)
    said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 2:
            said = time.monotonic()
            say(f"{done} of {total} pictures")

    found = importing.import_path(project.id, given.path.absolute(), in_place=given.in_place, report=report)
    classes = items.classes(project.id)
    value = {"project": {"id": project.id, "name": project.name}, **dataclasses.asdict(found)}
    lines = [
        f"{found.added} pictures added to '{project.name}', which has {len(classes)} classes: {', '.join(classes[:12])}{' ...' if len(classes) > 12 else ''}."
    ]
    if found.duplicates:
        lines.append(f"{found.duplicates} were there already.")
    lines += [f"skipped {each.name}: {each.reason}" for each in found.skipped[:20]]
    if len(found.skipped) > 20:
        lines.append(f"... and {len(found.skipped) - 20} more skipped.")
    return Answer(value, "\n".join(lines))


def _found_or_made(name: str) -> Any:
    from engine.data import projects as store

    known = {name for each in store.list_projects() for name in (each.id, each.name)}
    return store.find(name) if name in known else store.create(name)
