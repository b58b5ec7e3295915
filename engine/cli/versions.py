"""Commands on the versions of a data set."""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

from engine.cli.answer import Answer, table

__all__ = ["versions", "versions_options"]


def versions_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `versions` takes."""
    parser.add_argument("--project", required=True, metavar="NAME")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--diff", nargs=2, metavar=("BEFORE", "AFTER"), help="say what changed; a version's id, the first letters of it, its name, or 'now'")
    what.add_argument("--save", metavar="NAME", nargs="?", const="", help="keep the data as they are now, under that name if one is given")
    what.add_argument("--restore", metavar="VERSION", help="put the labels of a version in the place of today's")


def versions(given: argparse.Namespace) -> Answer:
    """List, compare, save or restore versions."""
    from engine import runs
    from engine.data import changes, projects, restoring
    from engine.data import versions as store

    project = projects.find(given.project)
    if given.save is not None:
        kept = store.freeze(project.id)
        if given.save:
            store.name_version(project.id, kept["id"], given.save)
        return Answer({"version": kept["id"], "pictures": len(kept["items"])}, f"Version {kept['id'][:8]} holds {len(kept['items'])} pictures.")
    if given.restore:
        version = store.find(project.id, given.restore)
        count = restoring.restore_labels(project.id, version.id)
        return Answer({"version": version.id, "changed": count}, f"{count} pictures have the labels of version {version.short} again.")
    if given.diff:
        before, after = (store.now(project.id) if one == "now" else store.load(project.id, store.find(project.id, one).id) for one in given.diff)
        return _told(changes.difference(before, after), before["id"], after["id"])
    used = runs.by_version(project.id)
    rows = store.list_versions(project.id)
    value = {"versions": [{**dataclasses.asdict(one), "runs": [run.id for run in used.get(one.id, [])]} for one in rows]}
    if not rows:
        return Answer(value, "There is no version yet. One is made when a run starts, or with --save.")
    moments = [time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created)) for one in rows]
    lines = [(one.short, one.name, when, one.pictures, " ".join([run.id for run in used.get(one.id, [])])) for one, when in zip(rows, moments, strict=True)]
    return Answer(value, table(("id", "name", "made", "pictures", "runs"), lines))


def _told(found: Any, before: str, after: str) -> Answer:
    value = {"before": before, "after": after, "counts": found.counts(), **{kind: [dataclasses.asdict(one) for one in getattr(found, kind)] for kind in _KINDS}}
    lines = [", ".join(f"{count} {kind}" for kind, count in found.counts().items())]
    for kind in _KINDS:
        rows = getattr(found, kind)
        lines += [f"{kind} {one.name}: {' -> '.join(filter(None, (one.before, one.after)))}" for one in rows[:20]]
        if len(rows) > 20:
            lines.append(f"... and {len(rows) - 20} more {kind}")
    return Answer(value, "\n".join(lines))


_KINDS = ("added", "removed", "relabelled", "moved")
