"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest

import pytest

from pages.parts import live_chart, wording


@pytest.mark.parametrize("module", [wording, live_chart], ids=lambda module: module.__name__)
def test_examples(module) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed
