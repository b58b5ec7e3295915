"""The second stage of an import in a real browser: the pictures are there while they are looked through."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from engine import locks
from tests.e2e.steps import Studio, at_rest, go, key_button, ready, screenshots
from tests.pages.drawn import class_folders, damaged_inside


def _data_page(page: Page, studio: Studio, name: str) -> Path:
    """Make a project, open its Data page, and return its folder."""
    studio.engine("projects", "create", name)
    page.goto("/")
    ready(page)
    page.locator("[class*='st-key-card-']").filter(has_text=name).get_by_role("button", name="Open").click()
    page.wait_for_url(re.compile("project="))
    ready(page)
    go(page, "data")
    found = re.search(r"project=([0-9a-f]+)", page.url)
    assert found
    return studio.home / "projects" / found[1]


def test_pictures_are_there_while_they_are_looked_through(page: Page, studio: Studio) -> None:
    folder = class_folders(studio.home.parent / "fruit", "red", "green", "blue", each=12)
    (folder / "red" / "inside.jpg").write_bytes(damaged_inside((folder / "red" / "0.jpg").read_bytes()))
    lock = locks.hold(_data_page(page, studio, "Slow") / "look.lock")  # as if another process were looking, for as long as this test likes
    assert lock is not None
    with lock:
        page.locator("input.folder").set_input_files(str(folder))
        expect(page.get_by_role("button", name="Import 37 pictures")).to_be_visible()
        key_button(page, "import").click()
        expect(page.get_by_text("All pictures are here")).to_be_visible(timeout=60_000)
        expect(page.locator(".wall .tile").first).to_be_visible()
        expect(page.get_by_test_id("stMetric").filter(has_text="Training")).to_contain_text("–")
        screenshots(page, "data-looking")
        page.reload()
        ready(page)
        page.get_by_text("All pictures are here").click()
        expect(page.get_by_text("Go on meanwhile")).to_be_visible()
        screenshots(page, "data-looking-open")
        key_button(page, "stop-looking").click()
        expect(page.get_by_text("37 pictures still to be looked through")).to_be_visible()
        ready(page)
        screenshots(page, "data-unseen")
        key_button(page, "look-through").click()
        expect(page.get_by_text("All pictures are here")).to_be_visible()
        page.locator(".wall .tile").first.click()
        expect(page.get_by_role("dialog").get_by_role("img").first).to_be_visible()
        page.keyboard.press("Escape")
        at_rest(page.locator(".wall"))
        before = page.locator(".wall").bounding_box()
    expect(page.get_by_text("1 damaged picture taken out of the project")).to_be_visible()
    ready(page)
    at_rest(page.locator(".wall"))
    assert page.locator(".wall").bounding_box() == before  # nothing a person looks at has moved
    screenshots(page, "data-taken-out")
    expect(page.get_by_test_id("stMetric").filter(has_text="Pictures")).to_contain_text("36")
    expect(page.get_by_test_id("stMetric").filter(has_text="Training")).not_to_contain_text("–")


def test_pictures_of_a_large_zip_are_seen_before_they_are_files(page: Page, studio: Studio) -> None:
    packed = studio.home.parent / "many.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(1100):
            memory = io.BytesIO()
            Image.new("RGB", (32, 24), (number % 256, number // 256 * 50, 90)).save(memory, "PNG")
            archive.writestr(f"many/{('warm', 'cold')[number % 2]}/{number:04}.png", memory.getvalue())
    folder = _data_page(page, studio, "Many")
    lock = locks.hold(folder / "look.lock")
    assert lock is not None
    with lock:
        page.locator("input[type=file]:not(.folder)").first.set_input_files(str(packed))
        expect(page.get_by_role("button", name="Import 1,100 pictures")).to_be_visible()
        key_button(page, "import").click()
        expect(page.get_by_text("All pictures are here")).to_be_visible(timeout=60_000)
        tile = page.locator(".wall .tile img").first
        expect(tile).to_be_visible()
        page.wait_for_function("tile => tile.complete && tile.naturalWidth > 0", arg=tile.element_handle())
        assert any((folder / "arriving").iterdir())
        assert sum(path.is_file() for path in (folder / "images").rglob("*.png")) < 200  # those that are looked at, and no more
        screenshots(page, "data-arriving")
    expect(page.get_by_test_id("stMetric").filter(has_text="Training")).not_to_contain_text("–", timeout=60_000)
    assert sum(path.is_file() for path in (folder / "images").rglob("*.png")) == 1100
    assert not any((folder / "arriving").iterdir())
