"""Train: the goal, the form, Start, and every state that a run can be in."""

from __future__ import annotations

import json
import time

import pytest

from engine import events, runs, workspace
from engine.data import projects, versions
from engine.recipe import recipe_from
from engine.runs import Run
from tests.pages.opened import command
from tests.pages.trained import Trained, open_page, trained, trained_home, wait_for, words  # noqa: F401 (fixtures)


def _with(app, key: str):
    return next(button for button in app.button if button.key == key)


def _shown(app) -> dict:
    """Return what the live area shows when the page opens."""
    return json.loads(app.get("bidi_component")[0].proto.json)["now"]


def _made(project_id: str, name: str, *said: events.Event, pressed: bool = True) -> Run:
    """Make a run whose events say this, with no worker at it."""
    run = runs.create_run(project_id, recipe_from({"name": name}), versions.freeze(project_id))
    if pressed:
        workspace.write_json(run.path("pressed.json"), {"t": time.time(), "offset": 0})
    for event in said:
        events.append(run.events_path, event)
    return run


def test_without_a_project_it_leads_to_one(home) -> None:
    app = open_page("train.py")
    assert "Choose a project first" in words(app)
    assert "warm worker" not in words(app)  # Streamlit would show a string that explains a constant


def test_without_pictures_it_leads_to_the_data_page(home) -> None:
    project = projects.create("Empty")
    app = open_page("train.py", project=project.id)
    assert "No labelled pictures yet" in words(app)
    assert not [button for button in app.button if button.key == "start"]


def test_the_goal_changes_the_recipe(trained: Trained) -> None:  # noqa: F811
    app = trained.open("train.py")
    assert "--preset balanced" in command(app)
    _with(app, "goal-quick").click().run()
    assert _with(app, "goal-quick").label == "Chosen"
    assert "--preset quick" in command(app)


def test_variations_are_shown_on_the_projects_own_picture(trained: Trained) -> None:  # noqa: F811
    app = trained.open("train.py")
    assert "How a picture will be varied" in words(app)
    assert len(app.get("imgs")) + len(app.get("image")) >= 8


def test_start_trains_what_the_form_says_and_the_page_follows_it(trained: Trained) -> None:  # noqa: F811
    app = trained.open("train.py")
    _with(app, "goal-quick").click().run()
    before = {run.id for run in runs.list_runs(trained.project_id)}
    _with(app, "start").click().run()
    assert not app.exception
    (run,) = [run for run in runs.list_runs(trained.project_id) if run.id not in before]
    try:
        assert run.recipe.phases == "head"
        assert run.recipe.name == "Quick look 1"
        assert app.title[0].value == "Quick look 1"
        assert app.query_params["run"] == run.id
        wait_for(lambda: runs.state(run) not in ("waiting", "running"))
        assert runs.state(run) == "finished", run.path("log.txt").read_text()[-2000:]
        app.run()
        figures = {figure["title"]: figure["value"] for figure in _shown(app)["figures"]}
        assert figures["Accuracy"].endswith("\u00a0%")
        assert "Finished" in str([badge.value for badge in app.markdown])
    finally:
        runs.stop(run)
        wait_for(lambda: runs.state(run) not in ("waiting", "running"))


@pytest.mark.parametrize(
    ("said", "state", "sentence", "offers"),
    [
        ((events.Started(pid=1, device="cpu"),), "interrupted", "ended without a word", "resume"),
        ((events.Started(pid=1, device="cpu"), events.Paused(step=3)), "paused", "Paused; everything is saved", "resume"),
        ((events.Ended(outcome="failed", problem="the disk is full", remedy="Free some space."),), "failed", "The disk is full", "resume"),
        ((events.Ended(outcome="stopped"),), "stopped", "the best model was kept", "resume"),
    ],
)
def test_a_state_is_said_honestly(trained: Trained, said, state: str, sentence: str, offers: str) -> None:  # noqa: F811
    run = _made(trained.project_id, f"Is {state}", *said)
    assert runs.state(run) == state
    app = trained.open("train.py", run=run.id)
    assert sentence in words(app) + _shown(app)["words"]
    assert _with(app, offers).label == "Resume"
    assert not [button for button in app.button if button.key == "pause"]


def test_the_command_of_a_run_names_all_that_was_set(trained: Trained) -> None:  # noqa: F811
    app = trained.open("train.py", run=trained.second)
    said = command(app)
    for part in ("--project Surfaces", "--start linear/efficientnet_lite0", "--preset quick", "image_size=32", "seed=1", f"resume {trained.second}"):
        assert part in said


def test_a_run_is_deleted_only_after_a_second_yes(trained: Trained) -> None:  # noqa: F811
    run = _made(trained.project_id, "To be deleted", events.Ended(outcome="stopped"))
    app = trained.open("train.py")
    _with(app, f"delete-{run.id}").click().run()
    assert run.folder.exists()
    _with(app, "delete-really").click().run()
    assert not run.folder.exists()


def test_a_long_list_is_paged(trained: Trained) -> None:  # noqa: F811
    project = projects.create("Many runs")
    manifest = versions.freeze(trained.project_id)
    for number in range(12):
        runs.create_run(project.id, recipe_from({"name": f"Number {number}"}), manifest)
    from pages.parts.run_list import PER_PAGE, page_of_runs

    assert [run.name for run in page_of_runs(project.id)] == [f"Number {11 - place}" for place in range(PER_PAGE)]


def test_a_name_with_markdown_in_it_is_shown_as_it_is(trained: Trained) -> None:  # noqa: F811
    run = _made(trained.project_id, "**bold** :smile: [x](y)", events.Ended(outcome="stopped"))
    app = trained.open("train.py", run=run.id)
    assert "\\*\\*bold\\*\\*" in app.title[0].value
    runs.delete(run)
