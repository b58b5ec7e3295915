"""Versions and splits in a real browser: add pictures, see that the data differ from the version before, and how, in pictures."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.steps import Studio, ready, screenshots
from tests.pages.drawn import class_folders


def _open(page: Page, title: str) -> None:
    page.get_by_text(title, exact=True).click()
    ready(page)


def _data_of(page: Page, studio: Studio, name: str, folder: Path) -> None:
    """Import a folder and open its Data page."""
    done = studio.engine("import", str(folder), "--project", name, "--json")
    assert done.returncode == 0, done.stderr
    page.goto(f"/data?project={json.loads(done.stdout)['project']['id']}")
    ready(page)


def test_pictures_are_added_and_the_difference_is_seen(page: Page, studio: Studio, tmp_path: Path) -> None:
    _data_of(page, studio, "Changing", class_folders(tmp_path / "one", "red", "green", each=14))

    _open(page, "Versions: what changed, and when")
    page.get_by_label("Name", exact=True).fill("Before the blue ones")
    page.get_by_label("Name", exact=True).press("Tab")
    ready(page)
    page.locator(".st-key-save-version").get_by_role("button").click()
    expect(page.get_by_text("The data are now as in Before the blue ones.")).to_be_visible()

    done = studio.engine("import", str(class_folders(tmp_path / "two", "red", "green", "blue", each=14)), "--project", "Changing", "--copy")
    assert done.returncode == 0, done.stderr
    page.reload()
    ready(page)
    _open(page, "Versions: what changed, and when")
    counts = page.locator(".st-key-version-counts")
    expect(counts.get_by_test_id("stMetric").filter(has_text="Added").get_by_test_id("stMetricValue")).to_have_text("14")
    expect(counts.get_by_test_id("stMetric").filter(has_text="Removed").get_by_test_id("stMetricValue")).to_have_text("0")
    wall = page.locator("[class*='st-key-version-wall-'] .tile")
    expect(wall).to_have_count(14)
    expect(wall.first).to_contain_text("blue")
    wall.first.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll(\"[class*='st-key-version-wall-'] img\")].slice(0, 4).every(one => one.complete && one.naturalWidth > 0)"
    )
    screenshots(page, "versions")
    wall.first.click()
    expect(page.get_by_role("dialog").get_by_role("img").first).to_be_visible()
    page.keyboard.press("Escape")

    listed = studio.engine("versions", "--project", "Changing", "--diff", "Before the blue ones", "now")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.startswith("14 added, 0 removed, 0 relabelled, 0 moved")


def test_a_split_is_tried_with_groups_before_it_is_made(page: Page, studio: Studio, tmp_path: Path) -> None:
    _data_of(page, studio, "Divided", class_folders(tmp_path / "three", "red", "green", each=14))
    _open(page, "How the pictures are divided")
    page.get_by_role("spinbutton", name="Choice number").fill("7")
    page.get_by_role("spinbutton", name="Choice number").press("Tab")
    ready(page)
    expect(page.get_by_text("would move")).to_be_visible()
    page.get_by_text("would move").scroll_into_view_if_needed()
    screenshots(page, "splitting")
    page.locator(".st-key-apply-split").get_by_role("button").click()
    expect(page.get_by_text("This is how they are divided.")).to_be_visible()
