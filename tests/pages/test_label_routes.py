"""The marks of a picture by route: what is saved, what is refused, and that a retry is no conflict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.data import importing, items, marks, projects
from engine.data.marks import Mark
from pages import label_routes
from tests.pages.asgi import Answer, ask
from tests.pages.drawn import flat

JSON = {"content-type": "application/json"}
BOX = {"label": "cat", "kind": "box", "geometry": {"box": [1, 2, 30, 20]}}


@pytest.fixture
def item(home: Path, tmp_path: Path) -> items.Item:
    project = projects.create("Boxes", "object-detection")
    importing.import_path(project.id, flat(tmp_path / "flat", 3))
    return items.list_items(project.id)[0]


def read(item: items.Item) -> Answer:
    return ask(f"/graft/marks/{item.id}")


def save(item: items.Item, revision: object, *rows: object, headers: dict[str, str] = JSON, **more: object) -> Answer:
    body = json.dumps({"revision": revision, "marks": rows, **more}).encode()
    return ask(f"/graft/marks/{item.id}", method="PUT", headers=headers, body=[body])


def test_what_was_saved_is_read(item: items.Item) -> None:
    answer = save(item, 0, BOX, {**BOX, "label": "dog", "by": "model", "score": 0.75})
    assert (answer.status, answer.json) == (200, {"revision": 1})
    now = read(item)
    assert now.headers["cache-control"] == "no-store"
    assert [(row["label"], row["by"], row["score"]) for row in now.json["marks"]] == [("cat", "person", None), ("dog", "model", 0.75)]
    assert (now.json["item"]["revision"], now.json["item"]["width"], now.json["item"]["reviewed"]) == (1, 80, False)


def test_done_is_kept_and_stays_while_drawing_goes_on(item: items.Item) -> None:
    save(item, 0, reviewed=True)
    assert items.get_item(item.id).reviewed
    save(item, 1, BOX, reviewed=None)
    assert items.get_item(item.id).reviewed
    save(item, 2, BOX, reviewed=False)
    assert not items.get_item(item.id).reviewed


def test_who_was_slower_is_refused_and_told_what_is_there(item: items.Item) -> None:
    save(item, 0, BOX)
    answer = save(item, 0, {**BOX, "label": "dog"})
    assert answer.status == 409
    assert "changed elsewhere" in answer.json["problem"]
    assert [row["label"] for row in answer.json["marks"]] == ["cat"]
    assert answer.json["item"]["revision"] == 1
    assert [mark.label for mark in marks.of_items([item.id])[item.id]] == ["cat"]


def test_an_edit_whose_answer_got_lost_may_be_sent_again(item: items.Item) -> None:
    sent = {"label": " cat ", "kind": "box", "geometry": {"box": [30, 20, 1.0001, 2]}}
    assert save(item, 0, sent, reviewed=True).json == {"revision": 1}
    again = save(item, 0, sent, reviewed=True)
    assert (again.status, again.json) == (200, {"revision": 1})
    assert items.get_item(item.id).revision == 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{**BOX, "geometry": {"box": [5, 5, 5, 5]}}], "no inside"),
        ([{**BOX, "geometry": {"box": [1, 2, float("nan"), 4]}}], "not a number"),
        ([{**BOX, "geometry": {"box": [1, 2, "x", 4]}}], "damaged"),
        ([{**BOX, "geometry": None}], "no kind of label"),
        ([{**BOX, "kind": "class"}], "cannot be read"),
        ([{**BOX, "by": "nobody"}], "cannot be read"),
        ([{**BOX, "label": 7}], "cannot be read"),
        ([{**BOX, "label": "\u202e"}], "needs a name"),
        (["cat"], "cannot be read"),
        ([BOX] * 5001, "5,000 labels"),
        ([{"label": "cat", "kind": "mask", "geometry": {"size": [60, 80], "counts": "??"}}], "damaged"),
    ],
)
def test_what_is_no_mark_is_refused_and_nothing_is_written(item: items.Item, rows: list[object], words: str) -> None:
    save(item, 0, BOX)
    answer = save(item, 1, *rows)
    assert answer.status == 400
    assert words in answer.json["problem"]
    assert items.get_item(item.id).revision == 1
    assert len(marks.of_items([item.id])[item.id]) == 1


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"{}", b'{"revision": true, "marks": []}', b'{"revision": 0, "marks": [], "reviewed": 3}', b"[" * 100_000])
def test_what_is_no_save_is_refused(item: items.Item, body: bytes) -> None:
    answer = ask(f"/graft/marks/{item.id}", method="PUT", headers=JSON, body=[body])
    assert (answer.status, answer.json["problem"]) == (400, "what the page sent cannot be read")


def test_a_save_is_bounded(item: items.Item) -> None:
    answer = ask(f"/graft/marks/{item.id}", method="PUT", headers=JSON, body=[b" " * (1 << 20)] * 17)
    assert answer.status == 400
    assert f"{label_routes.MOST_BYTES >> 20} MB" in answer.json["problem"]


def test_foreign_pages_and_forms_are_refused(item: items.Item) -> None:
    assert save(item, 0, BOX, headers={**JSON, "origin": "http://evil.example"}).status == 403
    assert save(item, 0, BOX, headers={**JSON, "sec-fetch-site": "cross-site"}).status == 403
    assert save(item, 0, BOX, headers={"content-type": "text/plain"}).status == 400
    assert items.get_item(item.id).revision == 0


def test_a_picture_that_is_gone_is_said(home: Path) -> None:
    projects.create("Empty")
    assert ask("/graft/marks/7").status == 404
    assert ask("/graft/marks/7", method="PUT", headers=JSON, body=[b'{"revision": 0, "marks": []}']).status == 400


def test_proposals_that_came_meanwhile_are_no_conflict(item: items.Item) -> None:
    marks.propose(item.id, [Mark("dog", "box", {"box": [3, 3, 9, 9]}, score=0.9)])
    assert save(item, 0, BOX).status == 200
    assert [mark.by for mark in marks.of_items([item.id])[item.id]] == ["person"]
