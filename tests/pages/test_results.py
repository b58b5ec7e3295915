"""Results: figures as the report has them, in words; empty states; a cell's pictures."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from engine import runs
from engine.data import projects
from pages.parts.charts import clicked_cell, confusion
from pages.parts.wording import percent
from tests.pages.trained import Trained, open_page, trained, trained_home, words  # noqa: F401 (fixtures)


def _tab(app: AppTest, title: str) -> AppTest:
    """Open a tab as a click does."""
    app.session_state["results-classes"] = title
    app.run()
    assert not app.exception
    return app


def test_without_a_finished_run_it_leads_to_training(home) -> None:
    app = open_page("results.py", project=projects.create("New").id)
    assert "No results yet" in words(app)


def test_the_headline_is_the_reports(trained: Trained) -> None:  # noqa: F811
    report = runs.read_report(runs.find(trained.first))
    assert report is not None
    app = trained.open("results.py", run=trained.first)
    shown = words(app)
    accuracy, n = report["metrics"]["accuracy"], report["n"]
    assert f"## {percent(accuracy)} right".replace("\u00a0", " ") in shown
    assert f"**{round(accuracy * n)} of {n}**" in shown
    assert f"Measured on {n} test pictures" in shown
    assert {metric.label: metric.value for metric in app.metric}["Macro F1"] == percent(report["metrics"]["macro_f1"])


def test_the_run_in_the_address_is_shown_and_another_can_be_picked(trained: Trained) -> None:  # noqa: F811
    app = trained.open("results.py", run=trained.first)
    assert app.selectbox(key="picked-run").value == trained.first
    app.selectbox(key="picked-run").select(trained.second).run()
    assert not app.exception
    assert app.query_params["run"] == trained.second


def test_the_table_of_classes_has_every_class(trained: Trained) -> None:  # noqa: F811
    report = runs.read_report(runs.find(trained.first))
    assert report is not None
    app = _tab(trained.open("results.py", run=trained.first), "By class")
    table = app.dataframe[0].value
    assert sorted(table["name"]) == sorted(report["classes"])
    assert dict(zip(table["name"], table["recall"], strict=True)) == {row["name"]: row["recall"] for row in report["per_class"]}


def test_a_cell_shows_how_many_pictures_it_has(trained: Trained) -> None:  # noqa: F811
    report = runs.read_report(runs.find(trained.second))
    assert report is not None
    app = _tab(trained.open("results.py", run=trained.second), "Which is mistaken for which")
    app.selectbox(key=f"cell-true-{trained.second}").select(1).run()
    app.selectbox(key=f"cell-said-{trained.second}").select(1).run()
    assert f"{report['confusion'][1][1]} pictures of" in words(app)
    assert f"{report['confusion'][1][1]} pictures of" not in words(_tab(app, "How sure it is"))
    assert f"{report['confusion'][1][1]} pictures of" in words(_tab(app, "Which is mistaken for which"))  # the cell that was chosen is still shown


def test_a_click_on_the_matrix_names_its_cell() -> None:
    figure = confusion([[3, 1], [0, 4]], ["cat", "dog"])
    markers = figure.data[1]
    written = {(trace.y[place], trace.x[place]): (trace.text[place], trace.textfont.color) for trace in figure.data[2:] for place in range(len(trace.x))}
    assert written == {(0, 0): ("3", "white"), (0, 1): ("1", None), (1, 0): ("0", None), (1, 1): ("4", "white")}  # None: the theme's own
    point = {"customdata": markers.customdata[1]}
    assert clicked_cell({"selection": {"points": [point]}}) == (0, 1)
    assert clicked_cell({"selection": {"points": []}}) is None
    assert clicked_cell(None) is None
