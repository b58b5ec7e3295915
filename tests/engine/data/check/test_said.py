"""What is said of a picture, as text and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.data.check.said import changes_for, said_of, words_of
from engine.data.formats.base import label_name


@given(st.lists(st.text(max_size=8).map(label_name), max_size=5, unique=True).map(sorted))
def test_what_is_said_can_be_put_back(labels: list[str]) -> None:
    said = said_of(labels, True, several=True)
    assert said is not None
    assert changes_for(said, several=True) == {"labels": tuple(labels), "reviewed": True}
    assert words_of(said, several=True) == (", ".join(labels) or "none of these")


def test_nothing_said_is_none() -> None:
    assert said_of((), False, several=True) is said_of((), True, several=False) is None
    assert changes_for("a|b", several=False) == {"label": "a|b"}
