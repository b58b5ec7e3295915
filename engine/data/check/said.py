"""What is said of a whole picture, as one text that can be compared, kept in a result and put back: its class, or all its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.data.formats.tags import joined, parted

__all__ = ["changes_for", "said_of", "words_of"]

_NONE = "|"
"""It is known to show none of the classes: no names, joined, ever look like that."""


def said_of(labels: Sequence[str], reviewed: bool, *, several: bool) -> str | None:
    """Return what is said of a picture, None where nothing is.

    Args:
        labels: its classes.
        reviewed: whether these are known to be all.
        several: whether a picture can have several classes, or none.

    >>> said_of(["cat"], False, several=False), said_of(["a", "b"], True, several=True), said_of([], True, several=True), said_of([], False, several=True)
    ('cat', 'a|b', '|', None)
    """
    if not several:
        return labels[0] if labels else None
    return joined(labels) or _NONE if labels or reviewed else None


def changes_for(said: str, *, several: bool) -> dict[str, Any]:
    """Return what of a picture changes where that is to be said of it, as `fixes.edit_items` takes it."""
    return {"labels": tuple(sorted(parted(said, "|"))), "reviewed": True} if several else {"label": said}


def words_of(said: str, *, several: bool) -> str:
    """Say it as a person would read it.

    >>> words_of("a|b", several=True), words_of("|", several=True), words_of("a|b", several=False)
    ('a, b', 'none of these', 'a|b')
    """
    return ", ".join(parted(said, "|")) or "none of these" if several else said
