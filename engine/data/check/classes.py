"""Checks of the classes as a whole: enough examples of each, and none drowned by another."""

from __future__ import annotations

from collections.abc import Mapping

from engine.data.check.findings import Case, Finding

__all__ = ["classes_wrong"]

_NEEDED, _GOOD = 3, 20
_IMBALANCE = 10.0


def classes_wrong(counts: Mapping[str, int], *, needed: int = _NEEDED) -> list[Finding]:
    """Return the classes with few examples, and those far rarer than the largest.

    Args:
        counts: class -> examples that are used.
        needed: with fewer, training is refused: then the find is red.
    """
    few = [Case(name, seen=name, words=_has(count)) for name, count in sorted(counts.items(), key=lambda pair: pair[1]) if count < _GOOD]
    severe = any(count < needed for count in counts.values())
    largest = max(counts.values(), default=0)
    rare = [
        Case(name, seen=name, words=f"{largest / max(1, count):.0f} times rarer")
        for name, count in sorted(counts.items(), key=lambda pair: pair[1])
        if 0 < count < largest / _IMBALANCE
    ]
    return [Finding.of("few", few, severe=severe), Finding.of("balance", rare)]


def _has(count: int) -> str:
    return "no example" if not count else "1 example" if count == 1 else f"{count} examples"
