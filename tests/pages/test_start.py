"""Start: the doors, the gallery of backbones, what picking keeps, and what is said where something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import runs, workspace
from engine.data import projects
from engine.models import catalogue
from tests.hub import NAME, Hub
from tests.hub import hub as hub_fixture
from tests.pages.opened import button, command, fine, keys, open_page, words
from tests.pages.trained import Trained, trained_home, wait_for  # noqa: F401 (fixture)
from tests.pages.trained import trained as trained_fixture

hub, trained = hub_fixture, trained_fixture


@pytest.fixture
def project(home: Path) -> projects.Project:
    return projects.create("Leaves")


def _cards(app) -> list[str]:
    return [key.removeprefix("pick-") for key in keys(app) if key.startswith("pick-")]


def test_the_packaged_backbones_stand_first_and_are_ready(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    assert {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"} <= set(_cards(app))
    assert button(app, "pick-efficientnet_lite0").label == "Choose"
    shown = words(app)
    assert "75.1 %" in shown
    assert "[source](https://" in shown
    assert "not measured yet" in shown
    assert "3.4 M parameters · 224 px" in shown


def test_a_choice_is_kept_at_once(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    button(app, "pick-efficientnet_lite1").click().run()
    assert projects.get(project.id).start == "linear/efficientnet_lite1"
    assert button(app, "pick-efficientnet_lite1").label == "Chosen"
    assert "--start linear/efficientnet_lite1" in command(app)
    button(app, "next").click().run()
    assert fine(app).title[0].value == "Data"


def test_the_head_changes_the_choice_and_keeps_the_backbone(project: projects.Project) -> None:
    projects.set_start(project.id, "linear/efficientnet_lite2")
    app = open_page("start.py", project=project.id)
    next(group for group in app.get("button_group") if group.key == f"head-{project.id}").set_value("cosine").run()
    assert projects.get(project.id).start == "cosine/efficientnet_lite2"
    assert "Compares directions" in words(app)


def test_search_filters_and_pages(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    assert len(_cards(app)) == 12
    field = next(one for one in app.text_input if one.key == "backbone-query")
    field.set_value("mobilenetv3 small").run()
    assert _cards(app)
    assert all("mobilenet" in name and "small" in name for name in _cards(app))
    field.set_value("no such thing").run()
    assert "No backbone matches" in words(app)
    field.set_value("").run()
    next(group for group in app.get("button_group") if group.key == "backbone-where").set_value("now").run()
    assert set(_cards(app)) == {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}


def test_without_weights_it_says_from_scratch(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    next(group for group in app.get("button_group") if group.key == "backbone-where").set_value("absent").run()
    name = _cards(app)[0]
    assert button(app, f"pick-{name}").label == "Choose, from scratch"
    assert "From scratch" in words(app)
    button(app, f"pick-{name}").click().run()
    assert projects.get(project.id).start == f"linear/{name}"


def test_without_a_network_a_backbone_to_download_can_start_from_scratch(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    next(one for one in app.text_input if one.key == "backbone-query").set_value(NAME).run()
    assert button(app, f"fetch-{NAME}").label.startswith("Download, ")
    assert button(app, f"pick-{NAME}").label == "Choose, from scratch"
    button(app, f"pick-{NAME}").click().run()
    assert projects.get(project.id).start == f"linear/{NAME}"
    assert button(app, f"pick-{NAME}").label == "Chosen, from scratch"
    assert "starts from scratch" in fine(app).warning[0].value
    assert button(app, f"fetch-{NAME}").label.startswith("Download, ")  # its weights can still be fetched
    button(app, "next").click().run()
    assert fine(app).title[0].value == "Data"


def test_a_measured_speed_is_shown(project: projects.Project) -> None:
    workspace.write_json(workspace.cache("estimates") / "speed-efficientnet_lite0.json", {"images_per_s": 61.4})
    assert "61 pictures/s on this computer" in words(open_page("start.py", project=project.id))


def test_a_download_is_a_job_that_says_why_it_failed(project: projects.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_HUB", "http://127.0.0.1:9")
    app = open_page("start.py", project=project.id)
    next(group for group in app.get("button_group") if group.key == "backbone-where").set_value("downloadable").run()
    name = _cards(app)[0]
    assert button(app, f"fetch-{name}").label.startswith("Download, ")
    button(app, f"fetch-{name}").click().run()
    job = next(runs.Run(folder) for folder in (workspace.home() / "jobs").glob("download-*"))
    assert runs.request_of(job)["backbone"] == name
    wait_for(lambda: runs.state(job) not in ("waiting", "running"), 60)
    app.run()
    said = app.error[0].value.replace("\\", "")
    assert said.lower().startswith(f"**{name.lower()}: this computer cannot reach 127.0.0.1 ")
    assert "Connect to a network and try again" in said
    assert button(app, f"fetch-{name}").label.startswith("Download, ")  # it can be tried again


def test_a_finished_download_is_on_this_computer(project: projects.Project, hub: Hub) -> None:
    app = open_page("start.py", project=project.id)
    next(one for one in app.text_input if one.key == "backbone-query").set_value(NAME).run()
    assert "To download" in words(app)
    button(app, f"fetch-{NAME}").click().run()
    job = next(runs.Run(folder) for folder in (workspace.home() / "jobs").glob("download-*"))
    wait_for(lambda: runs.state(job) not in ("waiting", "running"), 60)
    assert runs.state(job) == "finished", job.path("log.txt").read_text()
    fine(app.run())
    assert "On this computer" in words(app)
    assert button(app, f"pick-{NAME}").label == "Choose"
    button(app, f"pick-{NAME}").click().run()
    assert projects.get(project.id).start == f"linear/{NAME}"


def test_ready_models_can_be_tried_and_retrained(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    button(app, "open-optimized").click().run()
    row = catalogue.optimized(project.task)[0]
    assert row.title in words(app).replace("\\", "")
    button(app, f"pick-{row.key}").click().run()
    assert projects.get(project.id).start == f"ready/{row.key}"
    assert "try-" + row.key in keys(app)


def test_the_onnx_door_stands(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    button(app, "open-onnx").click().run()
    assert "My ONNX model" in [one.value for one in app.header]


def test_without_a_finished_run_the_fourth_door_leads_to_train(project: projects.Project) -> None:
    app = open_page("start.py", project=project.id)
    button(app, "open-run").click().run()
    assert "No finished run yet" in words(app)


def test_how_much_of_a_run_is_reused_and_frozen_is_set_where_it_is_chosen(trained: Trained) -> None:
    app = trained.open("start.py")
    button(app, "open-run").click().run()
    button(app, f"pick-{trained.first}").click().run()
    assert projects.get(trained.project_id).start == f"run:{trained.first}"
    slider = {one.label: one for one in app.slider}
    slider["Reused share of an earlier run"].set_value(0.5).run()
    assert "--set reuse_depth=0.5" in command(app)
    app.switch_page("train.py").run()  # the same two settings, in the whole form
    assert "--set reuse_depth=0.5" in command(fine(app))
    projects.set_start(trained.project_id, "")


def test_a_starting_point_that_is_gone_is_said(project: projects.Project) -> None:
    projects.set_start(project.id, "run:run-000000-000000-000")
    app = open_page("start.py", project=project.id)
    assert "There is no run" in app.error[0].value.replace("\\", "")
    assert "open-general" in keys(app)
