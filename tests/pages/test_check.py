"""Check: offered, followed, its findings shown with fixes that take them away at once, taken back, waved through; the light on the Data page."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from engine import runs
from engine.data import importing, items, projects
from engine.data.check.standing import standing
from pages.parts.case_wall import Press
from pages.parts.checkup import newest_check, newest_result
from pages.parts.jobs import outcome
from tests.pages.drawn import class_folders
from tests.pages.opened import button, fine, keys, open_page, words


def bring(home: Path) -> projects.Project:
    """Three classes of eight pictures; two of them are copies, one is blank."""
    folder = class_folders(home / "fruit", "red", "green", "blue", each=8)
    with Image.open(folder / "red" / "0.jpg") as picture:
        picture.load()
    picture.save(folder / "red" / "again.png")
    picture.resize((160, 120)).save(folder / "green" / "other.png")
    Image.new("RGB", (80, 60), (200, 40, 40)).save(folder / "red" / "blank.png")
    project = projects.create("Fruit")
    importing.import_path(project.id, folder)
    return project


def check_now(project: projects.Project) -> runs.Run:
    job = runs.create_job("check", {"project_id": project.id})
    done = subprocess.run([sys.executable, "-m", "engine.worker", str(job.folder)], check=False, timeout=240, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return job


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose one project was checked; each test works on it and takes back what it did."""
    home = tmp_path_factory.mktemp("checked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(home))
        patch.setenv("GRAFT_WARM", "0")
        check_now(bring(home))
    return home


@pytest.fixture
def project(checked: Path, monkeypatch: pytest.MonkeyPatch) -> projects.Project:
    monkeypatch.setenv("GRAFT_HOME", str(checked))
    monkeypatch.setenv("GRAFT_WARM", "0")
    return projects.list_projects()[0]


def open_finds(app: AppTest, key: str) -> AppTest:
    """Open one finding."""
    app.session_state[f"find-{key}"] = True
    return fine(app.run())


def test_without_pictures_it_leads_to_data(home: Path) -> None:
    app = open_page("check.py", project=projects.create("Empty").id)
    assert "No pictures yet" in words(app)


def test_a_check_is_offered_started_and_followed(home: Path) -> None:
    project = projects.create("Fruit")
    importing.import_path(project.id, class_folders(home / "fruit", "red", "green", each=6))
    app = open_page("check.py", project=project.id)
    assert button(app, "check-start").label == "Check 12 pictures"
    assert "Not checked yet" in words(open_page("data.py", project=project.id))
    button(app, "check-start").click().run()
    fine(app)
    job = newest_check(project.id)
    assert job is not None
    deadline = time.monotonic() + 200
    while outcome(job).active and time.monotonic() < deadline:
        time.sleep(0.3)
    assert newest_result(project.id) is not None, job.path("log.txt").read_text()[-2000:]
    assert "12 pictures checked" in words(open_page("check.py", project=project.id))


def test_what_is_wrong_comes_first_and_what_is_fine_is_folded(project: projects.Project) -> None:
    app = open_page("check.py", project=project.id)
    titles = [drawer.label for drawer in app.expander]
    assert "Copies with different labels" in titles[0] or "Copies across" in titles[0]
    assert any("Pictures that show something" in title for title in titles)
    assert any("checks passed" in title for title in titles)
    assert "to mend" in words(app)
    light = words(open_page("data.py", project=project.id))
    assert "nearly the same" in light


def test_one_click_mends_and_undo_brings_it_back(project: projects.Project) -> None:
    app = open_page("check.py", project=project.id)
    before = items.count_items(project.id)
    result = newest_result(project.id)
    assert result is not None
    key = next(one.key for one in standing(project.id, result).findings if one.check.of == "group" and one.count)
    app.session_state["_press"] = None
    now = standing(project.id, result)
    finding = now.finding(key)
    from pages.parts.checkup import _slot

    case = finding.cases[0]
    pressed = Press(case.subject, "keep-one", None)
    assert pressed.fix in finding.check.fixes

    def script(project_id: str, key: str, subject: str) -> None:
        import streamlit as st

        from engine.data.check.standing import standing
        from pages.parts import checkup

        result = checkup.newest_result(project_id)
        assert result is not None
        now = standing(project_id, result)
        case = next((one for one in now.finding(key).cases if one.subject == subject), None)
        checkup.say_what_happened(project_id)
        st.button("mend", key="mend", on_click=lambda: checkup.mend(project_id, now, now.finding(key), "keep-one", [case] if case else []))
        checkup.undo_button(project_id)

    small = AppTest.from_function(script, kwargs={"project_id": project.id, "key": key, "subject": case.subject}).run()
    small.button(key="mend").click().run()
    assert not small.exception
    assert items.count_items(project.id) < before
    assert small.toast[0].value.endswith("set aside")
    assert case.subject not in [one.subject for one in standing(project.id, result).finding(key).cases]
    assert small.session_state[_slot(project.id)]
    small.button(key="check-undo").click().run()
    assert items.count_items(project.id) == before
    assert "check-undo" not in keys(small)


def test_all_are_mended_at_once(project: projects.Project) -> None:
    app = open_page("check.py", project=project.id)
    result = newest_result(project.id)
    assert result is not None
    several = [one for one in standing(project.id, result).findings if one.check.of != "class" and len(one.cases) > 1]
    for finding in several:
        open_finds(app, finding.key)
        button(app, f"do-{finding.key}-dismiss").click().run()
        fine(app)
        assert standing(project.id, result).finding(finding.key).count == 0
        button(app, "check-undo").click().run()
        assert standing(project.id, result).finding(finding.key).count == finding.count


def test_the_map_is_shown(project: projects.Project) -> None:
    app = open_page("check.py", project=project.id)
    app.segmented_control(key="check-view").set_value("map").run()
    fine(app)
    assert "Each point is a picture" in words(app)
