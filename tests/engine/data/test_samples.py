from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.data import items, projects, samples, versions
from engine.errors import StudioError


@pytest.mark.parametrize("key", [sample.key for sample in samples.SAMPLES])
def test_a_sample_is_made_once_and_can_be_trained(home: Path, key: str) -> None:
    begun = time.perf_counter()
    made = samples.make(key)
    seconds = time.perf_counter() - begun
    assert samples.make(key) == made
    assert [project.id for project in projects.list_projects()] == [made.id]
    assert made.sample == key
    manifest = versions.freeze(made.id)
    assert len(manifest["items"]) == projects.summary(made.id).items >= 200
    assert {entry["split"] for entry in manifest["items"]} == {"train", "val", "test"}
    assert seconds < 15, "takes under a second on an idle machine"
    with Image.open(samples.sample(key).cover) as cover:
        assert cover.size == (480, 320)


def test_patches_of_different_splits_share_no_pixel() -> None:
    for (top, bottom), (above, _) in zip(list(samples._BANDS.values())[1:], list(samples._BANDS.values())[:-1], strict=True):
        assert top >= above
        assert bottom > top
    edges = sorted(samples._BANDS.values())
    assert all(first[1] <= second[0] for first, second in zip(edges, edges[1:], strict=False))


def test_samples_are_the_same_everywhere() -> None:
    one, two = ([picture.tobytes() for _, _, picture in samples.sample("surfaces").pictures()] for _ in range(2))
    assert one == two


def test_a_fresh_workspace_gets_them_and_nothing_brings_back_what_was_removed(home: Path) -> None:
    samples.ensure()
    made = projects.list_projects()
    assert [project.sample for project in made] == [sample.key for sample in samples.SAMPLES]
    for project in made:
        projects.delete(project.id)
        projects.purge(project.id)
    samples.ensure()
    assert projects.list_projects() == []


def test_a_workspace_in_use_is_left_alone(home: Path) -> None:
    projects.create("Mine")
    samples.ensure()
    assert [project.name for project in projects.list_projects()] == ["Mine"]


def test_a_half_made_sample_is_finished(home: Path) -> None:
    empty = projects.create("Surfaces", sample="surfaces")
    assert samples.make("surfaces").id == empty.id
    assert items.count_items(empty.id) > 200


def test_a_deleted_sample_comes_back(home: Path) -> None:
    made = samples.make("surfaces")
    projects.delete(made.id)
    projects.create("Surfaces")
    again = samples.make("surfaces")
    assert (again.id, again.name, again.deleted) == (made.id, "Surfaces (2)", None)


def test_an_unknown_sample(home: Path) -> None:
    with pytest.raises(StudioError, match="no sample 'cats'"):
        samples.make("cats")


def test_making_samples_imports_nothing_heavy(home: Path) -> None:
    code = """
import sys
from engine.data import samples
samples.make("surfaces")
print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "torchvision", "sklearn", "skimage", "scipy", "streamlit", "pandas"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
