"""What a project or a class may be called: any script, any emoji, but one line of visible text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from engine.errors import StudioError

__all__ = ["clean_name"]

LONGEST = 100
_TURNS_TEXT = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


@lru_cache(maxsize=4096)  # an import says few names often
def clean_name(name: str, what: str) -> str:
    """Return the name as it is kept: composed, without marks that turn the text around, spaces joined.

    Raises:
        StudioError: if nothing is left of it, it is too long, or it holds control characters.

    >>> clean_name("  two   words ", "class")
    'two words'
    """
    composed = unicodedata.normalize("NFC", "".join(mark for mark in name if mark not in _TURNS_TEXT))
    kept = " ".join(composed.split())
    if not kept:
        raise StudioError(f"a {what} needs a name", "Type at least one letter.")
    if len(kept) > LONGEST:
        raise StudioError(f"the {what} name '{kept[:30]}…' has {len(kept)} letters, more than {LONGEST}", "Choose a shorter one.")
    if any(unicodedata.category(mark) in ("Cc", "Cs") for mark in kept):
        raise StudioError(f"the {what} name {kept!r} holds a control character", "Type it again by hand.")
    return kept
