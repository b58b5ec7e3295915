"""A choice stays what it is while the count in its title changes, whatever the browser still calls it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def _page() -> None:
    import streamlit as st

    from pages.parts.counted import counted_choice

    left = st.session_state.get("left", 3)
    if said := st.session_state.pop("said", ""):
        st.session_state["show"] = said  # as it stands there when the browser's words are none of the last run's
    titles = {"\0": f"To label ({left})", "\1": f"All ({left + 1})", "cat": f"cat ({4 - left} labels)"}
    st.session_state["answer"] = counted_choice("Show", titles, key="show")


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_function(_page).run()


def test_the_first_is_chosen_at_first(page: AppTest) -> None:
    assert page.session_state["answer"] == "\0"
    assert page.selectbox(key="show").options == ["To label (3)", "All (4)", "cat (1 labels)"]


@pytest.mark.parametrize(
    ("said", "meant"), [("To label (2)", "\0"), ("To label (3)", "\0"), ("All (4)", "\1"), ("cat (1 labels)", "cat"), ("dog (2 labels)", "\0")]
)
def test_words_of_another_count_mean_the_same_choice(page: AppTest, said: str, meant: str) -> None:
    """The browser may send the words of a run that is over, or of one that it foresees: 'To label (2)' after an Undo and a Redo."""
    page.session_state["left"] = 2
    page.session_state["said"] = said
    page.run()
    assert page.session_state["answer"] == meant
    assert not page.exception


def test_what_was_chosen_stays_while_counts_change(page: AppTest) -> None:
    page.selectbox(key="show").select("cat").run()
    for left in (2, 1, 2):
        page.session_state["left"] = left
        page.run()
        assert page.session_state["answer"] == "cat"
