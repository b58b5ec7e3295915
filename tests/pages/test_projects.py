"""The gallery of projects: cards, deleting with a way back, the bin, samples on their way, the first visit."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import events, runs, workspace
from engine.data import importing, projects, samples
from engine.recipe import Recipe
from tests.pages.drawn import class_folders
from tests.pages.opened import button, fine, keys, open_page, words


@pytest.fixture
def settled(home: Path) -> Path:
    """A workspace whose samples were made and removed for good: nothing is on its way."""
    workspace.project_folder("")
    (home / "projects" / ".samples").touch()
    return home


def _fruit(tmp_path: Path, name: str = "Fruit") -> projects.Project:
    project = projects.create(name)
    importing.import_path(project.id, class_folders(tmp_path / name, "red", "green", each=4))
    return project


def test_a_fresh_workspace_says_that_samples_are_on_their_way(home) -> None:
    shown = words(open_page())
    assert all(sample.title in shown for sample in samples.SAMPLES if sample.ready)
    assert "Getting this sample ready" in shown


def test_an_empty_workspace_invites(settled: Path) -> None:
    app = open_page()
    assert "Grow your first model" in words(app)
    assert {"welcome-new", "welcome-sample", "new-project"} <= keys(app)


def test_a_sample_is_made_with_one_click(settled: Path) -> None:
    app = open_page()
    button(app, "sample-surfaces").click().run()
    project = projects.find("Surfaces")
    assert project.sample == "surfaces"
    assert app.session_state["project"] == project.id
    fine(app)


def test_a_card_shows_pictures_counts_state_and_best_accuracy(settled: Path, tmp_path: Path) -> None:
    project = _fruit(tmp_path)
    for name, accuracy in (("first", 0.75), ("second", 0.875), ("third", 0.5)):
        run = runs.create_run(project.id, Recipe(name=name), {"id": "v", "classes": [], "items": []})
        workspace.write_json(run.path("pressed.json"), {"t": 0.0, "offset": 0})
        events.append(run.events_path, events.Ended(outcome="finished", metrics={"accuracy": accuracy}))
    app = open_page()
    shown = words(app)
    assert "8 pictures · 2 classes" in shown
    assert "87.5 %" in shown
    assert "3 runs" in shown
    assert "Finished" in shown
    pictures = "".join(one.proto.body for one in app.get("html"))
    assert pictures.count("/graft/image/") == 4


def test_an_interrupted_run_shows_on_the_card(settled: Path, tmp_path: Path) -> None:
    project = _fruit(tmp_path)
    run = runs.create_run(project.id, Recipe(), {"id": "v", "classes": [], "items": []})
    workspace.write_json(run.path("pressed.json"), {"t": 0.0, "offset": 0})
    events.append(run.events_path, events.Started(pid=1, device="cpu"))
    assert "Interrupted" in words(open_page())


@pytest.mark.parametrize(
    "name", ["*stars* _and_ `ticks`", "<script>alert(1)</script>", "[a](http://example.org)", ":material/delete: :smile:", "$x$ | y", "日本 🌿 é"]
)
def test_names_are_shown_as_text(settled: Path, name: str) -> None:
    projects.create(name)
    shown = next(one.value for one in open_page().markdown if one.value.startswith("####"))
    assert shown.removeprefix("#### ").replace("\\", "").replace("\u2060", "") == name


def test_delete_is_undone_with_one_click(settled: Path) -> None:
    project = projects.create("Precious")
    app = open_page(project=project.id)
    button(app, f"delete-{project.id}").click().run()
    assert projects.get(project.id).deleted is not None
    assert app.session_state["project"] == ""
    assert f"open-{project.id}" not in keys(app)
    button(app, "undo-delete").click().run()
    assert projects.get(project.id).deleted is None
    assert f"open-{project.id}" in keys(app)
    assert "undo-delete" not in keys(app)


def test_the_bin_gives_back_or_removes_for_good(settled: Path) -> None:
    kept, gone = projects.create("Kept"), projects.create("Gone")
    for project in (kept, gone):
        projects.delete(project.id)
    app = open_page()
    button(app, f"restore-{kept.id}").click().run()
    button(app, f"purge-{gone.id}").click().run()
    assert [project.name for project in projects.list_projects()] == ["Kept"]
    assert projects.list_projects(deleted=True) == []
    fine(app)


def test_opening_leads_to_the_next_step(settled: Path, tmp_path: Path) -> None:
    empty, full = projects.create("Empty"), _fruit(tmp_path)
    app = open_page()
    button(app, f"open-{empty.id}").click().run()
    assert "Choose a starting point" in [one.value for one in app.title]
    app = open_page()
    button(app, f"open-{full.id}").click().run()
    assert "Data" in [one.value for one in app.title]
    assert app.session_state["project"] == full.id


def test_many_projects_can_be_searched_and_paged(settled: Path) -> None:
    for number in range(30):
        projects.create(f"Number {number}")
    app = open_page()
    assert len([key for key in keys(app) if key.startswith("open-")]) == 24
    next(field for field in app.text_input if field.key == "find-project").set_value("number 7").run()
    assert len([key for key in keys(app) if key.startswith("open-")]) == 1
    next(field for field in app.text_input if field.key == "find-project").set_value("nothing").run()
    assert "No project has that in its name" in words(app)
