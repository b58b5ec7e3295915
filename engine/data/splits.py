"""Which pictures teach, which choose the best epoch, and which judge at the end.

The choice follows from the picture's content and the seed, class by class, so it is the same on every machine. A picture that has
its place keeps it when others are added. Where a data set brings its own test pictures, no other becomes one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from engine.data import store
from engine.data.marks import TASK_KINDS
from engine.errors import StudioError

__all__ = ["NAMES", "assign", "assign_within", "reshuffle"]

NAMES = ("train", "val", "test")
VAL = TEST = 0.15


def assign(project_id: str, val: float = VAL, test: float = TEST, seed: int = 0) -> dict[str, int]:
    """Give each labelled picture without a split its place. Return how many got which.

    Args:
        project_id: the project.
        val: share, in 0..0.8, of each class for validation.
        test: share, in 0..0.8, of each class for the final test.
        seed: another seed makes another choice.

    Raises:
        StudioError: if the shares leave nothing to train on.
    """
    with store.session() as connection:
        return assign_within(connection, project_id, val, test, seed)


def assign_within(connection: Connection, project_id: str, val: float = VAL, test: float = TEST, seed: int = 0) -> dict[str, int]:
    """Do what `assign` does, as a part of a larger transaction."""
    if not (0 <= val <= 0.8 and 0 <= test <= 0.8 and val + test <= 0.9):
        raise StudioError(f"shares of {val:g} for validation and {test:g} for test leave too little to train on", "Keep their sum at 0.9 or less.")
    items = store.items
    rows = _strata(connection, project_id)
    given = {row.split for row in rows if row.split_given}
    shares = {name: 0.0 if given & {name, "val" if name == "test" else name} else share for name, share in (("test", test), ("val", val))}
    placed: dict[int, Counter[str]] = defaultdict(Counter)
    free: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for row in rows:
        if row.split:
            placed[row.stratum][row.split] += 1
        else:
            free[row.stratum].append((hashlib.sha256(f"{seed}:{row.sha256}".encode()).digest(), row.id))
    chosen: list[dict[str, object]] = []
    for class_id, waiting in free.items():
        order = [item_id for _, item_id in sorted(waiting)]
        chosen += [{"item": item_id, "place": place} for item_id, place in zip(order, _places(len(order), placed[class_id], shares), strict=True)]
    if chosen:
        connection.execute(update(items).where(items.c.id == bindparam("item")).values(split=bindparam("place")), chosen)
    return dict(Counter(str(row["place"]) for row in chosen))


@dataclass(frozen=True)
class _Picture:
    """A labelled picture and what it is divided by: its class, or the rarest class drawn in it; 0 where it shows none."""

    id: int
    sha256: str
    split: str | None
    split_given: bool
    stratum: int


def _strata(connection: Connection, project_id: str) -> list[_Picture]:
    items, marks = store.items, store.marks
    task = connection.scalar(select(store.projects.c.task).where(store.projects.c.id == project_id))
    kinds = TASK_KINDS[str(task)]
    pairs = connection.execute(
        select(marks.c.item_id, marks.c.class_id)
        .distinct()
        .join(items, items.c.id == marks.c.item_id)
        .where(items.c.project_id == project_id, items.c.excluded.is_(False), marks.c.kind.in_(kinds), marks.c.by != "model")
    ).all()
    sizes = Counter(pair.class_id for pair in pairs)
    rarest: dict[int, int] = {}
    for item_id, class_id in sorted((pair.item_id, pair.class_id) for pair in pairs):
        if item_id not in rarest or sizes[class_id] < sizes[rarest[item_id]]:
            rarest[item_id] = class_id
    rows = connection.execute(
        select(items.c.id, items.c.sha256, items.c.split, items.c.split_given, items.c.reviewed).where(
            items.c.project_id == project_id, items.c.excluded.is_(False)
        )
    )
    empty_too = "class" not in kinds  # a picture in which a person found nothing to draw teaches too
    return [_Picture(row.id, row.sha256, row.split, row.split_given, rarest.get(row.id, 0)) for row in rows if row.id in rarest or (empty_too and row.reviewed)]


def _places(count: int, placed: Counter[str], shares: dict[str, float]) -> list[str]:
    """Return the places of `count` new pictures of one class: first what test and validation lack, then training.

    >>> _places(3, Counter(), {"test": 0.15, "val": 0.15})
    ['test', 'val', 'train']
    >>> _places(2, Counter(), {"test": 0.15, "val": 0.15})
    ['val', 'train']
    """
    total = count + sum(placed.values())
    places: list[str] = []
    left = count - (0 if placed["train"] else 1)  # a class without a training picture cannot be learned
    for name, share in shares.items():
        wanted = max(round(total * share), 1) if share > 0 else 0
        if name == "test" and total < 3:
            wanted = 0
        taken = max(0, min(wanted - placed[name], left))
        places += [name] * taken
        left -= taken
    return places + ["train"] * (count - len(places))


def reshuffle(project_id: str, val: float = VAL, test: float = TEST, seed: int = 0) -> dict[str, int]:
    """Choose anew for every picture whose place the data set did not give itself. Return how many got which."""
    items = store.items
    with store.session() as connection:
        connection.execute(update(items).where(items.c.project_id == project_id, items.c.split_given.is_(False)).values(split=None))
        return assign_within(connection, project_id, val, test, seed)
