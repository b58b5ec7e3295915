"""The bars of the classes: each in the colour in which its labels are drawn over pictures."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts.class_bars import chart_of
from pages.parts.overlay import colour_of

COUNTS = {"Platelets": 90, "RBC": 900, "WBC": 70}


def test_the_bars_have_the_colours_of_the_drawn_labels_and_the_classes_order() -> None:
    rows, chart = chart_of(COUNTS, "Labels", coloured=True)
    assert list(rows["Class"]) == list(COUNTS)
    assert list(rows["Colour"]) == [colour_of(name, list(COUNTS)) for name in COUNTS]
    assert chart["encoding"]["y"]["sort"] is None
    assert chart["encoding"]["color"]["scale"] is None  # the colours as they are
    assert "color" not in chart_of(COUNTS, "Labels", coloured=False)[1]["encoding"]


def _page(count: int) -> None:
    from pages.parts.class_bars import bars

    bars({f"class {place}": place + 1 for place in range(count)}, coloured=True)


@pytest.mark.parametrize(("count", "shown"), [(3, "vega_lite_chart"), (21, "dataframe")])
def test_many_classes_are_a_table(count: int, shown: str) -> None:
    app = AppTest.from_function(_page, default_timeout=30, kwargs={"count": count}).run()
    assert not app.exception
    assert [element.type for element in app.main.children.values()] == [shown]
