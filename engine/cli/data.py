"""Commands on projects and pictures."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.cli.answer import Answer, say, table
from engine.errors import StudioError

__all__ = ["export_data", "export_data_options", "import_options", "import_pictures", "projects", "projects_options"]


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
    from engine.data.marks import TASK_KINDS

    parser.add_argument("path", type=Path, help="a folder, an archive (zip, tar), a label file beside its pictures, or one picture")
    parser.add_argument("--project", required=True, metavar="NAME", help="made if there is none of that name")
    parser.add_argument("--task", choices=list(TASK_KINDS), help="of a project that is made now; without it the labels decide")
    parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="give a class another name, or merge it into one; may be repeated")
    parser.add_argument("--drop", action="append", default=[], metavar="CLASS", help="leave a class out; may be repeated")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--in-place", dest="in_place", action="store_const", const=True, help="leave the pictures where they are")
    where.add_argument("--copy", dest="in_place", action="store_const", const=False, help="copy them into the workspace")


def import_pictures(given: argparse.Namespace) -> Answer:
    """Take pictures and their labels into a project, which is made if it does not exist."""
    from engine.data import importing, items

    if not given.path.exists():
        raise StudioError(f"there is no '{given.path}'", "Give a folder or an archive of pictures.")
    mapping = _mapping(given.map, given.drop)
    project = _found_or_made(given.project, given.task)
    words = {"earlier": "pictures of an earlier import looked through", "enter": "pictures read", "look": "pictures, which are in, looked through"}
    now: importing.Stage = "enter"

    def stage(begun: importing.Stage) -> None:
        nonlocal now
        now = begun

    report = _progress(lambda: words[now])
    found = importing.import_path(project.id, given.path.absolute(), in_place=given.in_place, mapping=mapping, task=given.task, report=report, stage=stage)
    classes = items.classes(project.id)
    value = {"project": {"id": project.id, "name": project.name}, **dataclasses.asdict(found)}
    lines = [
        f"{found.added} pictures added to '{project.name}', which has {len(classes)} classes: {', '.join(classes[:12])}{' ...' if len(classes) > 12 else ''}.",
        f"Found: {found.format}, {found.labels:,} labels. The project's task is {found.task}.",
    ]
    if found.duplicates:
        lines.append(f"{found.duplicates} were there already.")
    lines += [f"note: {problem}" for problem in found.problems]
    lines += [f"skipped {each.name}: {each.reason}" for each in found.skipped[:20]]
    if len(found.skipped) > 20:
        lines.append(f"... and {len(found.skipped) - 20} more skipped.")
    return Answer(value, "\n".join(lines))


def _mapping(renamed: list[str], dropped: list[str]) -> dict[str, str | None]:
    mapping: dict[str, str | None] = dict.fromkeys(dropped)
    for pair in renamed:
        old, sign, new = pair.partition("=")
        if not sign or not old or not new:
            raise StudioError(f"'{pair[:80]}' says no new name", "Write --map old=new.")
        mapping[old] = new
    return mapping


def _progress(words: Callable[[], str]) -> Callable[[int, int], None]:
    said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 2:
            said = time.monotonic()
            say(f"{done:,} of {total:,} {words()}")

    return report


def export_data_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `export-data` takes."""
    parser.add_argument("--project", required=True, metavar="NAME", help="its name or id")
    parser.add_argument(
        "--format",
        required=True,
        choices=("coco", "yolo", "voc", "folders", "masks", "csv"),
        help="folders for classes of whole pictures, csv for several a picture",
    )
    parser.add_argument("--labels-only", action="store_true", help="leave the pictures out")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="the zip to write")


def export_data(given: argparse.Namespace) -> Answer:
    """Write a project's pictures and labels to a zip that other tools read."""
    from engine.data import export
    from engine.data import projects as store

    project = store.find(given.project)
    out = given.output.absolute()
    if not out.parent.is_dir():
        raise StudioError(f"there is no folder '{out.parent}'", "Make it first, or give another place.")
    made = export.export(project.id, given.format, out, pictures=not given.labels_only, report=_progress(lambda: "pictures"))
    lines = [f"{made.pictures} pictures with {made.labels:,} labels written to {given.output} ({made.bytes / 1e6:.1f} MB)."]
    lines += [f"not held by this format: {words}" for words in made.lost]
    return Answer({"project": {"id": project.id, "name": project.name}, "file": str(out), **dataclasses.asdict(made)}, "\n".join(lines))


def _found_or_made(name: str, task: str | None) -> Any:
    from engine.data import projects as store

    known = {name for each in store.list_projects() for name in (each.id, each.name)}
    if name not in known:
        return store.create(name, task or "image-classification")
    project = store.find(name)
    if task is not None and project.task != task:
        raise StudioError(f"the task of '{project.name}' is {project.task}, not {task}", "Leave --task out, or import into a new project.")
    return project
