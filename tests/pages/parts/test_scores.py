"""How a model's figures are said."""

from __future__ import annotations

from pages.parts.scores import expected


def test_a_range_is_said_with_its_figure_and_none_is_said_as_such() -> None:
    assert expected((0.857, 0.949)) == "On new pictures of the same kind, expect **85.7\u00a0% to 94.9\u00a0%**."
    assert "expect an AP50 of **" in expected((0.5, 0.75), "an AP50 of ")
    assert "too few or too easy" in expected(None)
