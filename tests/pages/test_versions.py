"""Data's lower part: how pictures are divided, and versions with what changed between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.data import importing, items, projects, splits, versions
from tests.pages.drawn import class_folders
from tests.pages.opened import button, fine, keys, open_page, words


@pytest.fixture
def project(home: Path, tmp_path: Path) -> projects.Project:
    made = projects.create("Fruit")
    importing.import_path(made.id, class_folders(tmp_path / "fruit", "red", "green", each=12))
    return made


def _opened(project: projects.Project, part: str) -> AppTest:
    app = open_page("data.py", project=project.id)
    app.session_state[f"{part}-{project.id}"] = True
    return fine(app.run())


def _metrics(app: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in app.metric}


def test_nothing_of_it_is_read_while_it_is_folded_away(project: projects.Project) -> None:
    app = open_page("data.py", project=project.id)
    assert not {"save-version", "apply-split"} & keys(app)


def test_a_version_is_saved_with_a_name_and_the_difference_shown(project: projects.Project, tmp_path: Path) -> None:
    app = _opened(project, "versions")
    next(one for one in app.text_input if one.label == "Name").set_value("First").run()
    button(app, "save-version").click().run()
    fine(app)
    assert [one.name for one in versions.list_versions(project.id)] == ["First"]
    assert "The data are now as in **First**" in words(app)
    assert "save-version" not in keys(app)

    importing.import_path(project.id, class_folders(tmp_path / "more", "red", "green", "blue", each=12))
    one = items.list_items(project.id, label="red")[0]
    items.set_label(one.id, "green", one.revision)
    app = _opened(project, "versions")
    found = _metrics(app)
    assert {kind: found[kind] for kind in ("Added", "Removed", "Relabelled", "Moved")} == {"Added": "12", "Removed": "0", "Relabelled": "1", "Moved": "0"}
    assert "23 pictures did not change" in words(app)

    button(app, "restore-version").click().run()
    fine(app)
    assert items.get_item(one.id).label == "red"
    assert len(versions.list_versions(project.id)) == 2, "how it was before going back is kept"


def test_a_split_is_shown_before_it_is_made(project: projects.Project) -> None:
    before = {item.id: item.split for item in items.list_items(project.id, limit=100)}
    app = _opened(project, "splitting")
    assert "apply-split" not in keys(app)
    next(one for one in app.slider if one.label.startswith("For the test")).set_value(30).run()
    fine(app)
    assert "would move" in words(app)
    assert {item.id: item.split for item in items.list_items(project.id, limit=100)} == before
    button(app, "apply-split").click().run()
    fine(app)
    assert splits.settings_of(project.id).test == 0.3
    assert projects.summary(project.id).splits == {"train": 12, "val": 4, "test": 8}
    assert "apply-split" not in keys(app)


def test_groups_are_shown_while_the_pattern_is_typed(project: projects.Project) -> None:
    app = _opened(project, "splitting")
    next(one for one in app.selectbox if one.label == "What belongs together").select("name").run()
    fine(app)
    assert "No name fits the pattern" in words(app)
    next(one for one in app.text_input if one.label == "How names look").set_value("*{group}.jpg").run()
    assert "12 groups of several pictures" in words(fine(app))
    next(one for one in app.text_input if one.label == "How names look").set_value("no group here").run()
    assert any("does not say where the group stands" in one.value for one in fine(app).error)
