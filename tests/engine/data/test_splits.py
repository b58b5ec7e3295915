from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.data import importing, items, projects, splits
from engine.data.projects import Project
from engine.errors import StudioError

Draw = Callable[..., Path]


def _fill(draw: Draw, root: Path, sizes: dict[str, int], start: int = 0) -> Path:
    seed = start
    for name, size in sizes.items():
        for number in range(size):
            seed += 1
            draw(root / name / f"{start + number:03}.png", seed, (8, 8))
    return root


def _places(project: Project) -> dict[str, str | None]:
    return {item.sha256: item.split for item in items.list_items(project.id, limit=10_000)}


def _by_class(project: Project) -> dict[str | None, Counter[str | None]]:
    counts: dict[str | None, Counter[str | None]] = {}
    for item in items.list_items(project.id, limit=10_000):
        counts.setdefault(item.label, Counter())[item.split] += 1
    return counts


def test_every_class_is_split_alike(project: Project, tmp_path: Path, draw: Draw) -> None:
    importing.import_path(project.id, _fill(draw, tmp_path / "data", {"rare": 3, "few": 8, "many": 40}))
    assert _by_class(project) == {
        "rare": Counter(train=1, val=1, test=1),
        "few": Counter(train=6, val=1, test=1),
        "many": Counter(train=28, val=6, test=6),
    }


def test_the_same_pictures_get_the_same_places_anywhere(home: Path, tmp_path: Path, draw: Draw) -> None:
    one, two = projects.create("One"), projects.create("Two")
    source = _fill(draw, tmp_path / "data", {"a": 20, "b": 20})
    importing.import_path(one.id, source)
    for name in ("b", "a"):  # the other way round, and class by class
        for item in items.list_items(one.id, label=name, limit=100):
            target = tmp_path / "again" / name / item.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(item.path.read_bytes())
    importing.import_path(two.id, tmp_path / "again")
    assert _places(one) == _places(two)


def test_places_stay_when_pictures_are_added(project: Project, tmp_path: Path, draw: Draw) -> None:
    importing.import_path(project.id, _fill(draw, tmp_path / "first", {"a": 20, "b": 20}))
    before = _places(project)
    importing.import_path(project.id, _fill(draw, tmp_path / "second", {"a": 20, "b": 4}, start=500))
    after = _places(project)
    assert {sha256: after[sha256] for sha256 in before} == before
    assert _by_class(project)["a"] == Counter(train=28, val=6, test=6)


def test_another_seed_is_another_choice_and_the_same_seed_the_same(project: Project, tmp_path: Path, draw: Draw) -> None:
    importing.import_path(project.id, _fill(draw, tmp_path / "data", {"a": 30, "b": 30}))
    first = _places(project)
    splits.apply(project.id, splits.Settings(seed=1))
    assert _places(project) != first
    splits.apply(project.id, splits.Settings())
    assert _places(project) == first


def test_given_splits_are_kept(project: Project, tmp_path: Path, draw: Draw) -> None:
    root = tmp_path / "data"
    for number, split in enumerate(("train", "valid", "test")):
        _fill(draw, root / split, {"a": 6, "b": 6}, start=number * 100)
    importing.import_path(project.id, root)
    splits.apply(project.id, splits.Settings(val=0.4, test=0.4))
    assert _by_class(project) == {name: Counter(train=6, val=6, test=6) for name in "ab"}
    importing.import_path(project.id, _fill(draw, tmp_path / "more", {"a": 5, "b": 5}, start=900))
    assert _by_class(project) == {name: Counter(train=11, val=6, test=6) for name in "ab"}, "new pictures train where a data set brings its own tests"


def test_validation_is_carved_out_of_training_when_only_a_test_is_given(project: Project, tmp_path: Path, draw: Draw) -> None:
    root = tmp_path / "data"
    _fill(draw, root / "train", {"a": 20, "b": 20})
    _fill(draw, root / "test", {"a": 7, "b": 7}, start=100)
    report = importing.import_path(project.id, root)
    assert _by_class(project) == {name: Counter(train=16, val=4, test=7) for name in "ab"}
    assert report.splits == {"train": 32, "val": 8, "test": 14}
    assert {item.name.split("/")[0] for item in items.list_items(project.id, split="val")} == {"train"}


def test_impossible_shares_are_refused(project: Project) -> None:
    with pytest.raises(StudioError, match="too little to train on"):
        splits.apply(project.id, splits.Settings(val=0.5, test=0.5))
    assert splits.settings_of(project.id) == splits.Settings()


@pytest.mark.parametrize("wrong", [{"val": -0.1}, {"val": 0.9}, {"test": float("nan")}, {"seed": -1}, {"group": "patient"}, {"shares": 1}])
def test_settings_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        splits.Settings(**wrong)


def test_without_a_test_share_none_is_made(project: Project, tmp_path: Path, draw: Draw) -> None:
    importing.import_path(project.id, _fill(draw, tmp_path / "data", {"a": 10, "b": 10}))
    assert splits.apply(project.id, splits.Settings(val=0.2, test=0.0)) == {"train": 16, "val": 4}
