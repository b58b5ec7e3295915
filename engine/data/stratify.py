"""Dividing pictures between training, validation and test so that every class is divided alike, and what belongs together stays together.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data"): the rarest class is divided
first, each unit going where its classes are missed most. What is missed is counted by squares over the quota, so that a large group is not
put where one picture was missing. Knows numbers only; which pictures form a unit is for `splits`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["NAMES", "Unit", "divide", "quota"]

NAMES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Unit:
    """Pictures that are placed together: a group, near duplicates, or one alone.

    Attributes:
        order: decides who comes first among equals; made from content and seed.
        classes: class -> how many of the unit's pictures show it; pictures that show nothing count for class 0.
        place: where the unit must go, because a part of it is there already.
    """

    order: bytes
    classes: Mapping[int, int]
    place: str | None = None


def quota(total: int, shares: Mapping[str, float], there: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return how many of a class's pictures each split should have: at least one for validation, then test, after one to train on.

    `there` counts those that have their place and keep it.

    >>> quota(40, {"val": 0.15, "test": 0.15})
    {'train': 28, 'val': 6, 'test': 6}
    >>> quota(2, {"val": 0.15, "test": 0.15})
    {'train': 1, 'val': 1, 'test': 0}
    """
    left = max(total - 1, 0)
    found = {"train": 0, "val": 0, "test": 0}
    for name in ("test", "val"):
        share = shares.get(name, 0.0)
        wanted = max(round(total * share), 1) if share > 0 and (name == "val" or total > 2) else 0
        found[name] = max(min(wanted, left), there.get(name, 0) if there else 0)
        left = max(left - found[name], 0)
    found["train"] = max(total - found["val"] - found["test"], 0)
    return found


def divide(units: Sequence[Unit], placed: Mapping[str, Mapping[int, int]], shares: Mapping[str, float]) -> list[str]:
    """Return the split of each unit.

    Args:
        units: what is to be placed.
        placed: split -> class -> pictures that are there already.
        shares: of 'val' and 'test', in 0..0.8; 0 keeps a split as it is.
    """
    totals: Counter[int] = Counter()
    for counts in (*placed.values(), *(unit.classes for unit in units)):
        totals.update(counts)
    have: dict[int, Counter[str]] = defaultdict(Counter)
    for name, counts in placed.items():
        for one, count in counts.items():
            have[one][name] += count
    found: list[str] = [""] * len(units)
    free: list[tuple[int, int, int, bytes, int]] = []
    waiting: Counter[int] = Counter()  # units still to be placed, by class
    for at, unit in enumerate(units):
        if unit.place:
            found[at] = unit.place
            _put(unit, unit.place, have)
        else:
            rarest = min(unit.classes, key=lambda one: (totals[one], one))
            free.append((totals[rarest], rarest, -sum(unit.classes.values()), unit.order, at))
            waiting.update(unit.classes.keys())
    quotas = {one: quota(total, shares, have[one]) for one, total in totals.items()}
    for _, rarest, _, _, at in sorted(free):
        unit = units[at]
        if any(waiting[one] == 1 and not have[one]["train"] and quotas[one]["train"] for one in unit.classes):
            names = ["train"]  # or nothing would be learned of that class
        else:
            names = _candidates(quotas[rarest], have[rarest], waiting[rarest], shares)
        found[at] = names[0] if len(names) == 1 else min(names, key=lambda name: _cost(unit, name, quotas, have))
        _put(unit, found[at], have)
        waiting.subtract(unit.classes.keys())
    return found


def _put(unit: Unit, name: str, have: Mapping[int, Counter[str]]) -> None:
    for one, count in unit.classes.items():
        have[one][name] += count


def _candidates(wanted: Mapping[str, int], have: Mapping[str, int], waiting: int, shares: Mapping[str, float]) -> list[str]:
    """Return where a unit may go: where its class is missing altogether, when only as many units of it are left."""
    empty = [name for name in NAMES if wanted[name] > 0 and not have[name]]
    if 0 < waiting <= len(empty):
        return empty[:waiting]
    return [name for name in NAMES if name == "train" or shares.get(name, 0.0) > 0]


def _cost(unit: Unit, name: str, quotas: Mapping[int, Mapping[str, int]], have: Mapping[int, Counter[str]]) -> float:
    """Return by how much the squared lack, over the quota, grows if the unit goes there."""
    total = 0.0
    for one, count in unit.classes.items():
        wanted = max(quotas[one][name], 0.25)
        total += count * (2 * (have[one][name] - quotas[one][name]) + count) / wanted
    return total
