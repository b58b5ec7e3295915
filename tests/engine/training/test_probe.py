"""The probe that proposes classes: right on what it can tell apart, honest about how often, from the cache the second time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data import importing, items, projects, suggestions
from engine.errors import StudioError
from engine.training import probe


def draw(folder: Path, each: int = 24) -> Path:
    """Pictures of stripes that lie or stand, in noise: no two alike."""
    chance = np.random.default_rng(0)
    for name in ("lying", "standing"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            stripes = np.sin(np.arange(96) / chance.uniform(2, 4)) * 90 + 128
            pixels = np.tile(stripes, (96, 1)) + chance.normal(0, 25, (96, 96))
            pixels = pixels.T if name == "lying" else pixels
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def project(home: Path, tmp_path: Path) -> projects.Project:
    made = projects.create("Stripes")
    importing.import_path(made.id, draw(tmp_path / "in"))
    return made


def unsort(project: projects.Project, keep: int) -> dict[int, str]:
    """Take the class of all but a few of each away; return what it was."""
    taken = {}
    for name in ("lying", "standing"):
        for item in items.list_items(project.id, label=name)[keep:]:
            taken[item.id] = name
            items.set_label(item.id, None, item.revision)
    return taken


def test_it_proposes_what_people_would_say(project: projects.Project) -> None:
    truth = unsort(project, keep=10)
    said: list[object] = []
    found = probe.suggest(project.id, said.append, lambda: False)
    assert found is not None
    assert (found["labelled"], found["suggested"], found["classes"]) == (20, 28, ["lying", "standing"])
    proposals = suggestions.of_items(list(truth))
    right = sum(proposals[one].label == name for one, name in truth.items())
    assert right >= 26, f"{right} of {len(truth)}"
    assert found["accuracy"] >= 0.9
    assert found["curve"][0][1] == 20
    assert all(count >= correct for _, count, correct in found["curve"])
    assert projects.summary(project.id).unlabelled == 28
    files = sorted(path.stat().st_mtime_ns for path in (Path(project_home()) / "cache" / "features").iterdir())
    again = probe.suggest(project.id, said.append, lambda: False)
    assert again is not None
    assert sorted(path.stat().st_mtime_ns for path in (Path(project_home()) / "cache" / "features").iterdir()) == files  # nothing was computed twice
    assert again["curve"] == found["curve"]


def project_home() -> Path:
    from engine import workspace

    return workspace.home()


@pytest.mark.parametrize(("keep", "words"), [(4, "8 pictures have a class, and suggestions need 20"), (0, "0 pictures have a class")])
def test_too_few_labels_are_said(project: projects.Project, keep: int, words: str) -> None:
    unsort(project, keep)
    with pytest.raises(StudioError, match=words):
        probe.suggest(project.id, lambda _: None, lambda: False)


def test_one_class_or_a_lone_picture_is_said(project: projects.Project) -> None:
    for item in items.list_items(project.id, label="standing")[1:]:
        items.set_label(item.id, None, item.revision)
    with pytest.raises(StudioError, match="only one picture is sorted as 'standing'"):
        probe.suggest(project.id, lambda _: None, lambda: False)
    lone = items.list_items(project.id, label="standing")[0]
    items.set_label(lone.id, None, lone.revision)
    with pytest.raises(StudioError, match="the same class"):
        probe.suggest(project.id, lambda _: None, lambda: False)


def test_it_leaves_when_told(project: projects.Project) -> None:
    unsort(project, keep=10)
    assert probe.suggest(project.id, lambda _: None, lambda: True) is None
    assert suggestions.count(project.id) == 0


def test_judging_keeps_a_group_together() -> None:
    """Every picture is there twice under another name; without groups a probe would know each answer, and noise would look learned."""
    chance = np.random.default_rng(0)
    features = np.repeat(chance.normal(size=(40, 1024)).astype(np.float32), 2, axis=0)
    targets = np.repeat(chance.integers(0, 2, 40), 2)
    alone, _ = probe.judge(features, targets, np.array([str(one) for one in range(80)]), 2)
    grouped, _ = probe.judge(features, targets, np.repeat([str(one) for one in range(40)], 2), 2)
    assert (alone.argmax(1) == targets).mean() > 0.85
    assert (grouped.argmax(1) == targets).mean() < 0.75
