"""Folders: one a class, inside one a split where there are splits, and a table with the exact names beside them."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence

from engine.data.export.base import Bundle, Entry, Exporter
from engine.data.formats.base import Tally

__all__ = ["EXPORTER"]

_UNSORTED = "unsorted"


def _folder(label: str, taken: dict[str, str]) -> str:
    """Return a folder name for a class that every system takes; classes that would share one get a number."""
    clean = re.sub(r'[\x00-\x1f\x7f<>:"|?*\\/]', "_", label).strip(" .") or "_"
    if clean.startswith((".", "__MACOSX")) or re.fullmatch(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", clean, re.IGNORECASE):
        clean = f"_{clean}"
    number, unique = 2, clean
    while taken.setdefault(unicodedata.normalize("NFC", unique).casefold(), label) != label:
        unique, number = f"{clean}-{number}", number + 1
    return unique


def _write(entries: Iterator[Entry], classes: Sequence[str], _task: str, bundle: Bundle, _lost: Tally) -> None:
    taken = {_UNSORTED: "\0"}
    folders = {label: _folder(label, taken) for label in classes}
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["path", "label", "split", "group"])
    for entry in entries:
        name = f"{folders[entry.label] if entry.label else _UNSORTED}/{entry.name}"
        if entry.split:
            name = f"{entry.split}/{name}"
        bundle.picture(name, entry)
        rows.writerow([name, entry.label or "", entry.split or "", entry.group or ""])
    bundle.text("labels.csv", table.getvalue())


EXPORTER = Exporter("folders", "Folders", "one folder a class, and a table of all pictures", ("image-classification",), _write)
