from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.data import alongside, importing, items, projects, store
from engine.data.alongside import Alongside
from engine.data.entering import Entry
from engine.data.fitting import Fit
from engine.data.formats import DataSet, Found
from engine.data.projects import Project
from engine.data.reading import Taken
from engine.errors import StudioError


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alongside, "BATCH", 4)


def _taken(number: int, label: str | None = None) -> Taken:
    return Taken(Found(f"{number}.jpg", label), f"{number:064}", f"/nowhere/{number}.jpg", 30, 20)


def _entered(project: Project, taken: list[Taken], begin: Callable[[], object] = lambda: None) -> Alongside:
    with Alongside(project.id, DataSet("folders", [one.found for one in taken]), Fit("", True), {}) as entry:
        for place, one in enumerate(taken):
            entry.take([one], place + 1, len(taken))
            begin()
        entry.end()
    return entry


def test_pictures_are_entered_while_others_come_and_in_their_order(project: Project) -> None:
    seen: list[int] = []
    add = Entry.add

    def counting(entry: Entry, taken: list[Taken]) -> None:
        add(entry, taken)
        seen.append(len(taken))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "add", counting)
        _entered(project, [_taken(number, "ab"[number % 2]) for number in range(10)])
    assert len(seen) > 1
    assert sum(seen) == 10
    listed = items.list_items(project.id)
    assert [item.name for item in listed] == [f"{number}.jpg" for number in range(10)]
    assert [item.label for item in listed] == ["a", "b"] * 5


def test_what_a_later_picture_says_of_an_earlier_batch_counts(project: Project) -> None:
    taken = [_taken(number) for number in range(9)]
    taken.append(Taken(Found("again.jpg", "cat", reviewed=True), taken[0].sha256, "/nowhere/again.jpg", 30, 20))
    _entered(project, taken)
    listed = items.list_items(project.id)
    assert [item.label for item in listed] == ["cat"] + [None] * 8


def test_others_can_write_while_reading_will_take_long(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alongside, "_AHEAD_S", 0.0)
    monkeypatch.setattr(store, "BUSY_MS", 100)
    made: list[str] = []
    write = lambda: made.append(projects.create(f"Other {len(made)}").id) if len(made) < 11 else None  # noqa: E731
    _entered(project, [_taken(number) for number in range(12)], write)
    assert (len(made), len(items.list_items(project.id))) == (11, 12)


def test_a_stall_gives_the_database_back_and_all_are_entered_at_the_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alongside, "_PATIENCE_S", 0.2)
    waits = iter([0.0] * 7 + [0.8] + [0.0] * 100)
    made: list[str] = []

    def stall() -> None:
        wait = next(waits)
        time.sleep(wait)
        if wait:
            made.append(projects.create("Other").id)

    _entered(project, [_taken(number) for number in range(12)], stall)
    assert len(made) == 1
    assert [item.name for item in items.list_items(project.id)] == [f"{number}.jpg" for number in range(12)]


def test_without_an_end_nothing_is_entered(project: Project) -> None:
    def stop() -> None:
        raise StudioError("enough", "Stop.")

    entered: list[int] = []
    with pytest.raises(StudioError, match="enough"):
        _entered(project, [_taken(number, "cat") for number in range(9)], lambda: entered.append(1) if len(entered) < 8 else stop())
    assert items.list_items(project.id) == []
    assert items.classes(project.id) == []


def test_a_fault_of_the_database_is_told_while_others_come(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StudioError("the disk is full", "Free some space.")

    monkeypatch.setattr(Entry, "add", full)
    with pytest.raises(StudioError, match="disk is full"):
        _entered(project, [_taken(number) for number in range(1000)], lambda: time.sleep(0.001))
    assert items.list_items(project.id) == []


def test_two_projects_import_at_once(home: Path, folder: Path) -> None:
    """Each knows its pictures' ids beforehand; neither may take the other's."""
    import threading

    both = [projects.create("One"), projects.create("Two")]
    threads = [threading.Thread(target=importing.import_path, args=(project.id, folder)) for project in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.session() as connection:
        rows = connection.execute(select(store.items.c.id, store.items.c.project_id)).all()
    assert len(rows) == 40
    assert {project.id: items.count_items(project.id) for project in both} == {project.id: 20 for project in both}
