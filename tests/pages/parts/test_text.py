"""Names are shown as text, whatever they hold."""

from __future__ import annotations

import pytest

from pages.parts.text import plain, quoted, sentence


@pytest.mark.parametrize(
    "name", ["*a*", "_a_", "`a`", "[a](http://b)", "![](http://b/c.png)", "# a", "<b>a</b>", "$a$", "a | b", "1. a", "- a", "> a", "~~a~~", "&amp;"]
)
def test_every_mark_of_markdown_is_escaped(name: str) -> None:
    shown = plain(name)
    at = 0
    while at < len(shown):
        if shown[at] == "\\":
            at += 2
            continue
        assert shown[at] not in r"*_`[]()<>$#|~&!", f"{shown[at]!r} stands unescaped in {shown!r}"
        at += 1


@pytest.mark.parametrize("name", [":smile:", ":material/delete:", ":red[a]", "a->b", "a<-b", "a--b", "a>=b"])
def test_what_streamlit_replaces_after_markdown_is_kept_apart(name: str) -> None:
    shown = plain(name).replace("\\", "")
    assert shown != name or ":red" in name
    assert shown.replace("\u2060", "") == name


def test_it_is_one_line_of_bounded_length() -> None:
    assert plain("a\nb\tc") == "a b c"
    assert len(plain("x" * 5000)) <= 200


def test_a_fault_is_two_sentences() -> None:
    assert sentence("class 'cat' has 1 picture", "Add more.").startswith("**Class")
    assert quoted("my cats; rm -rf") == "'my cats; rm -rf'"
