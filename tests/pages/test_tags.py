"""A tagging project's pages: results as the report has them, a picture's tags against their thresholds, two runs side by side, taking the model away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from engine import runs
from engine.data import items, projects
from engine.evaluation.compare import compare
from engine.evaluation.tag_report import of_class, read_predictions
from pages.parts.wording import percent
from tests.pages.trained import ROOT, Trained, words
from tests.tagged import CLASSES, table

TASK = "multi-label-classification"


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A workspace with a tagging project and two runs that really learnt, one of them from pictures too small to be seen well."""
    folder = tmp_path_factory.mktemp("tags")
    environment = {**os.environ, "GRAFT_HOME": str(folder / "home"), "GRAFT_WARM": "0", "OMP_NUM_THREADS": "1"}

    def graft(*given: str) -> None:
        done = subprocess.run([sys.executable, "-m", "engine", *given], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    graft("import", str(table(folder / "pictures", 90)), "--project", "Tags", "--task", TASK)
    for name, size in (("First", 96), ("Second", 32)):
        graft("train", "--project", "Tags", "--preset", "quick", "--name", name, "--set", f"image_size={size}", "--wait")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(folder / "home"))
        patch.setenv("GRAFT_WARM", "0")
        project = projects.find("Tags")
        ids = {run.name: run.id for run in runs.list_runs(project.id)}
        yield Trained(folder / "home", project.id, ids["First"], ids["Second"])


def _tab(app: AppTest, title: str) -> AppTest:
    """Open a tab as a click does."""
    app.session_state["results-tags"] = title
    app.run()
    assert not app.exception
    return app


def _report(run_id: str) -> dict:
    found = runs.read_report(runs.find(run_id))
    assert found is not None
    return found


def test_the_headline_is_the_reports(tagged: Trained) -> None:
    report = _report(tagged.second)
    app = tagged.open("results.py", run=tagged.second)
    metrics, shown = report["metrics"], words(app)
    assert f"## {percent(metrics['map'])} mean average precision".replace("\u00a0", " ") in shown
    assert f"**{round(metrics['exact_match'] * report['n'])} of {report['n']}** pictures every tag is right" in shown
    figures = {metric.label: metric.value for metric in app.metric}
    assert (figures["Macro F1"], figures["Micro F1"]) == (percent(metrics["macro_f1"]), percent(metrics["micro_f1"]))


def test_the_table_has_every_tag_and_from_where_it_counts(tagged: Trained) -> None:
    report = _report(tagged.second)
    shown = _tab(tagged.open("results.py", run=tagged.second), "By tag").dataframe[0].value
    assert sorted(shown["name"]) == sorted(report["classes"]) == sorted(CLASSES)
    for key in ("ap", "f1", "recall", "precision", "threshold"):
        assert dict(zip(shown["name"], shown[key], strict=True)) == {row["name"]: row[key] for row in report["per_class"]}


def test_a_tags_pictures_are_parted_by_what_became_of_them(tagged: Trained) -> None:
    run, report = runs.find(tagged.second), _report(tagged.second)
    found = read_predictions(run.path("predictions.npz"))
    app = _tab(tagged.open("results.py", run=run.id), "Pictures of a tag")
    app.selectbox(key=f"tag-{run.id}").select(1).run()
    (kinds,) = [control for control in app.button_group if control.key == f"kind-{run.id}"]
    kinds.set_value("right").run()
    assert not app.exception
    right = of_class(found, 1, "right", report["thresholds"][1])
    assert f"{len(right)} pictures that show **{CLASSES[1]}**, as the model says" in words(app)
    assert "its percentages" in words(_tab(app, "How sure it is"))


def test_a_tried_picture_gets_every_tag_that_counts(tagged: Trained) -> None:
    app = tagged.open("try_it.py", run=tagged.first)
    shown = words(app)
    assert "A tag counts from its orange mark on" in shown
    assert "reading the picture included" in shown
    (figure,) = [chart.proto.spec for chart in app.get("plotly_chart")]
    assert all(name in figure for name in CLASSES)
    app.toggle(key="try-why").set_value(True).run()
    asked = app.selectbox(key=f"try-label-{tagged.first}")
    asked.select(CLASSES[1]).run()
    assert not app.exception


def test_an_imagenet_classifier_is_offered_beside_it(tagged: Trained) -> None:
    app = tagged.open("start.py", door="optimized")
    assert {button.key for button in app.button} >= {"pick-imagenet_lite0", "try-imagenet_lite0"}
    app.button(key="pick-imagenet_lite0").click().run()
    assert not app.exception
    assert projects.get(tagged.project_id).start == "ready/imagenet_lite0"


def test_two_runs_are_compared_by_their_figure(tagged: Trained) -> None:
    found = compare([runs.find(tagged.second), runs.find(tagged.first)])
    app = tagged.open("compare.py")
    assert found.verdict in words(app).replace("\u00a0", " ") or found.verdict in words(app)
    board = app.dataframe[0].value
    assert list(board["Run"]) == [row.name for row in found.leaderboard]
    assert list(board["Mean average precision"]) == [row.score for row in found.leaderboard]
    assert "Average precision of **" in words(app)


def test_what_is_taken_away_tells_of_the_tags(tagged: Trained) -> None:
    app = tagged.open("ship.py", run=tagged.first)
    report = _report(tagged.first)
    assert f"Mean average precision {percent(report['metrics']['map'])} on held-out pictures".replace("\u00a0", " ") in words(app)
    assert "Gives the same answers as the trained network" in words(app)


def test_the_train_page_shows_the_settings_of_whole_pictures(tagged: Trained) -> None:
    app = tagged.open("train.py")
    assert items.count_items(tagged.project_id) == 90
    assert "How a picture will be varied" in words(app)
