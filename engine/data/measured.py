"""A picture's size as a viewer shows it. Nothing heavy is imported here: a helper process that is started at each import needs it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_PIXELS", "Checked", "as_shown"]

MAX_PIXELS = 120_000_000
"""A larger picture is refused from its header alone: decoding 120 megapixels already takes 360 MB."""


@dataclass(slots=True, unsafe_hash=True)  # frozen, each would take five times as long to make; nobody changes one
class Checked:
    """A picture that was measured: its suffix by content, its size in pixels as a viewer shows it, and how it is turned (EXIF, 1 to 8)."""

    suffix: str
    width: int
    height: int
    turn: int = 1


def as_shown(suffix: str, width: int, height: int, turn: object) -> Checked:
    """Return a picture as a viewer shows it, from its size before it is turned and what EXIF says of the turn."""
    known = turn if isinstance(turn, int) and 1 < turn < 9 else 1
    return Checked(suffix, height, width, known) if known > 4 else Checked(suffix, width, height, known)
