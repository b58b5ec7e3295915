"""Data: findings before the import, the import as a job, what is there afterwards, and what was left out and why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import locks, runs, workspace
from engine.data import importing, items, looking, projects
from engine.data.marks import TAGGING
from pages.parts.imports import grouped, newest_import, start_import
from pages.parts.jobs import newest_job_of, outcome
from tests.pages.drawn import class_folders, damaged_inside, draw, flat, things, things_in
from tests.pages.opened import button, command, fine, keys, open_page, words


@pytest.fixture
def project(home: Path) -> projects.Project:
    return projects.create("Fruit")


def _look(app: AppTest, project: projects.Project, path: Path | str) -> AppTest:
    next(field for field in app.text_input if field.key == f"folder-{project.id}-path").set_value(str(path)).run()
    button(app, "look").click().run()
    return fine(app)


def _metrics(app: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in app.metric}


def test_nothing_is_saved_before_import_is_pressed(project: projects.Project, tmp_path: Path) -> None:
    class_folders(tmp_path / "fruit", "red", "green", each=5)
    (tmp_path / "fruit" / "notes.txt").write_text("not a picture")
    app = _look(open_page("data.py", project=project.id), project, tmp_path / "fruit")
    assert "One folder a class" in words(app)
    assert _metrics(app) == {"Pictures": "10", "Classes": "2", "Left out": "1"}
    assert "1 × not a picture" in words(app)
    assert items.count_items(project.id) == 0
    button(app, "forget").click().run()
    assert "look" in keys(app)


def test_an_import_runs_as_a_job_and_its_report_is_shown(project: projects.Project, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "fruit", "red", "green", "blue", each=6)
    (folder / "red" / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    draw(folder / "green" / "again.jpg", (200, 40, 40), 0)  # the same as red/0.jpg
    app = _look(open_page("data.py", project=project.id), project, folder)
    assert f"python -m engine import {folder} --project Fruit" in command(app)
    button(app, "import").click().run()
    job = newest_import(project.id)
    assert job is not None
    deadline = time.monotonic() + 60
    while runs.state(job) != "finished" and time.monotonic() < deadline:
        time.sleep(0.1)
    app = open_page("data.py", project=project.id)  # another session: disk is the truth
    assert {key: _metrics(app)[key] for key in ("Pictures", "Classes")} == {"Pictures": "18", "Classes": "3"}
    report = next(box.label for box in app.expander if "Last import" in box.label)
    assert report == "Last import: 18 added, 2 left out"
    assert "the same picture twice" in words(app)
    assert items.list_items(project.id)[0].path.is_relative_to(folder), "used in place"


def _imported(project: projects.Project, folder: Path) -> runs.Run:
    job = start_import(project.id, str(folder), True)
    deadline = time.monotonic() + 60
    while runs.state(job) in ("new", "waiting", "running") and time.monotonic() < deadline:
        time.sleep(0.1)
    return job


def test_where_all_pictures_turn_out_damaged_that_is_said(project: projects.Project, tmp_path: Path) -> None:
    whole = draw(tmp_path / "one.jpg", (200, 40, 40), 0).read_bytes()
    (tmp_path / "in" / "red").mkdir(parents=True)
    (tmp_path / "in" / "red" / "0.jpg").write_bytes(damaged_inside(whole))
    _imported(project, tmp_path / "in")
    app = open_page("data.py", project=project.id)
    assert [one.value.partition(",")[0] for one in app.error] == ["**None of the 1 pictures could be read"]


def test_an_import_stopped_while_looking_is_no_error_and_can_be_gone_on_with(project: projects.Project, tmp_path: Path) -> None:
    lock = locks.hold(workspace.project_folder(project.id) / "look.lock")
    assert lock is not None
    job = start_import(project.id, str(class_folders(tmp_path / "fruit", "red", "green", each=6)), True)
    with lock:  # as if another process were looking
        deadline = time.monotonic() + 60
        while not items.count_items(project.id) and time.monotonic() < deadline:
            time.sleep(0.05)
        while outcome(job).phase != "look" and time.monotonic() < deadline:
            time.sleep(0.05)
        app = open_page("data.py", project=project.id)
        assert _metrics(app) == {"Pictures": "12", "Classes": "2", "Training": "–", "Validation": "–", "Test": "–"}
        assert any("All pictures are here" in box.label for box in app.expander)
        button(app, "stop-looking").click().run()
        while runs.state(job) == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
    app = open_page("data.py", project=project.id)
    assert not app.error
    assert "12 pictures still to be looked through" in words(app)
    button(app, "look-through").click().run()
    while looking.left(project.id) and time.monotonic() < deadline:
        time.sleep(0.05)
    while newest_job_of("look", project.id) and outcome(newest_job_of("look", project.id)).active and time.monotonic() < deadline:  # type: ignore[arg-type]
        time.sleep(0.05)
    app = open_page("data.py", project=project.id)
    assert "look-through" not in keys(app)
    assert sum(int(_metrics(app)[name]) for name in ("Training", "Validation", "Test")) == 12


@pytest.mark.parametrize(
    ("path", "said"),
    [("/no/such/folder", "no"), ("pictures", "not a whole path"), ("~no-such-user/x", "not a whole path")],
)
def test_a_wrong_path_is_a_sentence(project: projects.Project, path: str, said: str) -> None:
    app = _look(open_page("data.py", project=project.id), project, path)
    assert app.error
    assert said in app.error[0].value.replace("\\", "")
    assert "import" not in keys(app)


def test_pictures_without_classes_lead_to_sort(project: projects.Project, tmp_path: Path) -> None:
    importing.import_path(project.id, flat(tmp_path / "flat"))
    app = open_page("data.py", project=project.id)
    assert button(app, "to-sort").label == "Sort 6 pictures"
    assert button(app, "next").disabled
    assert "at least two classes" in words(app)


def test_small_classes_are_pointed_out(project: projects.Project, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "fruit", "red", "green", each=6)
    draw(folder / "rare" / "1.jpg", (9, 9, 9), 99)
    importing.import_path(project.id, folder)
    assert "Fewer than 3 pictures in: rare" in words(open_page("data.py", project=project.id))


def test_a_full_project_leads_to_train_and_filters_by_class(project: projects.Project, tmp_path: Path) -> None:
    importing.import_path(project.id, class_folders(tmp_path / "fruit", "red", "green", each=30))
    app = open_page("data.py", project=project.id)
    assert not button(app, "next").disabled
    box = next(one for one in app.selectbox if one.label == "Class")
    assert box.options == ["All classes", "green", "red"]
    box.select("red").run()
    fine(app)
    next(group for group in app.get("button_group") if group.key == f"wall-split-{project.id}").set_value("test").run()
    fine(app)


def test_reasons_that_differ_by_a_name_are_counted_together() -> None:
    skipped = [
        {"name": "a/1.jpg", "reason": "the same picture as b/1.jpg"},
        {"name": "a/2.jpg", "reason": "the same picture as b/2.jpg"},
        {"name": "a/3.jpg", "reason": "a/3.jpg is not a picture that can be read"},
        {"name": "a/4.jpg", "reason": "a/4.jpg is not a picture that can be read"},
        {"name": "a/5.jpg", "reason": "the same picture as b/2.jpg, but that one is 'x' and this one 'y': 'x' was kept"},
        {"name": "a.heic", "reason": "a HEIC picture, which cannot be read: save it as JPEG or PNG"},
    ]
    assert grouped(skipped) == {
        "the same picture twice": 2,
        "not a picture that can be read": 2,
        "the same picture twice, with another class": 1,
        "a HEIC picture, which cannot be read": 1,
    }


def test_tagged_pictures_are_counted_filtered_and_corrected(home: Path, tmp_path: Path) -> None:
    project = projects.create("Things", TAGGING)
    importing.import_path(project.id, things(tmp_path / "in", 12))
    assert "Nothing is tagged yet" in words(open_page("data.py", project=project.id))
    everything = items.list_items(project.id, order="name")
    for number, item in enumerate(everything[:10]):
        items.set_labels(item.id, things_in(number), item.revision)
    app = open_page("data.py", project=project.id)
    assert button(app, "to-sort").label == "Tag 2 pictures"
    wall = next(box for box in app.selectbox if box.label == "Class")
    assert wall.options == ["All classes", "circle", "square", "None of these", "Not tagged yet"]
    for place in range(5):
        next(box for box in app.selectbox if box.label == "Class").select_index(place).run()
        fine(app)
    assert not button(app, "next").disabled


def test_a_table_of_tags_says_what_it_holds_and_is_mapped(project: projects.Project, tmp_path: Path) -> None:
    folder = things(tmp_path / "in", 8)
    rows = "".join(f"{number:03}.png,{'|'.join(things_in(number))}\n" for number in range(8))
    (folder / "labels.csv").write_text(f"path,labels\n{rows}")
    app = _look(open_page("data.py", project=project.id), project, folder)
    assert "made to say which things whole pictures show, several or none" in words(app)
    assert "This project now says of whole pictures which things they show" in words(app)
    said = words(app).replace("\\", "")
    assert "A cell of labels.csv can hold several classes, parted by '|'" in said
    assert "2 pictures have no class in labels.csv, and wait" in said
    assert _metrics(app) == {"Pictures": "8", "Classes": "2", "Without a class": "2"}
