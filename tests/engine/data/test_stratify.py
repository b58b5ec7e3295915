from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.data.stratify import NAMES, Unit, divide, quota

SHARES = {"val": 0.15, "test": 0.15}


def _unit(number: int, classes: dict[int, int], place: str | None = None) -> Unit:
    return Unit(hashlib.sha256(str(number).encode()).digest(), classes, place)


def _counted(units: list[Unit], places: list[str]) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {}
    for unit, place in zip(units, places, strict=True):
        for one, count in unit.classes.items():
            found.setdefault(one, Counter())[place] += count
    return found


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (6, 2, 2)), (100, (70, 15, 15))])
def test_sizes_of_one_class(count: int, expected: tuple[int, int, int]) -> None:
    units = [_unit(number, {7: 1}) for number in range(count)]
    found = _counted(units, divide(units, {}, SHARES))[7]
    assert (found["train"], found["val"], found["test"]) == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([10, 10, 10, 10], [10, 10, 20]), ([10, 10, 10], [10, 10, 10]), ([10, 10], [0, 10, 10]), ([40], [0, 0, 40]), ([60, 20, 20], [20, 20, 60])],
)
def test_groups_are_spread(sizes: list[int], expected: list[int]) -> None:
    units = [_unit(number, {1: size}) for number, size in enumerate(sizes)]
    found = _counted(units, divide(units, {}, SHARES))[1]
    assert sorted(found[name] for name in NAMES) == expected
    assert found["train"] == max(expected)


classes = st.dictionaries(st.integers(0, 5), st.just(1), min_size=1, max_size=3)
single = st.lists(st.integers(0, 4), min_size=1, max_size=150)
shares = st.fixed_dictionaries({"val": st.floats(0, 0.4), "test": st.floats(0, 0.4)})


@given(single, shares)
def test_shares_of_each_class_are_met_exactly_where_each_picture_shows_one(labels: list[int], wanted: dict[str, float]) -> None:
    units = [_unit(number, {label: 1}) for number, label in enumerate(labels)]
    for label, counts in _counted(units, divide(units, {}, wanted)).items():
        assert dict(counts) == {name: count for name, count in quota(labels.count(label), wanted).items() if count}


@given(st.lists(classes, min_size=60, max_size=200))
def test_shares_of_pictures_with_several_classes_are_met_nearly(shown: list[dict[int, int]]) -> None:
    units = [_unit(number, one) for number, one in enumerate(shown)]
    for counts in _counted(units, divide(units, {}, SHARES)).values():
        total = sum(counts.values())
        for name, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            assert abs(counts[name] - share * total) <= 0.1 * total + 2


@example([{0: 1, 1: 1}, {3: 1}, {0: 1, 2: 1}, {1: 1, 2: 1}, {3: 1}], SHARES)
@given(st.lists(classes, min_size=1, max_size=80), shares)
def test_of_every_class_something_is_learned(shown: list[dict[int, int]], wanted: dict[str, float]) -> None:
    units = [_unit(number, one) for number, one in enumerate(shown)]
    assert all(counts["train"] for counts in _counted(units, divide(units, {}, wanted)).values())


@given(st.lists(classes, max_size=80), st.randoms(use_true_random=False))
def test_the_order_in_which_pictures_come_does_not_matter(shown: list[dict[int, int]], chance: object) -> None:
    units = [_unit(number, one) for number, one in enumerate(shown)]
    mixed = list(range(len(units)))
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    straight, other = divide(units, {}, SHARES), divide([units[at] for at in mixed], {}, SHARES)
    assert [straight[at] for at in mixed] == other


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), min_size=12, max_size=60))
def test_every_class_of_three_groups_is_in_every_split(groups: list[tuple[int, int]]) -> None:
    units = [_unit(number, {label: size}) for number, (label, size) in enumerate(groups)]
    found = _counted(units, divide(units, {}, SHARES))
    for label, count in Counter(label for label, _ in groups).items():
        assert sum(found[label][name] > 0 for name in NAMES) == min(count, 3)


@given(single, single)
def test_what_is_placed_counts(before: list[int], after: list[int]) -> None:
    first = [_unit(number, {label: 1}) for number, label in enumerate(before)]
    placed: dict[str, Counter[int]] = {}
    for unit, place in zip(first, divide(first, {}, SHARES), strict=True):
        placed.setdefault(place, Counter()).update(unit.classes)
    second = [_unit(1000 + number, {label: 1}) for number, label in enumerate(after)]
    found = _counted(second, divide(second, placed, SHARES))
    for label in set(before) | set(after):
        wanted = quota(before.count(label) + after.count(label), SHARES)
        for name in ("val", "test"):
            assert found.get(label, Counter())[name] + placed.get(name, Counter())[label] == max(wanted[name], placed.get(name, Counter())[label])
