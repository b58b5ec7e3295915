from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data import items, projects, sample_pictures, samples, shapes, versions
from engine.errors import StudioError


@pytest.mark.parametrize("key", [sample.key for sample in samples.SAMPLES])
def test_a_sample_is_made_once_and_can_be_trained(home: Path, key: str) -> None:
    made = samples.make(key)
    assert samples.make(key) == made
    assert [project.id for project in projects.list_projects()] == [made.id]
    assert made.sample == key
    manifest = versions.freeze(made.id)
    assert len(manifest["items"]) == projects.summary(made.id).items >= 200
    assert {entry["split"] for entry in manifest["items"]} == {"train", "val", "test"}
    with Image.open(samples.sample(key).cover) as cover:
        assert cover.size == (480, 320)


def test_what_is_offered_looks_as_different_as_it_is(home: Path) -> None:
    """Boxes and outlines of the same scenes: their covers show the labels."""
    boxed, outlined = (np.asarray(Image.open(samples.sample(key).cover).convert("RGB"), np.int16) for key in ("things", "outlines"))
    assert 0.02 < (np.abs(boxed - outlined).max(2) > 40).mean() < 0.6


def test_patches_of_different_splits_share_no_pixel() -> None:
    for (top, bottom), (above, _) in zip(list(sample_pictures._BANDS.values())[1:], list(sample_pictures._BANDS.values())[:-1], strict=True):
        assert top >= above
        assert bottom > top
    edges = sorted(sample_pictures._BANDS.values())
    assert all(first[1] <= second[0] for first, second in zip(edges, edges[1:], strict=False))


@pytest.mark.parametrize("key", ["surfaces", "notes"])
def test_samples_are_the_same_everywhere(key: str) -> None:
    one, two = ([picture.tobytes() for picture in samples.sample(key).pictures.faces()] for _ in range(2))
    assert one == two


def test_labels_say_what_lies_there(home: Path) -> None:
    """A box is that of the pixels, and a note has as many tags as digits."""
    boxed, outlined, notes = (versions.freeze(samples.make(key).id) for key in ("things", "outlines", "notes"))
    assert (boxed["task"], outlined["task"], notes["task"]) == ("object-detection", "semantic-segmentation", "multi-label-classification")
    for one, other in zip(boxed["items"], outlined["items"], strict=True):
        assert one["sha256"] == other["sha256"]
        for box, mask in zip(one["marks"], other["marks"], strict=True):
            rows, columns = (np.flatnonzero(shapes.mask_of(mask).any(axis)) for axis in (1, 0))
            assert box["class"] == mask["class"]
            assert box["box"] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert {len(entry["labels"]) for entry in notes["items"]} == {1, 2, 3}


def test_a_fresh_workspace_gets_them_and_nothing_brings_back_what_was_removed(home: Path) -> None:
    samples.ensure()
    made = projects.list_projects()
    assert [project.sample for project in made] == [sample.key for sample in samples.SAMPLES if sample.ready]
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
