"""The frame: navigation, which project and run are looked at, the switcher, the guard, the stepper."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from engine import runs
from engine.data import projects
from engine.recipe import Recipe
from pages.parts.places import PATH, PLACES
from tests.pages.opened import SHELL, command, fine, open_page, words


def test_every_place_has_its_page_and_its_own_address() -> None:
    assert all((SHELL.parent / one.file).exists() for one in PLACES)
    assert len({one.url for one in PLACES}) == len({one.title for one in PLACES}) == 10
    assert set(PATH) <= {one.title for one in PLACES}


@pytest.mark.parametrize("place", PLACES[1:], ids=lambda place: place.title)
def test_a_page_without_a_project_leads_on(home, place) -> None:
    app = open_page(place.file)
    assert app.title or app.header
    assert "project" in words(app).lower() or "python -m engine" in command(app)


def test_the_project_in_the_address_is_looked_at_on_every_page(home) -> None:
    project = projects.create("Leaves")
    app = open_page("start.py", project=project.id)
    assert app.session_state["project"] == project.id
    assert project.id in app.query_params["project"]
    app.query_params.pop("project")  # as a click in the navigation leaves it
    app.switch_page("data.py").run()
    assert project.id in fine(app).query_params["project"]
    assert "Leaves" in words(app)


def test_a_run_in_the_address_brings_its_project(home) -> None:
    project = projects.create("Leaves")
    run = runs.create_run(project.id, Recipe(), {"id": "v", "classes": [], "items": []})
    app = open_page("start.py", run=run.id)
    assert app.session_state["project"] == project.id


@pytest.mark.parametrize("address", [{"project": "nothing"}, {"project": "../.."}, {"run": "nothing"}, {"run": "../../etc"}, {"project": "x" * 5000}])
def test_an_address_that_names_nothing_is_no_project(home, address: dict[str, str]) -> None:
    assert "Choose a project first" in words(open_page("data.py", **address))


def test_a_deleted_project_is_no_project(home) -> None:
    project = projects.create("Gone")
    projects.delete(project.id)
    assert "Choose a project first" in words(open_page("data.py", project=project.id))


def test_another_project_drops_the_run(home) -> None:
    first, second = projects.create("First"), projects.create("Second")
    run = runs.create_run(first.id, Recipe(), {"id": "v", "classes": [], "items": []})
    app = open_page("start.py", project=first.id, run=run.id)
    switch = next(box for box in app.sidebar.selectbox if box.label == "Project")
    assert switch.options == ["Second", "First"]
    switch.select("Second").run()
    assert app.session_state["project"] == second.id
    assert app.session_state["run"] == ""
    assert "run" not in app.query_params


def test_the_stepper_says_where_one_is_and_what_is_done(home) -> None:
    project = projects.create("Leaves")
    app = open_page("data.py", project=project.id)
    assert "Data" in words(app)
    icons = {link.proto.label: link.proto.icon for link in app.get("page_link")}
    assert icons["Start"] == ":material/counter_1:"
    projects.set_start(project.id, "linear/efficientnet_lite0")
    icons = {link.proto.label: link.proto.icon for link in open_page("data.py", project=project.id).get("page_link")}
    assert icons["Start"] == ":material/check_circle:"
    assert icons["Train"] == ":material/counter_3:"


def _faulty() -> None:
    import streamlit as st

    from engine.errors import StudioError
    from pages.parts import state

    with state.guard():
        if st.session_state["kind"] == "user":
            raise StudioError("class '*cat*' has 1 picture", "Add more.")
        raise ZeroDivisionError("secret detail")
    st.write("the rest of the page")


def test_a_users_fault_is_two_sentences(home) -> None:
    app = AppTest.from_function(_faulty)
    app.session_state["kind"] = "user"
    app.run()
    assert "Class" in app.error[0].value
    assert "Add more" in app.error[0].value
    assert r"\*cat\*" in app.error[0].value
    assert "the rest of the page" in words(app)


def test_a_fault_of_ours_is_a_sentence_and_a_traceback_in_the_log(home, caplog: pytest.LogCaptureFixture) -> None:
    app = AppTest.from_function(_faulty)
    app.session_state["kind"] = "ours"
    app.run()
    assert "Something went wrong in Graft itself" in app.error[0].value
    assert "secret detail" not in app.error[0].value
    assert not app.exception
    assert "ZeroDivisionError" in caplog.text
