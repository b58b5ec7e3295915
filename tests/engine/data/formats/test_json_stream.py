from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.formats import json_stream

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=8)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=12)
FILES = st.lists(VALUES, max_size=6) | st.dictionaries(st.sampled_from(["images", "annotations", "categories", "info", "Ö"]), VALUES, max_size=4)


def expected(content: Any) -> list[tuple[str, Any]]:
    if isinstance(content, list):
        return [("", element) for element in content]
    return [(key, element) for key, value in content.items() for element in (value if isinstance(value, list) else [value])]


def small_then_large(content: bytes) -> Iterator[list[tuple[str, Any]]]:
    """Give what is found of a file where it is parsed in one piece, and where it is read element by element, a few letters at a time."""
    yield list(json_stream.elements(io.BytesIO(content)))
    with mock.patch.object(json_stream, "_WHOLE", -1), mock.patch.object(json_stream, "_BLOCK", 5):
        yield list(json_stream.elements(io.BytesIO(content)))


@settings(deadline=None)
@given(FILES, st.booleans(), st.sampled_from([None, 1]), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_a_file_says_the_same_in_one_piece_and_element_by_element(content: Any, plain: bool, indent: int | None, mark: bytes) -> None:
    written = mark + json.dumps(content, ensure_ascii=plain, indent=indent).encode("utf-8", "replace")
    wanted = expected(json.loads(written.removeprefix(mark)))
    assert list(small_then_large(written)) == [wanted, wanted]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [{"id": 1, "id": 2}]}', "the last of two values of one name"),
        (b'{"images": [{"id": 123456789012345678901234567890}]}', "a number beyond 64 bits"),
        (b'{"images": [{"w": Infinity, "h": -Infinity}]}', "numbers that JSON does not have"),
        (b'{"images": [{"name": "\\ud800"}]}', "half a letter"),
        (b'{"images": [{"w": 1e400, "h": 0.1, "area": 473.07000000000005}]}', "a number that is too large, and long ones"),
    ],
)
def test_odd_values_are_the_same_either_way(content: bytes, words: str) -> None:
    wanted = expected(json.loads(content))
    assert list(small_then_large(content)) == [wanted, wanted], words


def test_what_comes_before_damage_is_told() -> None:
    found: list[tuple[str, Any]] = []
    with pytest.raises(ValueError, match="Expecting"):
        found.extend(json_stream.elements(io.BytesIO(b'{"images": [{"id": 1}, {"id": 2}, {"id": ]}')))
    assert found == [("images", {"id": 1}), ("images", {"id": 2})]


def test_absurd_nesting_is_refused() -> None:
    with pytest.raises((RecursionError, ValueError)):
        list(json_stream.elements(io.BytesIO(b"[" * 100_000)))
