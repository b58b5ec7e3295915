"""Commands on what training can start from."""

from __future__ import annotations

import argparse
import time

from engine.cli.answer import Answer, say, table
from engine.errors import StudioError

__all__ = ["download", "download_options", "starts", "starts_options"]


def starts_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `starts` takes."""
    parser.add_argument("query", nargs="?", default="", help="words to look for")
    parser.add_argument("--task", default="image-classification")
    parser.add_argument("--weights", choices=("packaged", "here", "downloadable", "absent"), help="only backbones whose weights are there")
    parser.add_argument("--all", action="store_true", help="list every backbone, not only the first fifty")


def starts(given: argparse.Namespace) -> Answer:
    """List backbones, heads and ready models."""
    from engine.models import catalogue, published, tops
    from engine.models.dense.table import ARCHITECTURES
    from engine.tasks import TASKS

    if given.task not in TASKS:
        raise StudioError(f"there is no task '{given.task}'", f"Choose one of {', '.join(TASKS)}.")
    backbones = catalogue.backbones(given.query, weights=given.weights)
    shown = backbones if given.all else backbones[:50]
    rows = [
        {
            "start": row.name,
            "title": row.title,
            "params_m": row.params_m,
            "image_size": row.image_size,
            "accuracy": row.accuracy,
            "accuracy_source": row.accuracy_source,
            "weights": row.weights,
            "licence": row.licence,
            "images_per_s": catalogue.measured_speed(row.name),
        }
        for row in shown
    ]
    ready = [
        {"start": f"ready/{entry.key}", "title": entry.title, "backbone": entry.backbone, "licence": entry.licence} for entry in catalogue.optimized(given.task)
    ]
    ready += [
        {"start": f"ready/{row.key}", "title": row.title, "backbone": row.hub or row.place, "licence": row.licence}
        for row in published.list_published(given.task)
    ]
    titles = {head.key: head.title for head in catalogue.HEADS} | {row.name: row.title for row in ARCHITECTURES.values()}
    heads = [{"head": name, "title": titles[name]} for name in tops.of(given.task)]
    value = {"task": given.task, "backbones": rows, "found": len(backbones), "heads": heads, "ready": ready}
    columns = ("start", "title", "params_m", "image_size", "accuracy", "weights", "licence")
    text = table(columns, [[row[column] if row[column] is not None else "-" for column in columns] for row in rows])
    more = f"\n{len(backbones) - len(shown)} more; narrow the search, or add --all" if len(backbones) > len(shown) else ""
    return Answer(value, f"{text}{more}\n\nheads: {', '.join(head['head'] for head in heads)}\nready models: {', '.join(row['start'] for row in ready)}")


def download_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `download` takes."""
    parser.add_argument("backbone", help="a backbone, or ready/NAME for a finished model")
    parser.add_argument("--accept-licence", action="store_true", help="of a finished model: say once that you accept its licence")


def download(given: argparse.Namespace) -> Answer:
    """Fetch a backbone's pretrained weights, or a finished model."""
    from engine.models import published, weights

    if given.accept_licence and given.backbone.startswith("ready/"):
        published.accept(given.backbone)
    said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 2:
            said = time.monotonic()
            say(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB")

    path = (weights.download_published if given.backbone.startswith("ready/") else weights.download)(given.backbone, report=report)
    return Answer({"backbone": given.backbone, "file": str(path)}, f"{path}")
