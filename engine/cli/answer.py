"""What a command is, what it returns, and how lists are laid out in a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Command", "say", "share", "table"]


@dataclass(frozen=True)
class Answer:
    """`value` is the one JSON object of --json, `text` the same for people, `code` the exit code."""

    value: dict[str, Any]
    text: str
    code: int = 0


@dataclass(frozen=True)
class Command:
    """One row of the table of commands."""

    name: str
    words: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Answer]


def say(text: str) -> None:
    """Tell the person at the terminal how it goes; on stderr, so that stdout holds nothing but the answer."""
    print(text, file=sys.stderr, flush=True)


def share(value: float | None) -> str:
    """Write a share in 0..1 as percent."""
    return "-" if value is None else f"{100 * value:.1f}%"


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay rows out in columns."""
    cells = [[str(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
