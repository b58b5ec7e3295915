"""Checks of single pictures, from how they look and how large they are: unreadable, blank, dark, blurred, tiny, huge, long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engine.data.check.facts import Facts, Picture
from engine.data.check.findings import Case, Finding, subject_of
from engine.data.check.looks import Look

__all__ = ["looks_wrong", "sizes_wrong", "unreadable"]

_COMMON = 0.2
"""What more than this share of the pictures have in common is how the data set is, not a fault of single pictures."""

_BLANKEST = 3.0
_DARKEST = 32.0
_BLURRED_Z, _BLURRED_MOST, _SPREAD_LEAST = -3.5, -1.3, 0.12
"""On photographs of clothes, of blood cells and on digits these find a Gaussian blur of 3% of the short side in 95% of the cases, and no picture as it is."""

_TINY_PX = 32
_HUGE_PIXELS, _HUGE_ANYWAY = 4_000_000, 60_000_000
_LONG = 3.0


def unreadable(faults: Mapping[int, str]) -> Finding:
    """Return the files that cannot be used, from what `looks.look_at` found wrong."""
    return Finding.of("unreadable", (Case(subject_of([one]), (one,), words) for one, words in sorted(faults.items())))


def _unless_common(key: str, found: Sequence[Case], total: int, words: str) -> Finding:
    """Return a finding; none where most pictures are so, with a remark."""
    if len(found) > _COMMON * total and len(found) > 2:
        return Finding.of(key, (), f"{len(found):,} of {total:,} pictures are {words}: it is how this data set is, so none of them stands out.")
    return Finding.of(key, found)


def looks_wrong(looks: Mapping[int, Look]) -> list[Finding]:
    """Return the pictures that are blank, very dark, or far more blurred than the others."""
    total = len(looks)
    blank = [one for one, look in looks.items() if look.contrast < _BLANKEST and look.light - look.mean < 2 * _BLANKEST]
    dark = [one for one, look in looks.items() if look.light < _DARKEST and one not in set(blank)]
    named = {one: Case(subject_of([one]), (one,)) for one in looks}
    return [
        Finding.of("blank", (named[one] for one in blank)),
        _unless_common("dark", [named[one] for one in dark], total, "very dark"),
        _unless_common("blurred", [named[one] for one in _blurred(looks, {*blank, *dark})], total, "very soft"),
    ]


def _blurred(looks: Mapping[int, Look], but: set[int]) -> list[int]:
    """Return pictures whose sharpness lies far below the median, the most blurred first."""
    ids = [one for one in looks if one not in but]
    if len(ids) < 8:  # too few to know what is usual
        return []
    sharp_N = np.array([looks[one].sharpness for one in ids])
    middle = float(np.median(sharp_N))
    spread = max(1.4826 * float(np.median(np.abs(sharp_N - middle))), _SPREAD_LEAST)
    low = np.flatnonzero((sharp_N < middle + _BLURRED_Z * spread) & (sharp_N < _BLURRED_MOST))
    return [ids[row] for row in low[np.argsort(sharp_N[low], kind="stable")]]


def sizes_wrong(facts: Facts) -> list[Finding]:
    """Return the pictures that are tiny, needlessly large, or very long."""
    pictures = list(facts.pictures.values())
    if not pictures:
        return [Finding.of(key, ()) for key in ("tiny", "huge", "shape")]
    short = float(np.median([min(one.width, one.height) for one in pictures]))
    pixels = float(np.median([one.width * one.height for one in pictures]))
    usual = float(np.median([_length(one) for one in pictures]))
    smallest = _TINY_PX if short >= 2 * _TINY_PX else short / 4

    def those(key: str, wrong: Callable[[Picture], bool], words: str) -> Finding:
        found = [Case(subject_of([one.id]), (one.id,), f"{one.width:,} × {one.height:,} pixels") for one in pictures if wrong(one)]
        return _unless_common(key, found, len(pictures), words)

    return [
        those("tiny", lambda one: min(one.width, one.height) < smallest, f"smaller than {smallest:.0f} pixels"),
        those("huge", lambda one: one.width * one.height > min(_HUGE_ANYWAY, max(_HUGE_PIXELS, 16 * pixels)), "very large"),
        those("shape", lambda one: _length(one) >= max(_LONG, 2 * usual), "very long"),
    ]


def _length(picture: Picture) -> float:
    """Return how many times the longer side is the shorter one."""
    return max(picture.width, picture.height) / max(1, min(picture.width, picture.height))
