"""Start, for tasks with drawn labels: architectures ranked by what matters, backbones that do not fit said why, a default that trains."""

from __future__ import annotations

import pytest

from engine.data import projects
from engine.models.dense.table import ARCHITECTURES, rank
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


def test_without_a_ready_model_the_door_says_what_to_do(home) -> None:
    app = open_page("start.py", project=projects.create("Cells", "instance-segmentation").id)
    button(app, "open-optimized").click().run()
    assert "No finished model for this task" in words(app)
