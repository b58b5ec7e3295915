from __future__ import annotations

import time

import pytest

from engine.data.grouping import group_of, grouper
from engine.errors import StudioError


@pytest.mark.parametrize(
    ("name", "pattern", "group"),
    [
        ("a/patient7_scan2.png", "{group}_*", "patient7"),
        ("a/p-7.x_1.png", "p-{group}.*", "7"),
        ("site1/cat/3.png", "{group}/*", "site1"),
        ("3.png", "{group}_*", ""),
        ("Ü_ß_1.png", "*_{group}_*", "ß"),
        ("a+b(1).png", "{group}(*", "a+b"),
    ],
)
def test_a_pattern_finds_the_group(name: str, pattern: str, group: str) -> None:
    assert group_of(name, pattern) == group


@pytest.mark.parametrize("pattern", ["", "x_*", "{group}{group}", "{group}" + "*" * 7, "{group}" + "x" * 300])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(StudioError):
        grouper("name", pattern)


def test_no_pattern_takes_long() -> None:
    start = time.perf_counter()
    assert group_of("a" * 400, "{group}*a*a*a*a*b") == ""
    assert time.perf_counter() - start < 5


def test_other_ways() -> None:
    assert grouper("folder")("a/b/1.png", None) == "a/b"
    assert grouper("folder")("1.png", None) == ""
    assert grouper("table")("a/1.png", "P3") == "P3"
    assert grouper("none")("a/1.png", "P3") == ""
