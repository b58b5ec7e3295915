"""A picture's size as a viewer shows it. Nothing heavy is imported here: a helper process that is started at each import needs it."""

from __future__ import annotations

__all__ = ["MAX_PIXELS", "Checked", "as_shown"]

MAX_PIXELS = 120_000_000
"""A larger picture is refused from its header alone: decoding 120 megapixels already takes 360 MB."""


class Checked:
    """A picture that was measured: its suffix by content, its size in pixels as a viewer shows it, and how it is turned (EXIF, 1 to 8).

    Written out, since to import `dataclasses` takes as long as all else that the helper process needs.
    """

    __slots__ = ("height", "suffix", "turn", "width")

    def __init__(self, suffix: str, width: int, height: int, turn: int = 1) -> None:
        self.suffix, self.width, self.height, self.turn = suffix, width, height, turn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checked) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"Checked{self._all()}"

    def _all(self) -> tuple[str, int, int, int]:
        return self.suffix, self.width, self.height, self.turn


def as_shown(suffix: str, width: int, height: int, turn: object) -> Checked:
    """Return a picture as a viewer shows it, from its size before it is turned and what EXIF says of the turn."""
    known = turn if isinstance(turn, int) and 1 < turn < 9 else 1
    return Checked(suffix, height, width, known) if known > 4 else Checked(suffix, width, height, known)
