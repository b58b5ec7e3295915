"""The probe that proposes several classes: right on what it can tell apart, honest about how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.data import importing, items, projects, tag_suggestions
from engine.data.marks import TAGGING
from engine.errors import StudioError
from engine.training import tag_probe
from tests.pages.drawn import things, things_in


@pytest.fixture
def project(home: Path, tmp_path: Path) -> projects.Project:
    made = projects.create("Things", TAGGING)
    importing.import_path(made.id, things(tmp_path / "in", 80))
    return made


def tag(project: projects.Project, count: int) -> list[items.Item]:
    """Tag the first pictures as they are; return the rest."""
    everything = items.list_items(project.id, order="name", limit=100)
    for number, item in enumerate(everything[:count]):
        items.set_labels(item.id, things_in(number), item.revision)
    return everything[count:]


def test_it_proposes_what_people_would_say(project: projects.Project) -> None:
    rest = tag(project, 40)
    found = tag_probe.suggest(project.id, lambda _: None, lambda: False)
    assert found is not None
    assert (found["labelled"], found["classes"]) == (40, ["circle", "square"])
    assert found["accuracy"] >= 0.85
    proposed = tag_suggestions.of_items([item.id for item in rest])
    right = sum(tuple(sorted(one.label for one in proposed.get(item.id, []))) == things_in(int(item.name[:3])) for item in rest)
    assert right >= 36, f"{right} of {len(rest)}"
    assert found["suggested"] == len(proposed)
    tried, correct = next((tried, correct) for score, tried, correct in found["curve"] if score == 0.9)
    assert tried >= 15
    assert correct >= 0.9 * tried
    assert projects.summary(project.id).labelled == 40


def test_too_little_to_learn_from_is_said(project: projects.Project) -> None:
    rest = tag(project, 19)
    with pytest.raises(StudioError, match="19 pictures are tagged, and suggestions need 20"):
        tag_probe.suggest(project.id, lambda _: None, lambda: False)
    for item in [*items.list_items(project.id, order="name", limit=19), rest[0]]:
        items.set_labels(item.id, ["same"], item.revision)
    with pytest.raises(StudioError, match="no class is shown by at least 2 tagged pictures and missing in 2"):
        tag_probe.suggest(project.id, lambda _: None, lambda: False)


def test_it_leaves_when_told(project: projects.Project) -> None:
    tag(project, 40)
    assert tag_probe.suggest(project.id, lambda _: None, lambda: True) is None
    assert tag_suggestions.doubted(project.id) == []


@pytest.mark.parametrize("classes", [1, 3])
def test_judging_keeps_a_group_together_whatever_the_number_of_classes(classes: int) -> None:
    """Every picture is there twice under another name; without groups a probe would know each answer, and noise would look learned."""
    chance = np.random.default_rng(0)
    features = np.repeat(chance.normal(size=(40, 1024)).astype(np.float32), 2, axis=0)
    targets = np.repeat(chance.random((40, classes)) < 0.5, 2, axis=0)
    alone, _ = tag_probe.judge(features, targets, np.array([str(one) for one in range(80)]))
    grouped, _ = tag_probe.judge(features, targets, np.repeat([str(one) for one in range(40)], 2))
    assert alone.shape == targets.shape
    assert ((alone >= 0.5) == targets).mean() > 0.75
    assert ((grouped >= 0.5) == targets).mean() < 0.7
