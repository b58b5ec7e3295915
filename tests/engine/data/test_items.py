from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert

from engine.data import importing, items, projects, store
from engine.data.projects import Project
from engine.errors import StudioError


@pytest.fixture
def full(project: Project, folder: Path) -> Project:
    importing.import_path(project.id, folder)
    return project


def test_listing_pages_and_filters(full: Project) -> None:
    everything = items.list_items(full.id, limit=100)
    assert [item.id for item in everything] == sorted(item.id for item in everything)
    assert items.list_items(full.id, offset=15, limit=10) == everything[15:]
    assert items.list_items(full.id, order="newest", limit=3) == everything[:-4:-1]
    assert [item.name for item in items.list_items(full.id, order="name", limit=2)] == ["cat/00.png", "cat/02.png"]
    cats = items.list_items(full.id, label="cat", limit=100)
    assert {item.label for item in cats} == {"cat"}
    assert len(cats) == items.count_items(full.id, label="cat") == 10
    tests = items.list_items(full.id, split="test", label="dog")
    assert {(item.label, item.split) for item in tests} == {("dog", "test")}
    assert items.count_items(full.id, label="no such class") == 0
    assert items.get_items([everything[3].id, 10**9, everything[1].id]) == [everything[3], everything[1]]


def test_an_item_knows_its_picture(full: Project, folder: Path) -> None:
    item = items.list_items(full.id, label="dog")[0]
    assert item.path == folder / item.name
    assert (item.width, item.height, item.revision, item.excluded) == (40, 30, 0, False)


def test_sorting(full: Project) -> None:
    item = items.list_items(full.id, label="cat")[0]
    edited = items.set_label(item.id, " big  bird ", item.revision)
    assert (edited.label, edited.revision) == ("big bird", item.revision + 1)
    assert items.classes(full.id) == ["big bird", "cat", "dog"]
    bare = items.set_label(item.id, None, edited.revision)
    assert bare.label is None
    assert [one.id for one in items.list_items(full.id, unlabelled=True)] == [item.id]
    assert items.count_items(full.id, unlabelled=True) == 1


def test_the_second_of_two_browsers_is_told(full: Project) -> None:
    item = items.list_items(full.id)[0]
    items.set_label(item.id, "dog", item.revision)
    with pytest.raises(StudioError, match="changed elsewhere"):
        items.set_label(item.id, "cat", item.revision)
    assert items.get_item(item.id).label == "dog"
    assert "bird" not in items.classes(full.id)
    with pytest.raises(StudioError, match="changed elsewhere"):
        items.set_label(item.id, "bird", item.revision)
    assert "bird" not in items.classes(full.id), "a refused edit leaves nothing behind"
    with pytest.raises(StudioError, match="no picture"):
        items.set_label(10**9, "cat", 0)


def test_of_many_at_once_exactly_one_is_saved(full: Project) -> None:
    item = items.list_items(full.id)[0]
    start = threading.Barrier(8)

    def sort(number: int) -> bool:
        start.wait()
        try:
            items.set_label(item.id, f"class {number}", item.revision)
        except StudioError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        saved = [number for number, won in enumerate(pool.map(sort, range(8))) if won]
    assert len(saved) == 1
    found = items.get_item(item.id)
    assert (found.label, found.revision) == (f"class {saved[0]}", item.revision + 1)


def test_set_aside_and_taken_back(full: Project) -> None:
    item = items.list_items(full.id)[0]
    assert items.exclude(item.id).excluded
    assert items.count_items(full.id) == 19
    assert [one.id for one in items.list_items(full.id, excluded=True)] == [item.id]
    assert not items.exclude(item.id, False).excluded
    assert items.count_items(full.id) == 20


def test_classes_are_renamed_merged_and_removed(full: Project) -> None:
    assert items.rename_class(full.id, "cat", "Cat") == "Cat"
    with pytest.raises(StudioError, match="already a class 'dog'"):
        items.rename_class(full.id, "Cat", "dog")
    items.rename_class(full.id, "Cat", "dog", merge=True)
    assert projects.summary(full.id).classes == {"dog": 20}
    with pytest.raises(StudioError, match="no class 'Cat'"):
        items.rename_class(full.id, "Cat", "bird")
    assert items.delete_class(full.id, "dog") == 20
    assert items.count_items(full.id, unlabelled=True) == 20


@pytest.mark.slow
def test_a_hundred_thousand_pictures_stay_quick(project: Project) -> None:
    """Bounds are ten times what an idle machine takes, so that they speak of missing indexes, not of noise."""
    count = 100_000
    with store.session() as connection:
        ids = [items.class_id_of(connection, project.id, f"class {number}") for number in range(20)]
        rows = [
            {
                "id": n,
                "project_id": project.id,
                "name": f"{n}.jpg",
                "path": f"/x/{n}.jpg",
                "sha256": f"{n:064x}",
                "width": 1,
                "height": 1,
                "split": "train",
                "added": 0.0,
            }
            for n in range(1, count + 1)
        ]
        connection.execute(insert(store.items), rows)
        marks = [{"item_id": n, "class_id": ids[n % 20], "kind": "class", "by": "import", "created": 0.0} for n in range(1, count + 1) if n % 10]
        connection.execute(insert(store.marks), marks)
    slow = {}
    jobs = {
        "summary": lambda: projects.summary(project.id),
        "count": lambda: items.count_items(project.id),
        "first page": lambda: items.list_items(project.id),
        "last page": lambda: items.list_items(project.id, offset=count - 60),
        "page of a class": lambda: items.list_items(project.id, label="class 7", offset=4000),
        "count of a class": lambda: items.count_items(project.id, label="class 7"),
        "unlabelled page": lambda: items.list_items(project.id, unlabelled=True),
        "unlabelled": lambda: items.count_items(project.id, unlabelled=True),
    }
    for name, job in jobs.items():
        begun = time.perf_counter()
        job()
        slow[name] = round(time.perf_counter() - begun, 3)
    assert projects.summary(project.id).unlabelled == count // 10
    assert max(slow.values()) < 1.0, slow
    print(slow)


def test_a_picture_with_several_classes_is_one_picture(tagged: Project) -> None:
    everything = items.list_items(tagged.id, order="name", limit=100)
    assert len({item.id for item in everything}) == len(everything) == items.count_items(tagged.id) == 30
    assert everything[0].labels == ("cat", "dog", "outdoors")
    assert everything[0].label == "cat"
    assert (everything[1].labels, everything[1].label, everything[1].reviewed) == ((), None, True)
    assert items.get_item(everything[0].id) == everything[0]
    assert [item.name for item in items.list_items(tagged.id, label="outdoors", order="name")] == ["00.png", "05.png", "10.png", "15.png", "20.png", "25.png"]
    assert [item.name for item in items.list_items(tagged.id, unlabelled=True)] == ["28.png", "29.png"], "none of these is an answer; nothing said is none"


def test_tagging(tagged: Project) -> None:
    item = items.list_items(tagged.id, unlabelled=True)[0]
    edited = items.set_labels(item.id, [" big  bird ", "cat", "cat"], item.revision)
    assert (edited.labels, edited.revision, edited.reviewed) == (("big bird", "cat"), item.revision + 1, True)
    with pytest.raises(StudioError, match="changed elsewhere"):
        items.set_labels(item.id, ["dog"], item.revision)
    none = items.set_labels(item.id, [], edited.revision)
    assert (none.labels, none.reviewed) == ((), True)
    open_again = items.set_labels(item.id, [], none.revision, reviewed=False)
    assert open_again.id in items.list_ids(tagged.id, unlabelled=True)
    with pytest.raises(StudioError, match="class"):
        items.set_labels(item.id, ["cat", "  "], open_again.revision)
    assert items.get_item(item.id) == open_again, "a name that is none leaves everything as it was"


def test_merging_classes_that_pictures_share_leaves_one(tagged: Project) -> None:
    items.rename_class(tagged.id, "cat", "dog", merge=True)
    assert projects.summary(tagged.id).classes == {"dog": sum(number % 2 == 0 or number % 3 == 0 for number in range(28)), "outdoors": 6}
    assert items.list_items(tagged.id, order="name")[0].labels == ("dog", "outdoors")
    items.delete_class(tagged.id, "outdoors")
    assert items.list_items(tagged.id, order="name")[5].labels == ()
    assert items.count_items(tagged.id, unlabelled=True) == 2, "of the classes that are left it shows none, and that stays known"
