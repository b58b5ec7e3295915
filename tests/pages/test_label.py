"""Sort: every decision saved at once, taken back with Undo, and never over somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import events, runs, workspace
from engine.data import importing, items, projects, suggestions
from engine.data.marks import TAGGING
from tests.pages.drawn import flat
from tests.pages.opened import button, fine, keys, open_page, words


@pytest.fixture
def project(home: Path, tmp_path: Path) -> projects.Project:
    project = projects.create("Fruit")
    importing.import_path(project.id, flat(tmp_path / "flat", 6))
    return project


def _add(app: AppTest, name: str) -> AppTest:
    next(field for field in app.text_input if field.key == "new-class").set_value(name).run()
    return app


def _progress(app: AppTest) -> str:
    return str(app.get("progress")[0].proto.text)


def test_without_pictures_it_leads_to_data(home) -> None:
    empty = projects.create("Empty")
    assert "No pictures yet" in words(open_page("label.py", project=empty.id))


def test_classes_are_made_by_typing(project: projects.Project) -> None:
    app = open_page("label.py", project=project.id)
    assert "Make your first two classes" in words(app)
    _add(_add(app, "  ripe  fruit "), "unripe")
    assert items.classes(project.id) == ["ripe fruit", "unripe"]
    _add(app, "\u202e")
    assert "needs a name" in app.error[0].value


def _decisions() -> None:
    import streamlit as st

    from engine.data import projects
    from pages.parts import sorting
    from pages.parts.sorter import Decision

    project_id, decisions = st.session_state["case"]
    project = projects.get(project_id)
    for name, pairs in decisions:
        sorting.act(project, Decision(name, tuple(pairs), undo=not name))
    st.session_state["faults"] = st.session_state.pop(f"_faults-{project.id}", [])


def test_decisions_are_saved_and_undone(project: projects.Project) -> None:
    app = open_page("label.py", project=project.id)
    _add(_add(app, "ripe"), "unripe")
    assert _progress(app) == "0 of 6 pictures have a class"
    first = items.list_items(project.id)[:2]
    app = AppTest.from_function(_decisions, default_timeout=30)
    app.session_state["case"] = (project.id, [("ripe", [(item.id, item.revision) for item in first])])
    app.run()
    assert [item.label for item in items.get_items([item.id for item in first])] == ["ripe", "ripe"]
    app.session_state["case"] = (project.id, [("", [])])
    app.run()
    assert [item.label for item in items.get_items([item.id for item in first])] == [None, None]
    assert not app.session_state["faults"]


def test_a_picture_sorted_elsewhere_meanwhile_is_left_and_said(project: projects.Project) -> None:
    one, other = items.list_items(project.id)[:2]
    items.set_label(one.id, "theirs", one.revision)
    app = AppTest.from_function(_decisions, default_timeout=30)
    app.session_state["case"] = (project.id, [("ours", [(one.id, one.revision), (other.id, other.revision)])])
    app.run()
    assert items.get_item(one.id).label == "theirs"
    assert items.get_item(other.id).label == "ours"
    assert "changed elsewhere" in app.session_state["faults"][0].problem


def test_undo_does_not_overwrite_what_came_after(project: projects.Project) -> None:
    one = items.list_items(project.id)[0]
    app = AppTest.from_function(_decisions, default_timeout=30)
    app.session_state["case"] = (project.id, [("ours", [(one.id, one.revision)])])
    app.run()
    now = items.get_item(one.id)
    items.set_label(one.id, "theirs", now.revision)
    app.session_state["case"] = (project.id, [("", [])])
    app.run()
    assert items.get_item(one.id).label == "theirs"
    assert app.session_state["faults"]


def test_when_all_are_sorted_it_leads_to_train(project: projects.Project) -> None:
    for number, item in enumerate(items.list_items(project.id)):
        items.set_label(item.id, "ab"[number % 2], item.revision)
    app = open_page("label.py", project=project.id)
    assert "Every picture has a class" in words(app)
    assert button(app, "next").label == "Next: train"
    next(box for box in app.selectbox if box.label == "Show").select_index(1).run()
    fine(app)
    assert "Every picture" not in words(app)


def _with_suggestions(project: projects.Project) -> list[int]:
    """Sort four pictures, leave two with a suggestion."""
    everything = items.list_items(project.id)
    for number, item in enumerate(everything[:4]):
        items.set_label(item.id, "ab"[number % 2], item.revision)
    rest = [item.id for item in everything[4:]]
    suggestions.suggest(project.id, [(rest[0], "a", 0.97), (rest[1], "b", 0.55)])
    return rest


def test_what_is_suggested_is_agreed_to_and_undone(project: projects.Project) -> None:
    first, second = _with_suggestions(project)
    app = AppTest.from_function(_agreements, default_timeout=30)
    app.session_state["case"] = (project.id, [(first, 0), (second, 7)])
    app.run()
    assert [item.label for item in items.get_items([first, second])] == ["a", None]
    assert "no suggestion any more, or changed elsewhere" in app.session_state["faults"][0].problem
    undo = AppTest.from_function(_decisions, default_timeout=30)
    undo.session_state[f"_undo-{project.id}"] = app.session_state[f"_undo-{project.id}"]
    undo.session_state["case"] = (project.id, [("", [])])
    undo.run()
    assert items.get_item(first).label is None


def _agreements() -> None:
    import streamlit as st

    from engine.data import projects
    from pages.parts import sorting
    from pages.parts.sorter import Decision

    project_id, pairs = st.session_state["case"]
    project = projects.get(project_id)
    sorting.act(project, Decision("", tuple(pairs), agree=True))
    st.session_state["faults"] = st.session_state.pop(f"_faults-{project.id}", [])


def test_suggestions_are_offered_once_there_is_enough_to_learn_from(home: Path, tmp_path: Path) -> None:
    project = projects.create("More fruit")
    importing.import_path(project.id, flat(tmp_path / "more", 26))
    everything = items.list_items(project.id)
    for number, item in enumerate(everything[:19]):
        items.set_label(item.id, "ab"[number % 2], item.revision)
    app = open_page("label.py", project=project.id)
    assert "From 20 sorted pictures on" in words(app)
    assert "suggest" not in keys(app)
    items.set_label(everything[19].id, "a", everything[19].revision)
    app = open_page("label.py", project=project.id)
    assert button(app, "suggest").label == "Suggest classes"


def test_the_slider_says_how_many_and_how_often_they_are_right(home: Path, tmp_path: Path) -> None:
    project = projects.create("Even more fruit")
    importing.import_path(project.id, flat(tmp_path / "even", 26))
    everything = items.list_items(project.id)
    for number, item in enumerate(everything[:22]):
        items.set_label(item.id, "ab"[number % 2], item.revision)
    suggestions.suggest(project.id, [(item.id, "a", round(0.6 + place / 10, 2)) for place, item in enumerate(everything[22:])])
    job = runs.create_job("suggest", {"project_id": project.id})
    curve = [[round(0.5 + place / 100, 2), 22 - place // 3, 20 - place // 3] for place in range(50)]
    workspace.write_json(job.path("result.json"), {"labelled": 20, "curve": curve})
    events.append(job.events_path, events.Ended(outcome="finished", seconds=1.0))
    app = open_page("label.py", project=project.id)
    assert "**7 of 9** such suggestions were right (77.8 %)" in words(app)
    assert button(app, "agree-bulk").label == "Agree to 1 suggestion"
    app.slider[0].set_value(70).run()
    assert "**14 of 16** such suggestions" in words(app)
    assert button(app, "agree-bulk").label == "Agree to 3 suggestions"
    assert button(app, "suggest-again").label == "Suggest again, from 2 more"
    button(app, "agree-bulk").click().run()
    fine(app)
    assert projects.summary(project.id).labelled == 25
    button(app, "undo").click().run()
    assert projects.summary(project.id).labelled == 22


# ---------------------------------------------------------------- several classes a picture


@pytest.fixture
def tags(home: Path, tmp_path: Path) -> projects.Project:
    project = projects.create("Tags", TAGGING)
    importing.import_path(project.id, flat(tmp_path / "tags", 6))
    return project


def _taggings() -> None:
    import streamlit as st

    from engine.data import projects
    from pages.parts import tagging
    from pages.parts.sorter import Tagged

    project_id, said = st.session_state["case"]
    project = projects.get(project_id)
    for steps, revisions, token, undo in said:
        tagging.act(project, Tagged(tuple(steps), revisions, token, undo))
    st.session_state["faults"] = st.session_state.pop(f"_faults-{project.id}", [])


def _said(project: projects.Project, *said: tuple[list[list[tuple[int, tuple[str, ...], bool]]], dict[int, int], int, bool]) -> AppTest:
    app = AppTest.from_function(_taggings, default_timeout=30)
    app.session_state["case"] = (project.id, said)
    return app.run()


def test_tags_are_saved_and_undone_step_by_step(tags: projects.Project) -> None:
    one, other = items.list_items(tags.id)[:2]
    steps = [[(one.id, ("a", "b"), False), (other.id, (), True)], [(one.id, (), False)], [(other.id, ("a",), False)]]
    app = _said(tags, (steps, {one.id: one.revision, other.id: other.revision}, 1, False))
    assert [(item.labels, item.reviewed) for item in items.get_items([one.id, other.id])] == [((), False), (("a",), True)]
    app.session_state["case"] = (tags.id, [([], {}, 0, True)])
    for after in ([((), False), ((), True)], [(("a", "b"), True), ((), True)], [((), False), ((), False)]):
        app.run()
        assert [(item.labels, item.reviewed) for item in items.get_items([one.id, other.id])] == after
        assert not app.session_state["faults"]


def test_tags_said_elsewhere_meanwhile_are_left_and_the_wall_hears_which(tags: projects.Project) -> None:
    one, other = items.list_items(tags.id)[:2]
    items.set_labels(one.id, ["theirs"], one.revision)
    steps = [[(one.id, ("ours",), False), (other.id, ("ours",), False)], [(one.id, ("ours", "more"), False)]]
    app = _said(tags, (steps, {one.id: one.revision, other.id: other.revision}, 7, False))
    assert [item.labels for item in items.get_items([one.id, other.id])] == [("theirs",), ("ours",)]
    assert "changed elsewhere" in app.session_state["faults"][0].problem
    assert app.session_state[f"_answered-{tags.id}"] == (7, (one.id,))


def test_a_batch_stays_until_the_next_is_asked_for(tags: projects.Project) -> None:
    app = open_page("label.py", project=tags.id)
    assert "Make your first class" in words(app)
    _add(app, "ripe")
    assert _progress(app) == "0 of 6 pictures are tagged"
    for item in items.list_items(tags.id)[:2]:
        items.set_labels(item.id, ["ripe"], item.revision)
    app.run()
    assert _progress(app) == "2 of 6 pictures are tagged"
    assert len(app.session_state[f"_batch-{tags.id}"][1]) == 6
    button(app, "next-batch").click().run()
    assert len(fine(app).session_state[f"_batch-{tags.id}"][1]) == 4
    for item in items.list_items(tags.id, unlabelled=True):
        items.set_labels(item.id, [], item.revision)
    app.run()
    assert "Every picture is tagged" in words(app)
    show = next(box for box in app.selectbox if box.label == "Show")
    assert show.options == ["To tag (0)", "ripe (2)", "None of these (4)"]
    show.select_index(2).run()
    assert len(fine(app).session_state[f"_batch-{tags.id}"][1]) == 4


def test_sure_tags_are_agreed_to_in_bulk_and_taken_back(home: Path, tmp_path: Path) -> None:
    project = projects.create("Many tags", TAGGING)
    importing.import_path(project.id, flat(tmp_path / "many", 26))
    everything = items.list_items(project.id)
    for number, item in enumerate(everything[:22]):
        items.set_labels(item.id, [name for place, name in enumerate("ab") if number >> place & 1], item.revision)
    first, second, *_ = everything[22:]
    suggestions.suggest(project.id, [(first.id, "a", 0.97), (first.id, "b", 0.93), (second.id, "a", 0.95), (second.id, "b", 0.4)])
    job = runs.create_job("suggest", {"project_id": project.id})
    workspace.write_json(job.path("result.json"), {"labelled": 22, "curve": [[0.9, 10, 9]]})
    events.append(job.events_path, events.Ended(outcome="finished", seconds=1.0))
    app = open_page("label.py", project=project.id)
    assert "it named all classes of **9 of 10** such pictures right, and no other (90 %)" in words(app)
    assert "It is that sure of every class in 1 picture: a 1, b 1." in words(app)
    button(app, "agree-bulk").click().run()
    fine(app)
    assert [items.get_item(item.id).labels for item in (first, second)] == [("a", "b"), ()]
    button(app, "undo").click().run()
    assert (items.get_item(first.id).labels, items.get_item(first.id).reviewed) == ((), False)
