"""What is told from features, here the 64 grey values of real handwritten digits: flipped labels, strangers, copies, the map."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from engine.data.check import learned


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float64], list[str]]:
    found = load_digits()
    return found.data[:600], [str(number) for number in found.target[:600]]


@pytest.mark.parametrize("seed", range(4))
def test_most_flipped_labels_are_named_and_few_others(digits: tuple[NDArray[np.float64], list[str]], seed: int) -> None:
    features_NF, truth = digits
    chance = np.random.default_rng(seed)
    given = list(truth)
    flipped = chance.choice(600, 30, replace=False).tolist()
    for row in flipped:
        given[row] = str((int(truth[row]) + int(chance.integers(1, 10))) % 10)
    found = learned.suspects(learned.reduced(features_NF), given, np.arange(600))
    hits = [one for one in found if one.row in flipped]
    assert len(hits) >= 0.7 * len(flipped)
    assert len(hits) >= 0.8 * len(found)
    assert sum(one.suggested == truth[one.row] for one in hits) >= 0.9 * len(hits)
    assert all(0 < one.confidence <= 1 for one in found)


def test_copies_do_not_vouch_for_each_other(digits: tuple[NDArray[np.float64], list[str]]) -> None:
    features_NF, truth = digits
    copies_NF = np.concatenate([features_NF, np.repeat(features_NF[:1], 20, axis=0)])
    wrong = str((int(truth[0]) + 1) % 10)
    labels = [wrong, *truth[1:], *[wrong] * 20]
    alone = np.arange(620)
    together = np.concatenate([np.arange(600), np.zeros(20, np.int64)])
    parts_NC = learned.reduced(copies_NF)
    assert 0 in {one.row for one in learned.suspects(parts_NC, labels, together)}
    assert 0 not in {one.row for one in learned.suspects(parts_NC, labels, alone)}


@pytest.mark.parametrize("labels", [[], ["a"], ["a"] * 40, ["a"] * 3 + ["b"] * 3, [str(number) for number in range(40)]])
def test_where_nothing_can_be_told_nothing_is_named(labels: list[str]) -> None:
    parts_NC = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    assert learned.suspects(parts_NC, labels, np.arange(len(labels))) == []


def test_a_stranger_is_out_of_place_also_where_neighbours_are_sampled(digits: tuple[NDArray[np.float64], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    stranger_F = np.zeros(64)
    stranger_F[[0, 7, 56, 63]] = 16.0  # ink in the corners only
    rows_NF = np.concatenate([digits[0], [stranger_F]])
    assert learned.out_of_place(rows_NF)[0][0] == 600
    monkeypatch.setattr(learned, "_COMPARED", 200)
    assert 600 in [row for row, _ in learned.out_of_place(np.insert(rows_NF, 0, rows_NF[-1], axis=0)[1:])]


def test_the_map_is_the_same_again_and_says_what_it_left_out(digits: tuple[NDArray[np.float64], list[str]]) -> None:
    parts_NC = learned.reduced(digits[0][:200])
    rows_M, places_M2 = learned.chart(parts_NC, 120)
    again = learned.chart(parts_NC, 120)
    assert len(rows_M) == len(set(rows_M.tolist())) == 120
    assert np.array_equal(places_M2, again[1])
    assert places_M2.min() >= 0
    assert places_M2.max() <= 1
    assert np.isfinite(places_M2).all()


@pytest.mark.parametrize("count", [0, 1, 2, 4, 6])
def test_a_map_of_hardly_any_pictures(count: int) -> None:
    parts_NC = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    rows_M, places_M2 = learned.chart(parts_NC, 100)
    assert len(rows_M) == len(places_M2) == count
    assert np.isfinite(places_M2).all()


TAGS = {"round": "0689", "bar": "17", "zero": "0"}


@pytest.mark.parametrize("seed", range(3))
def test_most_wrong_tags_are_named_and_few_others(digits: tuple[NDArray[np.float64], list[str]], seed: int) -> None:
    features_NF, digit_of = digits
    truth = [{name for name, shown in TAGS.items() if digit in shown} for digit in digit_of]
    given = [set(tags) for tags in truth]
    chance = np.random.default_rng(seed)
    wrong = {(int(row), str(chance.choice(list(TAGS)))) for row in chance.choice(600, 24, replace=False)}
    for row, name in wrong:
        given[row] ^= {name}
    found = learned.tag_suspects(learned.reduced(features_NF), [sorted(tags) for tags in given], np.arange(600))
    named = {(one.row, one.label) for one in found}
    assert len(named & wrong) >= 0.7 * len(wrong)
    assert len(named & wrong) >= 0.6 * len(named)
    assert all(one.shown == (one.label not in given[one.row]) and 0.5 < one.confidence <= 1 for one in found)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)


@pytest.mark.parametrize("tags", [[], [()] * 30, [("a",)] * 30, [("a",)] * 3 + [()] * 30, [("a",)] * 30 + [()] * 3])
def test_tags_that_all_or_hardly_any_have_are_not_judged(tags: list[tuple[str, ...]]) -> None:
    parts_NC = np.random.default_rng(0).normal(size=(len(tags), 8)).astype(np.float32)
    assert learned.tag_suspects(parts_NC, tags, np.arange(len(tags))) == []
