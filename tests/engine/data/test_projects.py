from __future__ import annotations

from pathlib import Path

import pytest

from engine import locks, workspace
from engine.data import importing, items, projects
from engine.data.projects import Project
from engine.errors import StudioError


def test_make_find_rename(home: Path) -> None:
    made = projects.create("  Pets  at home ")
    assert made.name == "Pets at home"
    assert projects.get(made.id) == made == projects.find("pets AT home") == projects.find(made.id)
    projects.rename(made.id, "Zoo")
    projects.set_start(made.id, "linear/efficientnet_lite0")
    assert (projects.get(made.id).name, projects.get(made.id).start) == ("Zoo", "linear/efficientnet_lite0")
    with pytest.raises(StudioError, match="nearest is 'Zoo'"):
        projects.find("Zo")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("", "needs a name"), (" \t\n", "needs a name"), ("\u202e\u200f", "needs a name"), ("x" * 101, "101 letters"), ("a\x07b", "control character")],
)
def test_names_that_are_refused(home: Path, name: str, problem: str) -> None:
    with pytest.raises(StudioError, match=problem):
        projects.create(name)
    assert projects.list_projects() == []


@pytest.mark.parametrize("name", ["猫と犬", "🐈\u200d⬛ cats", "<b>bold</b>", "../../etc", "'; DROP TABLE projects; --", "Ünï"])
def test_any_visible_name_is_kept_as_it_is(home: Path, name: str) -> None:
    assert projects.find(projects.create(name).id).name == name


def test_two_projects_cannot_share_a_name(home: Path) -> None:
    projects.create("Pets")
    other = projects.create("Zoo")
    with pytest.raises(StudioError, match="already a project called 'PETS'"):
        projects.create("PETS")
    with pytest.raises(StudioError, match="already"):
        projects.rename(other.id, "pets")
    projects.rename(other.id, "ZOO")  # its own name does not stand in its way


def test_delete_is_undone_and_purge_is_not(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder, in_place=False)
    projects.delete(project.id)
    assert projects.list_projects() == []
    assert [one.id for one in projects.list_projects(deleted=True)] == [project.id]
    projects.create("Pets")
    projects.restore(project.id)
    assert projects.get(project.id).name == "Pets (2)"
    assert projects.summary(project.id).items == 20
    item = items.list_items(project.id)[0]
    projects.purge(project.id)
    assert not item.path.exists()
    with pytest.raises(StudioError, match="no project"):
        projects.get(project.id)
    with pytest.raises(StudioError, match="no picture"):
        items.get_item(item.id)


def test_purge_leaves_pictures_that_are_used_in_place(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    projects.purge(project.id)
    assert len(list(folder.rglob("*.png"))) == 20


def test_purge_waits_for_a_run(project: Project) -> None:
    lock = locks.hold(workspace.project_folder(project.id, "runs", "run-1") / "lock")
    assert lock is not None
    with lock, pytest.raises(StudioError, match="being worked on"):
        projects.purge(project.id)
    projects.purge(project.id)


def test_summary_counts(project: Project, folder: Path) -> None:
    importing.import_path(project.id, folder)
    items.add_class(project.id, "bird")
    first, second = items.list_items(project.id, limit=2)
    items.exclude(first.id)
    items.set_label(second.id, None, second.revision)
    found = projects.summary(project.id)
    assert (found.items, found.labelled, found.unlabelled, found.excluded) == (19, 18, 1, 1)
    assert found.classes == {"bird": 0, "cat": 8, "dog": 10}
    assert sum(found.splits.values()) == 19
    assert len(found.cover_items) == 4
    assert first.id not in found.cover_items
    covered = {items.get_item(item).label for item in found.cover_items}
    assert {"cat", "dog"} <= covered
