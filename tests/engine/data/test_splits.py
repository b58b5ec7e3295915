from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from sqlalchemy import insert, select

from engine.data import importing, items, projects, splits, store
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


def _entered(project: Project, pictures: list[tuple[int, int, int]], start: int = 0) -> None:
    """Enter rows of (class, group, look) as an import would have: pictures of one look have one fingerprint."""
    with store.session() as connection:
        for number, (label, group, look) in enumerate(pictures, start):
            sha256 = hashlib.sha256(f"picture {number}".encode()).hexdigest()
            row = {"project_id": project.id, "name": f"g{group}/{number}.png", "path": "x", "sha256": sha256, "width": 8, "height": 8, "added": 0.0}
            # looks far apart: any two of these differ by many bits
            fingerprint = hashlib.sha256(f"look {look}".encode()).hexdigest()[:16]
            item_id = connection.execute(insert(store.items).values(**row, split_given=False, fingerprint=fingerprint)).inserted_primary_key[0]
            class_id = items.class_id_of(connection, project.id, f"class {label}")
            connection.execute(insert(store.marks).values(item_id=item_id, class_id=class_id, kind="class", by="import", created=0.0))
    splits.assign(project.id)


_PICTURES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 40)), min_size=1, max_size=60)


@hypothesis.settings(max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(_PICTURES, _PICTURES, st.sampled_from(["none", "folder"]))
def test_no_picture_moves_and_nothing_straddles_when_pictures_are_added(
    home: Path, first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], way: Any
) -> None:
    project = projects.create(f"Project {secrets.token_hex(8)}")
    splits.apply(project.id, splits.Settings(group=way))
    # a picture added later may look like two that were placed apart before, and then no place is right: give those later ones looks of their own
    _entered(project, first)
    before = _places(project)
    _entered(project, [(label, group, 100 + look) for label, group, look in second], start=len(first))
    after = _places(project)
    assert {sha256: after[sha256] for sha256 in before} == before
    assert all(after.values())
    rows = items.list_items(project.id, limit=1000)
    if way == "folder":
        by_group: dict[str, set[str | None]] = {}
        for item in rows:
            by_group.setdefault(item.name.split("/")[0], set()).add(item.split)
        joined = _joined_by_look([*first, *[(label, group, 100 + look) for label, group, look in second]])
        assert all(len(places) == 1 for group, places in by_group.items() if group not in joined)
    with store.session() as connection:
        looks: dict[str, set[str]] = {}
        for row in connection.execute(select(store.items.c.fingerprint, store.items.c.split).where(store.items.c.project_id == project.id)):
            looks.setdefault(row.fingerprint, set()).add(row.split)
    assert way == "folder" or all(len(places) == 1 for places in looks.values())


def _joined_by_look(pictures: list[tuple[int, int, int]]) -> set[str]:
    """Return the groups that share a look with another: a later picture may join two that were placed apart."""
    groups: dict[int, set[int]] = {}
    for _, group, look in pictures:
        groups.setdefault(look, set()).add(group)
    return {f"g{one}" for shared in groups.values() if len(shared) > 1 for one in shared}


@hypothesis.settings(max_examples=15, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(_PICTURES, st.sampled_from(["none", "folder"]), st.integers(0, 3))
def test_all_at_once_is_determined_and_keeps_groups_and_looks_together(home: Path, pictures: list[tuple[int, int, int]], way: Any, seed: int) -> None:
    settings = splits.Settings(group=way, seed=seed)
    places = []
    for _ in range(2):
        project = projects.create(f"Project {secrets.token_hex(8)}")
        _entered(project, pictures)
        seen = splits.preview(project.id, settings)
        assert splits.apply(project.id, settings) == seen.splits
        places.append(_places(project))
    assert places[0] == places[1]
    by_look: dict[int, set[str | None]] = {}
    by_group: dict[int, set[str | None]] = {}
    for number, (_, group, look) in enumerate(pictures):
        place = places[0][hashlib.sha256(f"picture {number}".encode()).hexdigest()]
        by_look.setdefault(look, set()).add(place)
        by_group.setdefault(group, set()).add(place)
    assert all(len(found) == 1 for found in by_look.values())
    assert way == "none" or all(len(found) == 1 for found in by_group.values())


def test_near_duplicates_of_an_import_stay_together(project: Project, tmp_path: Path) -> None:
    for number in range(12):
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        for size in (64, 80, 128):  # the same view three times, saved anew
            path = tmp_path / "data" / "ab"[number % 2] / f"{number}-{size}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path, quality=80)
    importing.import_path(project.id, tmp_path / "data")
    found: dict[str, set[str | None]] = {}
    for item in items.list_items(project.id, limit=100):
        found.setdefault(item.path.name.split("-")[0], set()).add(item.split)
    assert all(len(places) == 1 for places in found.values())
    assert {place for places in found.values() for place in places} == {"train", "val", "test"}


def test_a_column_of_the_table_groups(project: Project, tmp_path: Path, draw: Draw) -> None:
    lines = ["path,label,patient_id"]
    for number in range(40):
        draw(tmp_path / "data" / f"{number}.png", number)
        lines.append(f"{number}.png,{'ab'[number % 2]},P{number // 4}")
    (tmp_path / "data" / "table.csv").write_text("\n".join(lines))
    importing.import_path(project.id, tmp_path / "data")
    settings = splits.Settings(group="table")
    assert splits.groups(project.id, settings) == {f"P{number}": 4 for number in range(10)}
    splits.apply(project.id, settings)
    found: dict[int, set[str | None]] = {}
    for item in items.list_items(project.id, limit=100):
        found.setdefault(int(Path(item.name).stem) // 4, set()).add(item.split)
    assert all(len(places) == 1 for places in found.values())


def test_a_preview_changes_nothing_and_says_what_would_move(project: Project, tmp_path: Path, draw: Draw) -> None:
    importing.import_path(project.id, _fill(draw, tmp_path / "data", {"a": 20, "b": 20}))
    before = _places(project)
    seen = splits.preview(project.id, splits.Settings(val=0.3, test=0.3))
    assert _places(project) == before
    assert seen.splits == {"train": 16, "val": 12, "test": 12}
    assert sum(seen.moves.values()) >= 12
    assert seen.by_class["a"] == {"train": 8, "val": 6, "test": 6}
    splits.apply(project.id, splits.Settings(val=0.3, test=0.3))
    moved = sum(before[one] != place for one, place in _places(project).items())
    assert moved == sum(seen.moves.values())


def test_tagged_pictures_are_split_so_that_each_class_is(tagged: Project) -> None:
    splits.assign(tagged.id)
    pictures = items.list_items(tagged.id, limit=100, order="name")
    assert [item.name for item in pictures if item.split is None] == ["28.png", "29.png"], "nobody has looked at them"
    for name in ("cat", "dog", "outdoors"):
        found = Counter(item.split for item in pictures if name in item.labels)
        assert set(found) == {"train", "val", "test"}
        assert found["train"] > sum(found.values()) / 2
    assert {item.split for item in pictures if item.reviewed and not item.labels} >= {"train", "val"}, "pictures that show none are divided, too"
    before = {item.id: item.split for item in pictures}
    for item in pictures[-2:]:
        items.set_labels(item.id, ["dog"], item.revision)
    splits.assign(tagged.id)
    after = {item.id: item.split for item in items.list_items(tagged.id, limit=100)}
    assert all(after[one] == place for one, place in before.items() if place), "a picture stays where it is when others are added"
    assert None not in after.values()
