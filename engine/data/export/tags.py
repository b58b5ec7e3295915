"""A table of pictures that have several classes each, or none: one row a picture, its classes in one cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from engine.data.export.base import Bundle, Entry, Exporter
from engine.data.formats.base import Tally
from engine.data.formats.tags import joined
from engine.data.marks import TAGGING

__all__ = ["EXPORTER"]


def _write(entries: Iterator[Entry], _classes: Sequence[str], _task: str, bundle: Bundle, _lost: Tally) -> None:
    """Write the table. `reviewed` tells pictures that show none of the classes (1) from those that nobody has looked at (0)."""
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["path", "labels", "split", "group", "reviewed"])
    for entry in entries:
        name = f"images/{entry.name}"
        bundle.picture(name, entry)
        rows.writerow([name, joined(entry.labels), entry.split or "", entry.group or "", int(entry.reviewed)])
    bundle.text("labels.csv", table.getvalue())


EXPORTER = Exporter("csv", "CSV", "a table with the classes of each picture, parted by |", (TAGGING,), _write)
