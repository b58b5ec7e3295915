"""Which pictures teach, which choose the best epoch, and which judge at the end.

The choice follows from the pictures' content and the project's settings, so it is the same on every machine. A picture that has its place
keeps it when others are added; what belongs together, by group or because it looks nearly the same, goes to one place. Where a data set
brings its own test pictures, no other becomes one unless it looks like one of them. How classes are divided is for `stratify`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, bindparam, select, update

from engine.data import looking, store
from engine.data.check import duplicates
from engine.data.grouping import Way, grouper
from engine.data.marks import TASK_KINDS, one_each
from engine.data.stratify import NAMES, Unit, divide
from engine.errors import StudioError

__all__ = ["NAMES", "Preview", "Settings", "apply", "assign", "assign_within", "groups", "preview", "settings_of"]

_EXAMPLES = 6
_LARGEST_ALIKE = 20


class Settings(BaseModel):
    """How a project's pictures are split. Shares are of each class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(default=0.15, ge=0, le=0.8, allow_inf_nan=False, title="For validation", description="Watched while training, to keep the best moment.")
    test: float = Field(default=0.15, ge=0, le=0.8, allow_inf_nan=False, title="For the test", description="Never seen in training: the honest final score.")
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, title="Choice number", description="Another number chooses other pictures; the same number always the same."
    )
    group: Way = Field(default="none", title="What belongs together", description="Pictures that belong together are never divided between training and test.")
    pattern: str = Field(
        default="", max_length=200, title="How names look", description="{group} stands for the part that says what belongs together, * for anything."
    )


@dataclass(frozen=True)
class Preview:
    """What settings would do. `moves` counts pictures by (from, to); `by_class` counts them by class name and split; `groups` are of several pictures."""

    splits: dict[str, int]
    by_class: dict[str, dict[str, int]]
    moves: dict[tuple[str, str], int]
    given: int
    groups: int
    largest: int
    examples: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A labelled picture, the classes it shows (0 where none), and the group it is in ('' for none)."""

    id: int
    sha256: str
    split: str | None
    split_given: bool
    classes: tuple[int, ...]
    group: str
    fingerprint: str | None


def _checked(settings: Settings) -> Settings:
    if settings.val + settings.test > 0.9:
        raise StudioError(
            f"shares of {settings.val:g} for validation and {settings.test:g} for test leave too little to train on", "Keep their sum at 0.9 or less."
        )
    grouper(settings.group, settings.pattern)
    return settings


def settings_of(project_id: str) -> Settings:
    """Return how a project is split."""
    with store.session() as connection:
        return _settings(connection, project_id)


def _settings(connection: Connection, project_id: str) -> Settings:
    kept = connection.scalar(select(store.projects.c.settings).where(store.projects.c.id == project_id)) or {}
    try:
        return Settings.model_validate(kept.get("split", {}))
    except ValidationError:  # written by a newer Graft
        return Settings()


def assign(project_id: str) -> dict[str, int]:
    """Give each labelled picture that was looked at and has no split its place. Return how many got which."""
    with store.session() as connection:
        return assign_within(connection, project_id)


def assign_within(connection: Connection, project_id: str) -> dict[str, int]:
    """Do what `assign` does, as a part of a larger transaction."""
    settings = _settings(connection, project_id)
    pictures = _seen(_labelled(connection, project_id, settings))
    if all(one.split for one in pictures):
        return {}
    chosen = _decided(pictures, settings)
    _write(connection, {one.id: chosen[one.id] for one in pictures if not one.split})
    return dict(Counter(chosen[one.id] for one in pictures if not one.split))


def apply(project_id: str, settings: Settings) -> dict[str, int]:
    """Keep these settings and choose anew for every picture whose place the data set did not give itself. Return how many are where.

    Raises:
        StudioError: if the shares leave nothing to train on, or the pattern cannot be used.
    """
    _checked(settings)
    looking.finish(project_id)
    items, projects = store.items, store.projects
    with store.session() as connection:
        kept = connection.scalar(select(projects.c.settings).where(projects.c.id == project_id)) or {}
        connection.execute(update(projects).where(projects.c.id == project_id).values(settings={**kept, "split": settings.model_dump()}))
        connection.execute(update(items).where(items.c.project_id == project_id, items.c.split_given.is_(False)).values(split=None))
        pictures = _seen(_labelled(connection, project_id, settings))
        chosen = _decided(pictures, settings)
        _write(connection, {one.id: chosen[one.id] for one in pictures if not one.split})
    return dict(Counter(chosen.values()))


def preview(project_id: str, settings: Settings) -> Preview:
    """Say what `apply` would do, and change nothing.

    Raises:
        StudioError: if the shares leave nothing to train on, or the pattern cannot be used.
    """
    _checked(settings)
    looking.finish(project_id)
    with store.session() as connection:
        before = [one for one in _labelled(connection, project_id, settings) if one.split_given or one.fingerprint]
        names = dict(connection.execute(select(store.classes.c.id, store.classes.c.name).where(store.classes.c.project_id == project_id)).all())  # type: ignore[arg-type]
    free = [_Picture(one.id, one.sha256, one.split if one.split_given else None, one.split_given, one.classes, one.group, one.fingerprint) for one in before]
    chosen = _decided(free, settings)
    by_class: dict[str, Counter[str]] = defaultdict(Counter)
    for one in before:
        for class_id in one.classes:
            by_class[names.get(class_id, "")][chosen[one.id]] += 1
    sizes = Counter(one.group for one in before if one.group)
    return Preview(
        splits=dict(Counter(chosen.values())),
        by_class={name: dict(by_class[name]) for name in sorted(by_class)},
        moves=dict(Counter((one.split or "", chosen[one.id]) for one in before if one.split != chosen[one.id])),
        given=sum(one.split_given for one in before),
        groups=sum(size > 1 for size in sizes.values()),
        largest=max(sizes.values(), default=0),
        examples=dict(sizes.most_common(_EXAMPLES)),
        problems=_problems(settings, sizes, len(before), by_class),
    )


def _problems(settings: Settings, sizes: Counter[str], pictures: int, by_class: dict[str, Counter[str]]) -> list[str]:
    found = []
    if settings.group != "none" and not sizes:
        where = {"folder": "no picture lies in a folder", "name": "no name fits the pattern", "table": "the imported table had no column for groups"}
        found.append(where[settings.group])
    elif settings.group != "none" and sum(sizes.values()) < pictures:
        found.append(f"{pictures - sum(sizes.values()):,} pictures are in no group and stand for themselves")
    if sizes and max(sizes.values()) > 0.5 * pictures:
        found.append("one group holds more than half of the pictures, and must go to one place as a whole")
    for name, wanted in (("val", settings.val), ("test", settings.test)):
        without = [one for one, counts in by_class.items() if one and wanted > 0 and not counts[name]]
        if without and sizes:
            words = "validation" if name == "val" else "test"
            found.append(f"{', '.join(sorted(without)[:4])}: no picture for {words}, because its groups cannot be divided")
    return found


def groups(project_id: str, settings: Settings, most: int = 12) -> dict[str, int]:
    """Return the largest groups that these settings make, with how many pictures each has."""
    _checked(settings)
    with store.session() as connection:
        return dict(Counter(one.group for one in _labelled(connection, project_id, settings) if one.group).most_common(most))


def _write(connection: Connection, places: dict[int, str]) -> None:
    if places:
        rows = [{"item": one, "place": place} for one, place in places.items()]
        connection.execute(update(store.items).where(store.items.c.id == bindparam("item")).values(split=bindparam("place")), rows)


def _labelled(connection: Connection, project_id: str, settings: Settings) -> list[_Picture]:
    items, marks = store.items, store.marks
    task = str(connection.scalar(select(store.projects.c.task).where(store.projects.c.id == project_id)))
    kinds = TASK_KINDS[task]
    pairs = connection.execute(
        select(marks.c.item_id, marks.c.class_id)
        .distinct()
        .join(items, items.c.id == marks.c.item_id)
        .where(items.c.project_id == project_id, items.c.excluded.is_(False), marks.c.kind.in_(kinds), marks.c.by != "model")
    )
    shown: dict[int, list[int]] = defaultdict(list)
    for item_id, class_id in pairs:
        shown[item_id].append(class_id)
    columns = (items.c.id, items.c.sha256, items.c.split, items.c.split_given, items.c.reviewed, items.c.name, items.c.group_name, items.c.fingerprint)
    rows = connection.execute(select(*columns).where(items.c.project_id == project_id, items.c.excluded.is_(False)))
    empty_too = not one_each(task)  # a picture in which a person found nothing teaches too
    group = grouper(settings.group, settings.pattern)
    return [
        _Picture(one, sha256, split, given, tuple(shown.get(one, (0,))), group(name, group_name), fingerprint)
        for one, sha256, split, given, reviewed, name, group_name, fingerprint in rows
        if one in shown or (empty_too and reviewed)
    ]


def _seen(pictures: list[_Picture]) -> list[_Picture]:
    """Leave out the pictures that have no place and were not looked at: a near copy of one may have a place already."""
    return [one for one in pictures if one.split or one.fingerprint]


def _decided(pictures: list[_Picture], settings: Settings) -> dict[int, str]:
    """Return the place of every picture; those that have one keep it."""
    given = {one.split for one in pictures if one.split_given}
    wanted = {"val": settings.val, "test": settings.test}
    shares = {name: 0.0 if given & {name, "val" if name == "test" else name} else share for name, share in wanted.items()}
    placed: dict[str, Counter[int]] = defaultdict(Counter)
    units: list[Unit] = []
    waiting: list[list[_Picture]] = []
    for members in _together(pictures):
        free = [one for one in members if not one.split]
        there = Counter(one.split for one in members if one.split)
        for one in members:
            if one.split:
                placed[one.split].update(one.classes)
        if free:
            classes = Counter(class_id for one in free for class_id in one.classes)
            order = hashlib.sha256(f"{settings.seed}:{min(one.sha256 for one in free)}".encode()).digest()
            place = next((name for name in NAMES if there[name]), None)  # a group that a data set divided itself goes on in training
            units.append(Unit(order, classes, place))
            waiting.append(free)
    found = {one.id: one.split for one in pictures if one.split}
    for members, place in zip(waiting, divide(units, placed, shares), strict=True):
        found.update((one.id, place) for one in members)
    return found


def _together(pictures: list[_Picture]) -> list[list[_Picture]]:
    """Part the pictures into what must stay together: by group, and by looking nearly the same."""
    leader: dict[int, int] = {one.id: one.id for one in pictures}

    def root(one: int) -> int:
        while leader[one] != one:
            leader[one] = leader[leader[one]]
            one = leader[one]
        return one

    first: dict[str, int] = {}
    for one in pictures:
        if one.group:
            leader[root(one.id)] = root(first.setdefault(one.group, one.id))
    for same in _alike({one.id: one.fingerprint for one in pictures if one.fingerprint}):
        for other in same[1:]:
            leader[root(other)] = root(same[0])
    parts: dict[int, list[_Picture]] = defaultdict(list)
    for one in pictures:
        parts[root(one.id)].append(one)
    return list(parts.values())


def _alike(fingerprints: dict[int, str]) -> list[list[int]]:
    """Return groups of pictures that look nearly the same.

    Drawings of few strokes hang together in long chains (37 of 600 handwritten digits); placed as one they would take most of a test.
    Of so large a group only those with the very same fingerprint count.
    """
    if not fingerprints:
        return []
    most = max(_LARGEST_ALIKE, len(fingerprints) // 20)
    found: list[list[int]] = []
    for same in duplicates.near_groups(fingerprints):
        found += [same] if len(same) <= most else duplicates.near_groups({one: fingerprints[one] for one in same}, most_bits=0)
    return found
