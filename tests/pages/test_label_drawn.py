"""Label where shapes are drawn: what comes up, and what leads on when all is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.data import importing, items, marks, projects
from engine.data.marks import Mark
from tests.pages.drawn import flat
from tests.pages.opened import button, open_page, words

BOX = Mark("cat", "box", {"box": [1, 2, 30, 20]})


@pytest.fixture
def project(home: Path, tmp_path: Path) -> projects.Project:
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, flat(tmp_path / "flat", 4))
    return project


def shown(app: AppTest) -> dict[str, str]:
    """Return the choices of what to look at: title -> value."""
    box = next(box for box in app.selectbox if box.label == "Show")
    return dict(zip((title.split(" (")[0] for title in box.options), range(len(box.options)), strict=True))


def queue(app: AppTest, project: projects.Project) -> list[int]:
    [kept] = app.session_state[f"_board-queues-{project.id}"].values()
    return kept


def test_the_first_class_is_asked_for(project: projects.Project) -> None:
    app = open_page("label.py", project=project.id)
    assert "Make your first class" in words(app)
    next(field for field in app.text_input if field.key == "new-class").set_value("cat").run()
    assert items.classes(project.id) == ["cat"]
    assert "Make your first class" not in words(app)
    assert "Draw what is in the pictures" in words(app)


def test_the_queue_is_what_is_to_be_labelled_and_does_not_shrink_under_the_hand(project: projects.Project) -> None:
    everything = [item.id for item in items.list_items(project.id)]
    marks.replace(everything[0], [BOX], None, reviewed=None)
    app = open_page("label.py", project=project.id)
    assert queue(app, project) == everything[1:]
    marks.replace(everything[1], [], None)
    app.run()
    assert queue(app, project) == everything[1:]
    assert str(app.get("progress")[0].proto.text) == "2 of 4 pictures labelled"
    choice = next(box for box in app.selectbox if box.label == "Show")
    choice.select_index(shown(app)["All"]).run()
    assert queue(app, project) == everything
    next(box for box in app.selectbox if box.label == "Show").select_index(shown(app)["cat"]).run()
    assert queue(app, project) == everything[:1]


def test_suggested_pictures_can_be_looked_at_alone(project: projects.Project) -> None:
    everything = [item.id for item in items.list_items(project.id)]
    items.add_class(project.id, "cat")
    assert "With suggestions" not in shown(open_page("label.py", project=project.id))
    marks.propose(everything[2], [Mark("cat", "box", {"box": [1, 2, 30, 20]}, score=0.8)])
    app = open_page("label.py", project=project.id)
    next(box for box in app.selectbox if box.label == "Show").select_index(shown(app)["With suggestions"]).run()
    assert queue(app, project) == [everything[2]]


def test_when_all_is_labelled_it_leads_to_train(project: projects.Project) -> None:
    for item in items.list_items(project.id):
        marks.replace(item.id, [BOX], None)
    app = open_page("label.py", project=project.id)
    assert "Every picture is labelled" in words(app)
    assert button(app, "next").label == "Next: train"


def test_suggested_shapes_are_agreed_to_taken_back_and_turned_down_at_once(project: projects.Project) -> None:
    everything = [item.id for item in items.list_items(project.id)]
    marks.replace(everything[0], [BOX], None)
    assert "Draw in some pictures and train once" in words(open_page("label.py", project=project.id))
    for item, score in zip(everything[1:3], (0.95, 0.6), strict=True):
        marks.propose(item, [Mark("cat", "box", {"box": [1, 2, 30, 20]}, score=score)])
    app = open_page("label.py", project=project.id)
    assert "1 suggestion is that sure: cat 1" in words(app)
    button(app, "agree-shapes").click().run()
    assert projects.summary(project.id).labelled == 2
    button(app, "take-back-shapes").click().run()
    assert projects.summary(project.id).labelled == 1
    next(one for one in app.slider if one.label.startswith("Agree to suggestions")).set_value(50).run()
    assert "2 suggestions are that sure: cat 2" in words(app)
    button(app, "forget-shapes").click().run()
    assert "suggestions are that sure" not in words(app)
    assert [len(found) for found in marks.of_items(everything).values()] == [1, 0, 0, 0]
