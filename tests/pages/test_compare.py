"""Compare: the verdict, the leaderboard, only the settings that differ."""

from __future__ import annotations

from engine import runs
from engine.data import projects
from engine.evaluation.compare import compare
from tests.pages.trained import Trained, open_page, trained, trained_home, words  # noqa: F401 (fixtures)


def test_with_no_finished_run_it_leads_to_training(home) -> None:
    app = open_page("compare.py", project=projects.create("New").id)
    assert "Two runs are needed to compare" in words(app)


def test_the_verdict_and_the_board_are_the_engines(trained: Trained) -> None:  # noqa: F811
    found = compare([runs.find(trained.second), runs.find(trained.first)])
    app = trained.open("compare.py")
    assert found.verdict in words(app)
    board = app.dataframe[0].value
    assert list(board["Run"]) == [row.name for row in found.leaderboard]
    assert list(board["Accuracy"]) == [row.score for row in found.leaderboard]


def test_only_settings_that_differ_are_listed(trained: Trained) -> None:  # noqa: F811
    app = trained.open("compare.py")
    table = next(frame.value for frame in app.dataframe if "Setting" in frame.value.columns)
    assert sorted(table["Setting"]) == ["Picture size", "Seed"]
    assert list(table[table["Setting"] == "Seed"].iloc[0][["First", "Second"]]) == ["0", "1"]


def test_one_run_is_not_enough(trained: Trained) -> None:  # noqa: F811
    app = trained.open("compare.py")
    app.multiselect(key="compared").unselect(trained.first).run()
    assert not app.exception
    assert "Choose two runs or more" in words(app)


def test_curves_can_be_drawn_by_minute(trained: Trained) -> None:  # noqa: F811
    app = trained.open("compare.py")
    along = [control for control in app.button_group if control.key == "along"]
    assert along, "a run leaves curves even if only the head learns"
    along[0].set_value("minute").run()
    assert not app.exception
    assert any("minutes of work" in chart.proto.spec for chart in app.get("plotly_chart"))
