"""The torch-free checks, each on real pictures with the fault planted, and none of them on pictures as they are."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from engine import workspace
from engine.data import importing, items, marks, projects, store
from engine.data.check import boxes, copies, facts, looks, pictures
from engine.data.check.classes import classes_wrong
from engine.data.check.facts import Facts, Picture
from engine.data.check.findings import Case, Finding, mark_key, subject_of
from engine.data.marks import Mark
from engine.data.projects import Project
from tests.pages.drawn import sorted_pictures


@pytest.fixture
def textures(home: Path, tmp_path: Path) -> tuple[Project, Path]:
    """Thirty real photographs of three surfaces, used in place, so that a test can damage them."""
    folder = tmp_path / "textures"
    for number, (_, label, picture) in enumerate(sorted_pictures("surfaces")):
        if number >= 30:
            break
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture.save(folder / label / f"{number:02}.jpg", quality=92)
    return projects.create("Textures"), folder


def brought(project: Project, folder: Path) -> Facts:
    importing.import_path(project.id, folder, in_place=True)
    return facts.read(project.id)


def looked(known: Facts) -> tuple[dict[int, looks.Look], dict[int, str]]:
    found = looks.look_at(known)
    assert found is not None
    return found


def by_name(known: Facts, name: str) -> int:
    return next(one.id for one in known.pictures.values() if one.name.endswith(name))


def found_in(findings: list[Finding], key: str) -> list[tuple[int, ...]]:
    return [case.items for finding in findings if finding.key == key for case in finding.cases]


def test_pictures_as_they_are_pass(textures: tuple[Project, Path]) -> None:
    known = brought(*textures)
    seen, faults = looked(known)
    findings = [pictures.unreadable(faults), *pictures.looks_wrong(seen), *pictures.sizes_wrong(known)]
    findings += copies.copies(known, copies.confirmed_groups(seen))
    assert {finding.key: finding.count for finding in findings if finding.count} == {}


def test_files_that_are_gone_cut_short_or_changed(textures: tuple[Project, Path]) -> None:
    project, folder = textures
    known = brought(project, folder)
    (folder / "brick" / "00.jpg").unlink()
    cut, swapped = folder / "grass" / "01.jpg", folder / "gravel" / "02.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    shutil.copy(folder / "brick" / "03.jpg", swapped)
    finding = pictures.unreadable(looked(known)[1])
    words = {known.pictures[case.items[0]].name[-6:]: case.words for case in finding.cases}
    assert words["00.jpg"] == "the file is gone"
    assert "damaged or cut short" in words["01.jpg"]
    assert words["02.jpg"] == "the file was changed since the import"
    assert (finding.severity, finding.count) == ("red", 3)


def test_blank_dark_and_blurred_pictures(textures: tuple[Project, Path]) -> None:
    project, folder = textures
    with Image.open(folder / "brick" / "00.jpg") as photo:
        photo.point(lambda value: value // 8).save(folder / "brick" / "dark.jpg", quality=95)
    Image.new("RGB", (160, 160), (120, 90, 60)).save(folder / "brick" / "blank.jpg")
    known = brought(project, folder)
    findings = pictures.looks_wrong(looked(known)[0])
    assert found_in(findings, "blank") == [(by_name(known, "blank.jpg"),)]
    assert found_in(findings, "dark") == [(by_name(known, "dark.jpg"),)]


def test_a_picture_far_more_blurred_than_the_others_is_found(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    for number, (_, _, picture) in zip(range(60), sorted_pictures("digits"), strict=False):
        shown = picture.convert("RGB").filter(ImageFilter.GaussianBlur(4)) if number in (7, 33) else picture
        shown.save(folder / f"{number:02}.png")
    known = brought(projects.create("Digits"), folder)
    findings = pictures.looks_wrong(looked(known)[0])
    assert sorted(found_in(findings, "blurred")) == sorted([(by_name(known, "07.png"),), (by_name(known, "33.png"),)])


def test_a_data_set_that_is_dark_as_a_whole_has_no_dark_pictures(textures: tuple[Project, Path]) -> None:
    project, folder = textures
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as photo:
            dark = photo.point(lambda value: value // 8)
        dark.save(path, quality=95)
    finding = next(one for one in pictures.looks_wrong(looked(brought(project, folder))[0]) if one.key == "dark")
    assert finding.count == 0
    assert "how this data set is" in finding.note


def test_tiny_huge_and_long_pictures(textures: tuple[Project, Path]) -> None:
    project, folder = textures
    with Image.open(folder / "brick" / "00.jpg") as photo:
        photo.resize((20, 20)).save(folder / "brick" / "tiny.png")
        photo.resize((2600, 2600)).save(folder / "brick" / "huge.jpg")
        photo.resize((640, 90)).save(folder / "brick" / "long.png")
    known = brought(project, folder)
    findings = pictures.sizes_wrong(known)
    assert found_in(findings, "tiny") == [(by_name(known, "tiny.png"),)]
    assert found_in(findings, "huge") == [(by_name(known, "huge.jpg"),)]
    assert found_in(findings, "shape") == [(by_name(known, "long.png"),)]


def test_copies_are_told_apart_by_what_is_bad_about_them(textures: tuple[Project, Path]) -> None:
    project, folder = textures
    for number, target in ((0, "brick/same.png"), (4, "grass/near.jpg"), (2, "brick/other-class.png"), (6, "brick/leak.jpg")):
        source = next(folder.rglob(f"{number:02}.jpg"))
        with Image.open(source) as photo:
            photo.load()
        (photo.resize((120, 120)) if "near" in target or "leak" in target else photo).save(folder / target, quality=70)
    importing.import_path(project.id, folder, in_place=True)
    known = facts.read(project.id)
    pairs = {
        name: tuple(sorted((by_name(known, f"/{number:02}.jpg"), by_name(known, name))))
        for number, name in ((0, "same.png"), (4, "near.jpg"), (2, "other-class.png"))
    }
    leaked = by_name(known, "/06.jpg"), by_name(known, "leak.jpg")
    with store.session() as connection:
        for one in [one for pair in pairs.values() for one in pair] + [leaked[0]]:
            items.touch(connection, one, None, split="train")
        items.touch(connection, leaked[1], None, split="test")
    known = facts.read(project.id)
    findings = copies.copies(known, copies.confirmed_groups(looked(known)[0]))
    assert found_in(findings, "same") == [pairs["same.png"]]
    assert found_in(findings, "near") == [pairs["near.jpg"]]
    assert found_in(findings, "contradictions") == [pairs["other-class.png"]]
    assert found_in(findings, "leaks") == [tuple(sorted(leaked))]


def test_looking_again_costs_nothing_and_a_new_picture_costs_one(textures: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project, folder = textures
    known = brought(project, folder)
    first, _ = looked(known)
    assert [one.fingerprint for one in facts.read(project.id).pictures.values()] == [look.fingerprint for look in first.values()]
    opened: list[Path] = []
    real = looks.images.check_and_shade
    monkeypatch.setattr(looks.images, "check_and_shade", lambda path, *rest: (opened.append(path), real(path, *rest))[1])
    again, _ = looked(known)
    assert opened == []
    assert {one: look.sharpness for one, look in again.items()} == pytest.approx({one: look.sharpness for one, look in first.items()})
    with Image.open(folder / "brick" / "00.jpg") as photo:
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "brick" / "new.png")
    more = brought(project, folder)
    opened.clear()
    looked(more)
    assert [path.name for path in opened] == ["new.png"]


def test_a_stopped_look_keeps_what_it_saw_and_a_damaged_cache_is_no_cache(textures: tuple[Project, Path]) -> None:
    known = brought(*textures)
    assert looks.look_at(known, should_stop=lambda: True) is None
    kept = workspace.cache("check") / f"{known.project_id}-looks.npz"
    assert len(looks._load(kept)) == 30
    for damage in (kept.read_bytes()[:300], b"", b"nonsense"):
        kept.write_bytes(damage)
        assert looks._load(kept) == {}
        assert len(looked(known)[0]) == 30


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 400), max_size=8))
def test_classes_are_judged_by_their_numbers(counts: dict[str, int]) -> None:
    few, balance = classes_wrong(counts)
    assert {case.seen for case in few.cases} == {name for name, count in counts.items() if count < 20}
    assert few.severity == ("green" if not few.count else "red" if min(counts.values()) < 3 else "amber")
    largest = max(counts.values(), default=0)
    assert {case.seen for case in balance.cases} == {name for name, count in counts.items() if 0 < count < largest / 10}


# ---------------------------------------------------------------- drawn labels


def drawn(*given: Mark, size: tuple[int, int] = (100, 80)) -> Facts:
    picture = Picture(1, "a.png", Path("a.png"), "00", *size, "train", None, None)
    return Facts("p", "object-detection", {1: picture}, {1: list(given)})


def box(label: str, *edges: float) -> Mark:
    return Mark(label, "box", {"box": list(edges)})


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (box("cell", 10, 10, 10.8, 40), "0.8 × 30 pixels"),
        (box("cell", 40, 40, 130, 60), "reaches outside"),
        (box("cell", -20, 5, 30, 30), "reaches outside"),
        (Mark("cell", "box", {"box": [1, 2, float("nan"), 4]}), "damaged"),
        (Mark("cell", "polygon", {"rings": []}), "damaged"),
    ],
)
def test_a_label_without_an_inside_or_outside_its_picture(mark: Mark, words: str) -> None:
    good = box("cell", 5, 5, 30, 30)
    finding = boxes.boxes_wrong(drawn(good, mark))[0]
    assert [case.marks for case in finding.cases] == [(mark_key(mark),)]
    assert words in finding.cases[0].words


def test_labels_on_each_other() -> None:
    first, same, other = box("cell", 5, 5, 50, 50), box("cell", 5, 5.5, 50, 50), box("dust", 60, 10, 90, 40)
    clash = box("cell", 60, 10, 90, 40)
    near = box("cell", 20, 5, 65, 50)  # half of it lies on the first: another thing
    bad, clashing, double = boxes.boxes_wrong(drawn(first, same, other, clash, near))
    assert bad.count == 0
    assert [case.marks for case in double.cases] == [(mark_key(same), mark_key(first))]
    assert [case.marks for case in clashing.cases] == [(mark_key(clash), mark_key(other))]


def test_a_polygon_and_the_box_round_it_are_two_things() -> None:
    outline = Mark("leaf", "polygon", {"rings": [[10, 10, 60, 10, 10, 60]]})
    assert all(finding.count == 0 for finding in boxes.boxes_wrong(drawn(outline, box("leaf", 10, 10, 60, 60))))


edges = st.tuples(st.floats(0, 90), st.floats(0, 70), st.floats(3, 10), st.floats(3, 10)).map(lambda e: [e[0], e[1], e[0] + e[2], e[1] + e[3]])


@given(st.lists(edges, max_size=25))
def test_every_pair_on_each_other_is_found_as_comparing_all_would(those: list[list[float]]) -> None:
    given_marks = [box("cell", *one) for one in those + those[:3]]
    boxes_N4 = np.array([mark.geometry["box"] for mark in given_marks]).reshape(-1, 4)  # type: ignore[index]
    expected = {
        (one, other) for one in range(len(given_marks)) for other in np.flatnonzero(boxes._overlap(boxes_N4[one], boxes_N4) >= 0.95).tolist() if one < other
    }
    found = boxes._same_place(given_marks)
    order = {id(mark): place for place, mark in enumerate(given_marks)}
    assert {(order[id(one)], order[id(other)]) for one, other in found} == expected


def test_a_key_stays_when_marks_are_written_anew(home: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    draw(tmp_path / "in" / "a.png")
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, tmp_path / "in")
    item = items.list_items(project.id)[0]
    revision = marks.replace(item.id, [box("cat", 1, 2, 30, 20)], item.revision)
    before = marks.of_items([item.id])[item.id][0]
    marks.replace(item.id, [box("dog", 3, 3, 9, 9), before], revision)
    after = marks.of_items([item.id])[item.id][1]
    assert after.id != before.id
    assert mark_key(after) == mark_key(before)


# ---------------------------------------------------------------- the record


def test_findings_travel_as_json() -> None:
    case = Case("3", (3,), "97% sure", "cat", "dog")
    finding = Finding.of("labels", [case], "a note")
    assert Finding.from_json(finding.to_json()) == finding
    assert (finding.severity, finding.words) == ("amber", "One label is likely wrong: a model that never saw the picture is sure of another.")


def test_a_subject_fits_its_column() -> None:
    assert subject_of([12, 3]) == "3,12"
    assert len(subject_of(range(10_000))) <= 200


@pytest.mark.slow
def test_ten_thousand_pictures_are_looked_at_in_about_a_minute(home: Path, tmp_path: Path) -> None:
    """Small ones here, to keep the test short: what counts is that the cost grows with the number and not with its square."""
    (tmp_path / "many").mkdir()
    chance = np.random.default_rng(0)
    for number in range(3000):
        Image.fromarray(chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((64, 64)).save(tmp_path / "many" / f"{number}.jpg")
    known = brought(projects.create("Many"), tmp_path / "many")
    began = time.perf_counter()
    seen, _ = looked(known)
    copies.confirmed_groups(seen)
    assert time.perf_counter() - began < 40
