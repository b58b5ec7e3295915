"""Near duplicates: what copies keep, what strangers lack, and that no pair is missed or compared with every other."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from engine.data.check import duplicates
from engine.data.check.duplicates import FLAT, alike, fingerprint, fingerprint_of, fingerprints_of, grey, groups_of, near_groups, near_pairs
from engine.errors import StudioError
from tests.pages.drawn import sorted_pictures


def bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [picture.convert("RGB") for key in ("surfaces", "scales") for _, _, picture in sorted_pictures(key)][::7]


def _jpeg(picture: Image.Image) -> Image.Image:
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=40)
    return Image.open(memory).convert("RGB")


@pytest.mark.parametrize(
    ("copied", "most"),
    [
        (_jpeg, 8),
        (lambda picture: picture.resize((90, 90)), 4),
        (lambda picture: picture.resize((320, 200)), 4),
        (lambda picture: picture.filter(ImageFilter.GaussianBlur(1.5)), 4),
        (lambda picture: ImageEnhance.Brightness(picture).enhance(1.15), 10),
    ],
)
def test_copies_keep_their_fingerprint(photos: list[Image.Image], copied: Callable[[Image.Image], Image.Image], most: int) -> None:
    for photo in photos:
        assert bits(fingerprint_of(grey(photo)), fingerprint_of(grey(copied(photo)))) <= most


@pytest.mark.parametrize("size", [(32, 32), (96, 96), (191, 50), (50, 191), (33, 190), (640, 480), (1, 1), (5, 150)])
def test_the_small_grey_form_is_what_pillow_makes(size: tuple[int, int]) -> None:
    noise = Image.effect_noise(size, 150)
    by_pillow = np.asarray(noise.resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=3.0)).astype(int)
    assert np.abs(grey(noise) - by_pillow).max() <= 1


def test_fingerprints_of_many_are_those_of_each(photos: list[Image.Image]) -> None:
    greys = [grey(photo) for photo in photos] + [np.full((32, 32), 7, np.uint8)]
    assert fingerprints_of(np.stack(greys)) == [fingerprint_of(one) for one in greys]
    assert fingerprint_of(greys[-1]) == FLAT


def test_different_photographs_do_not_come_near(photos: list[Image.Image]) -> None:
    assert near_groups({number: fingerprint_of(grey(photo)) for number, photo in enumerate(photos)}, most_bits=6) == []


def test_a_file_s_fingerprint_is_its_picture_s_whatever_its_form(photos: list[Image.Image], tmp_path: Path) -> None:
    photos[0].save(tmp_path / "a.png")
    turned = photos[0].transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter to the right to look at it
    turned.save(tmp_path / "b.jpg", exif=exif, quality=90)
    photos[1].save(tmp_path / "c.png")
    one, other = fingerprint(tmp_path / "a.png"), fingerprint(tmp_path / "b.jpg")
    assert len(one) == 16
    assert bits(one, other) <= 2
    assert alike(tmp_path / "a.png", tmp_path / "b.jpg")
    assert not alike(tmp_path / "a.png", tmp_path / "c.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with pytest.raises(StudioError, match="damaged"):
        fingerprint(tmp_path / "a.png")


def test_pictures_of_one_colour_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    for number, colour in enumerate(("white", "black", "red")):
        Image.new("RGB", (50, 40), colour).save(tmp_path / f"{number}.png")
    found = {number: fingerprint(tmp_path / f"{number}.png") for number in range(3)}
    assert set(found.values()) == {FLAT}
    assert near_groups(found) == []
    assert not alike(tmp_path / "0.png", tmp_path / "1.png")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 63), max_size=12)), max_size=20),
    st.integers(0, 12),
)
def test_bands_find_exactly_the_near_pairs(bases: list[int], changed: list[tuple[int, set[int]]], most: int) -> None:
    values = list(bases)
    for place, flipped in changed:
        if place < len(bases):
            values.append(bases[place] ^ sum(1 << bit for bit in flipped))
    named = {number: f"{value:016x}" for number, value in enumerate(values)}
    if max((list(named.values()).count(one) for one in named.values()), default=0) > duplicates._MOST_EACH:
        return  # then not every pair is given, on purpose
    expected = [(a, b) for a, b in combinations(named, 2) if FLAT not in (named[a], named[b]) and bits(named[a], named[b]) <= most]
    assert near_pairs(named, most) == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda pair: pair[0] != pair[1])))
def test_groups_part_the_ids(pairs: list[tuple[int, int]]) -> None:
    groups = groups_of(pairs)
    assert sorted(one for group in groups for one in group) == sorted({one for pair in pairs for one in pair})
    home = {one: number for number, group in enumerate(groups) for one in group}
    assert all(home[a] == home[b] for a, b in pairs)


def test_a_film_of_one_scene_is_one_group_and_stays_quick() -> None:
    same = dict.fromkeys(range(20_000), "00ff00ff12345678")
    began = time.perf_counter()
    assert near_groups(same) == [list(range(20_000))]
    assert time.perf_counter() - began < 10


def test_a_hundred_thousand_pictures_take_seconds() -> None:
    chance = np.random.default_rng(0)
    values = [f"{value:016x}" for value in chance.integers(1, 2**63, 100_000, dtype=np.uint64)]
    values[77_777] = f"{int(values[5], 16) ^ 0b1000000010000001000000:016x}"
    began = time.perf_counter()
    groups = near_groups(dict(enumerate(values)), confirm=lambda a, b: True, among=[5])
    assert groups == [[5, 77_777]]
    assert time.perf_counter() - began < 30


def test_confirm_has_the_last_word() -> None:
    known = {1: "ff00ff00ff00ff00", 2: "ff00ff00ff00ff01", 3: "ff00ff00ff00ff03"}
    assert near_groups(known) == [[1, 2, 3]]
    assert near_groups(known, confirm=lambda a, b: (a, b) == (2, 3)) == [[2, 3]]
