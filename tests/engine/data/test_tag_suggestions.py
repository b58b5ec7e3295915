"""Proposals of several classes a picture: shown from a half on, in the order of doubt, agreed to where every class is sure."""

from __future__ import annotations

import pytest

from engine.data import items, projects, suggestions, tag_suggestions
from engine.data.projects import Project


@pytest.fixture
def proposed(tagged: Project) -> tuple[Project, dict[str, int]]:
    """Six pictures that nobody has looked at any more, with proposals."""
    pictures = items.list_items(tagged.id, order="name", limit=100)
    for item in pictures[22:28]:
        items.set_labels(item.id, [], item.revision, reviewed=False)
    ids = {item.name[:2]: item.id for item in pictures[22:28]}
    said = {
        "22": {"cat": 0.97, "dog": 0.96, "outdoors": 0.06},
        "23": {"cat": 0.95, "dog": 0.55},
        "24": {"cat": 0.2, "dog": 0.1},
        "25": {"outdoors": 0.92, "cat": 0.09},
        "26": {"dog": 0.48},
        "27": {"cat": 0.99},
    }
    rows = [(ids[name], label, score) for name, classes in said.items() for label, score in classes.items()]
    assert suggestions.suggest(tagged.id, rows) == 11
    return tagged, ids


def test_only_what_is_likely_is_shown(proposed: tuple[Project, dict[str, int]]) -> None:
    _, ids = proposed
    shown = tag_suggestions.of_items(list(ids.values()))
    assert {name: [one.label for one in shown.get(item, [])] for name, item in ids.items()} == {
        "22": ["cat", "dog"],
        "23": ["cat", "dog"],
        "24": [],
        "25": ["outdoors"],
        "26": [],
        "27": ["cat"],
    }


def test_what_is_doubted_comes_first(proposed: tuple[Project, dict[str, int]]) -> None:
    project, ids = proposed
    named = {item: name for name, item in ids.items()}
    assert [named[one] for one in tag_suggestions.doubted(project.id)] == ["26", "23", "24", "25", "22", "27"]
    assert [named[one] for one in tag_suggestions.doubted(project.id, surest=True, limit=2)] == ["27", "22"]


def test_in_bulk_only_pictures_that_are_sure_of_every_class(proposed: tuple[Project, dict[str, int]]) -> None:
    project, ids = proposed
    assert projects.summary(project.id).labelled == 22, "a proposal counts for nothing"
    assert (tag_suggestions.count(project.id, above=0.9), tag_suggestions.counts(project.id, above=0.9)) == (3, {"cat": 2, "dog": 1, "outdoors": 1})
    assert tag_suggestions.count(project.id, above=0.95) == 1, "0.06 is not so sure that it is not outdoors"
    done = tag_suggestions.agree_above(project.id, 0.9)
    assert {one: labels for one, labels, _ in done} == {ids["22"]: ("cat", "dog"), ids["25"]: ("outdoors",), ids["27"]: ("cat",)}
    for one, labels, revision in done:
        item = items.get_item(one)
        assert (item.labels, item.revision, item.reviewed) == (labels, revision, True)
    assert tag_suggestions.count(project.id, above=0.9) == 0
    assert projects.summary(project.id).labelled == 25
    assert sorted(tag_suggestions.doubted(project.id)) == sorted(ids[name] for name in ("23", "24", "26")), "the others stay open"


def test_what_people_said_meanwhile_is_left_alone(proposed: tuple[Project, dict[str, int]]) -> None:
    project, ids = proposed
    none = items.get_item(ids["22"])
    items.set_labels(none.id, [], none.revision)
    assert none.id not in tag_suggestions.of_items(list(ids.values()))
    assert suggestions.suggest(project.id, [(ids["22"], "cat", 0.9), (ids["23"], "dog", 0.8)]) == 1, "nor does a job that was slower propose for it"
    tag_suggestions.agree_above(project.id, 0.5)
    assert (items.get_item(none.id).labels, items.get_item(ids["23"]).labels) == ((), ("dog",))
