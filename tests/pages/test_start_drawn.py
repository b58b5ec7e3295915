"""Start, for tasks with drawn labels: architectures ranked by what matters, backbones that do not fit said why, a default that trains."""

from __future__ import annotations

import pytest

from engine.data import projects
from engine.models import published
from engine.models.dense.table import ARCHITECTURES, rank
from pages.parts.text import plain
from pages.parts.wording import percent
from tests.pages.opened import button, fine, keys, open_page, words


@pytest.mark.parametrize("task", ["object-detection", "semantic-segmentation", "instance-segmentation"])
def test_every_architecture_of_the_task_is_offered_and_no_other(home, task: str) -> None:
    app = open_page("start.py", project=projects.create("Cells", task).id)
    offered = {key.removeprefix("take-") for key in keys(app) if key.startswith("take-")}
    assert offered == {row.name for row in ARCHITECTURES.values() if row.task == task}


def test_a_choice_is_architecture_and_backbone_and_a_change_keeps_the_backbone(home) -> None:
    project = projects.create("Cells", "object-detection")
    app = open_page("start.py", project=project.id)
    button(app, "pick-efficientnet_lite0").click().run()
    assert projects.get(project.id).start == "fcos/efficientnet_lite0"
    button(app, "take-retinanet").click().run()
    assert projects.get(project.id).start == "retinanet/efficientnet_lite0"
    assert button(fine(app), "take-retinanet").label == "Chosen"


def test_what_matters_puts_the_best_first_and_says_so(home) -> None:
    app = open_page("start.py", project=projects.create("Cells", "object-detection").id)
    next(group for group in app.get("button_group") if group.key == "matters").set_value(["accuracy"]).run()
    first = next(key for one in app.button if (key := str(one.key)).startswith("take-"))
    assert first == f"take-{rank('object-detection', ['accuracy'])[0].name}"
    assert "Best for that" in words(fine(app))


def test_a_backbone_that_does_not_fit_cannot_be_chosen_and_says_why(home) -> None:
    app = open_page("start.py", project=projects.create("Cells", "object-detection").id)
    app.text_input(key="backbone-query").set_value("volo_d1_224").run()
    refused = [one for one in app.button if str(one.key).startswith("pick-volo") and one.label == "Does not fit"]
    assert refused
    assert all(one.disabled for one in refused)


@pytest.mark.parametrize("task", ["object-detection", "semantic-segmentation", "instance-segmentation"])
def test_each_finished_model_says_how_good_it_is_under_which_licence_and_from_where(home, task: str) -> None:
    app = open_page("start.py", project=projects.create("Cells", task).id)
    button(app, "open-optimized").click().run()
    shown = words(fine(app))
    rows = published.list_published(task)
    assert rows
    for row in rows:
        assert f"{percent(row.figure / 100)} {row.figure_title}".replace("\u00a0", " ") in shown
        assert f"licence [{plain(row.licence)}]({row.licence_source})" in shown
        assert f"from {plain(row.place)}" in shown
        assert button(app, f"fetch-{row.key}").disabled
    app.checkbox(key=f"accept-{rows[-1].key}").check().run()
    assert [button(app, f"fetch-{row.key}").disabled for row in rows] == [True] * (len(rows) - 1) + [False]


def test_without_a_ready_model_the_door_says_what_to_do(home, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in published.list_published("instance-segmentation"):
        monkeypatch.delitem(published._rows(), row.key)
    app = open_page("start.py", project=projects.create("Cells", "instance-segmentation").id)
    button(app, "open-optimized").click().run()
    assert "No finished model for this task" in words(app)
