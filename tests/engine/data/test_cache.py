from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import workspace
from engine.data import cache, decoding, images, importing, items, versions
from engine.data.projects import Project
from engine.errors import StudioError

PREPROCESSING = {"image_size": 28, "crop_share": 0.875, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}


def _turned(how: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = how
    return exif


@pytest.fixture
def manifest(project: Project, folder: Path) -> dict[str, Any]:
    importing.import_path(project.id, folder)
    return versions.freeze(project.id)


def test_evaluation_sees_what_for_model_gives(manifest: dict[str, Any]) -> None:
    with cache.decoded(manifest, PREPROCESSING) as found:
        assert found.complete
        assert found.store_px == 32
        assert found.images_NHWC.shape == (20, 32, 32, 3)
        view = found.evaluation_view(np.arange(20))
        for row, entry in enumerate(manifest["items"]):
            picture = images.open_rgb(versions.absolute(entry["path"]), 32)
            np.testing.assert_array_equal(view[row], images.for_model(picture, PREPROCESSING))
            assert found.item_ids_N[row] == entry["id"]
            assert found.labels_N[row] == entry["label"]
        assert sorted(np.concatenate(list(found.rows.values())).tolist()) == list(range(20))
        assert {manifest["items"][row]["split"] for row in found.rows["train"]} == {"train"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"interpolation": "bicubic"},
        {"fit": "whole", "height": 64, "width": 96},
        {"image_size": 224, "crop_share": 1.0},
        {"fit": "stretch", "image_size": 64, "crop_share": 1.0},
    ],
)
@pytest.mark.parametrize(
    ("name", "options"),
    [("plain.jpg", {}), ("turned.jpg", {"exif": _turned(6)}), ("grey.jpg", {}), ("large.jpg", {}), ("clear.png", {}), ("small.png", {}), ("two.jpg", {})],
)
def test_decoding_differs_from_pillow_by_next_to_nothing(tmp_path: Path, name: str, options: dict[str, Any], change: dict[str, Any]) -> None:
    size = {"large.jpg": (900, 700), "small.png": (20, 31)}.get(name, (201, 150))
    mode = {"grey.jpg": "L", "clear.png": "RGBA", "two.jpg": "CMYK"}.get(name, "RGB")
    smooth = Image.effect_noise((size[0] // 8 + 1, size[1] // 8 + 1), 120).resize(size, Image.Resampling.BICUBIC)
    Image.merge("RGB", (smooth, smooth.transpose(Image.Transpose.FLIP_LEFT_RIGHT), smooth.rotate(180))).convert(mode).save(tmp_path / name, **options)
    content, form = (tmp_path / name).read_bytes(), {**PREPROCESSING, **change}
    by_pillow = images.stored(images.opened(tmp_path / name, form), form)
    difference = np.abs(decoding.stored(content, form, name).astype(int) - by_pillow)
    assert by_pillow.std() > 20
    assert difference.max() <= 2
    assert difference.mean() < 0.05


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_decoding_says_of_a_jpeg_that_is_cut_short_what_pillow_says(tmp_path: Path, cut: float) -> None:
    Image.effect_noise((200, 150), 90).convert("RGB").save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    with pytest.raises(StudioError, match=r"x\.jpg is damaged or cut short"):
        decoding.stored(content[: int(len(content) * cut)], PREPROCESSING, "x.jpg")


def test_without_decoding_ahead_only_what_is_waited_for_is_decoded(manifest: dict[str, Any]) -> None:
    with cache.filling(manifest, PREPROCESSING, threads=2, ahead=False) as found:
        assert found.done == 0
        found.wait([3, 4, 3])
        assert found.done == 2
        found.wait()
        assert found.complete
    assert len(list(workspace.cache("decoded").glob("*.json"))) == 1


def test_decoded_once(manifest: dict[str, Any]) -> None:
    with cache.decoded(manifest, PREPROCESSING, threads=2) as first:
        pixels = np.array(first.images_NHWC)
    for entry in manifest["items"]:
        versions.absolute(entry["path"]).unlink()
    told: list[tuple[int, int]] = []
    with cache.decoded(manifest, PREPROCESSING, report=lambda done, total: told.append((done, total))) as second:
        np.testing.assert_array_equal(second.images_NHWC, pixels)
        second.images_NHWC[0] = 0  # a private copy: the file stays as it is
    with cache.decoded(manifest, PREPROCESSING) as third:
        np.testing.assert_array_equal(third.images_NHWC, pixels)
    assert told[-1] == (20, 20)


@pytest.mark.parametrize("change", [{"image_size": 56}, {"interpolation": "bicubic"}])
def test_another_geometry_is_another_set(manifest: dict[str, Any], change: dict[str, Any]) -> None:
    cache.decoded(manifest, PREPROCESSING).close()
    cache.decoded(manifest, {**PREPROCESSING, **change}).close()
    assert len(list(workspace.cache("decoded").glob("*.u8"))) == 2


def test_rows_are_ready_when_waited_for(manifest: dict[str, Any]) -> None:
    with cache.decoded(manifest, {**PREPROCESSING, "interpolation": "bicubic"}) as whole:
        expected = np.array(whole.images_NHWC)
    for path in workspace.cache("decoded").iterdir():
        path.unlink()
    with cache.filling(manifest, {**PREPROCESSING, "interpolation": "bicubic"}, order=range(19, -1, -1), threads=1) as found:
        for rows in ([0, 1, 2], [19, 5], np.array([7])):
            found.wait(rows)
            np.testing.assert_array_equal(found.images_NHWC[rows], expected[rows])
        found.wait()
        assert found.complete
        np.testing.assert_array_equal(found.images_NHWC, expected)


def test_added_pictures_are_all_that_is_decoded_anew(manifest: dict[str, Any], project: Project, tmp_path: Path, draw: Callable[..., Path]) -> None:
    cache.decoded(manifest, PREPROCESSING).close()
    for entry in manifest["items"]:
        versions.absolute(entry["path"]).unlink()
    for number in range(4):
        draw(tmp_path / "more" / ("cat", "dog")[number % 2] / f"{number}.png", 100 + number)
    importing.import_path(project.id, tmp_path / "more")
    larger = versions.freeze(project.id)
    with cache.decoded(larger, PREPROCESSING) as found:
        assert len(found) == 24
        assert found.complete


def _vanish(path: Path) -> None:
    path.unlink()


def _change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(("harm", "problem"), [(_vanish, "cannot be read"), (_change, "has changed since it was imported")])
def test_a_picture_that_vanishes_or_changes_is_named(manifest: dict[str, Any], harm: Callable[[Path], None], problem: str) -> None:
    entry = manifest["items"][13]
    harm(versions.absolute(entry["path"]))
    with pytest.raises(StudioError, match=f"{entry['name']}.*{problem}|{problem}.*"):
        cache.decoded(manifest, PREPROCESSING)
    assert list(workspace.cache("decoded").iterdir()) == [], "nothing half-filled stays"
    with cache.filling(manifest, PREPROCESSING, order=[13], threads=1) as found, pytest.raises(StudioError, match=entry["name"]):
        found.wait([0, 13])
    with cache.filling(manifest, PREPROCESSING, order=[13], threads=1) as found:
        for _ in range(3):
            with pytest.raises(StudioError, match=entry["name"]):
                found.wait([13])


def test_stopping_leaves_nothing(manifest: dict[str, Any]) -> None:
    found = cache.decoded(manifest, PREPROCESSING, should_stop=lambda: True, threads=1)
    found.close()
    again = cache.decoded(manifest, PREPROCESSING)
    again.close()
    assert again.complete
    assert not list(workspace.cache("decoded").glob("*.part"))


def test_a_damaged_cache_is_made_again(manifest: dict[str, Any]) -> None:
    with cache.decoded(manifest, PREPROCESSING) as first:
        pixels = np.array(first.images_NHWC)
    (path,) = workspace.cache("decoded").glob("*.u8")
    path.write_bytes(path.read_bytes()[:-1])
    with cache.decoded(manifest, PREPROCESSING) as second:
        np.testing.assert_array_equal(second.images_NHWC, pixels)


def test_the_oldest_set_makes_room(manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cache.decoded(manifest, PREPROCESSING).close()
    monkeypatch.setattr(cache, "LIMIT_BYTES", 20 * 64 * 64 * 3)
    cache.decoded(manifest, {**PREPROCESSING, "image_size": 56}).close()
    assert [path.name.split("-")[0] for path in workspace.cache("decoded").glob("*.u8")] == ["64"]


def test_a_disk_that_is_too_small_is_said_before_anything_is_decoded(manifest: dict[str, Any]) -> None:
    with pytest.raises(StudioError, match="the disk is full: the decoded pictures need"):
        cache.filling(manifest, {**PREPROCESSING, "image_size": 2_000_000, "crop_share": 1.0})


def test_leaving_without_closing_ends_the_process(manifest: dict[str, Any], project: Project) -> None:
    code = f"""
from engine.data import cache, versions
found = cache.filling(versions.load({project.id!r}, {manifest["id"]!r}), {PREPROCESSING!r})
found.wait([0])
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    assert items.count_items(project.id) == 20
