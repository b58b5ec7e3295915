"""The first half of the path in a real browser: a project, a starting point, one's own pictures, sorting them, undoing a deletion."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import PHONE, Studio, ready, screenshots
from tests.pages.drawn import class_folders, draw, flat

WITH_SAMPLES = True
NAME = "Fruit *of* :smile: <b>mine</b>"


def _key(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key}").get_by_role("button")


def _cards(page: Page) -> Locator:
    return page.locator("[class*='st-key-card-']")


def _settled(page: Page, address: str) -> None:
    page.wait_for_url(re.compile(address))
    ready(page)


def _new_project(page: Page, name: str) -> None:
    page.goto("/")
    ready(page)
    page.get_by_role("button", name="New project").click()
    field = page.get_by_role("dialog").get_by_label("Name")
    field.fill(name)
    field.press("Tab")
    _key(page, "create-project").click()
    _settled(page, "/start")


def _zip(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent).as_posix())
        archive.writestr("__MACOSX/._x.jpg", b"x")
        archive.writestr("notes.txt", b"hello")
    return path


def test_samples_are_ready_in_a_fresh_workspace(page: Page) -> None:
    page.goto("/")
    ready(page)
    for title in ("Handwritten digits", "Surfaces", "Cells, eyes, galaxies"):
        expect(page.get_by_text(title, exact=True).first).to_be_visible()
    expect(_cards(page)).to_have_count(3, timeout=60_000)
    shown = page.locator("img[src^='/graft/image/']")
    expect(shown).to_have_count(12)
    page.wait_for_function("() => [...document.querySelectorAll(\"img[src^='/graft/image/']\")].every(one => one.complete && one.naturalWidth > 0)")
    screenshots(page, "projects")


def test_a_sample_opens_on_its_pictures(page: Page) -> None:
    page.goto("/")
    ready(page)
    expect(_cards(page)).to_have_count(3, timeout=60_000)
    ready(page)
    _cards(page).first.get_by_role("button", name="Open").click()
    _settled(page, "/data")
    expect(page.locator(".wall .tile").first).to_be_visible()
    page.locator(".wall .tile").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img").first).to_be_visible()
    screenshots(page, "data-picture")


def test_the_whole_way_with_a_zip_of_ones_own(page: Page, tmp_path: Path) -> None:
    _new_project(page, NAME)
    expect(page.get_by_role("combobox", name="Project")).to_be_visible()
    _key(page, "pick-efficientnet_lite0").click()
    expect(page.get_by_text("Starting from")).to_be_visible()
    ready(page)
    screenshots(page, "start")
    _key(page, "next").click()
    _settled(page, "/data")
    shown = page.get_by_test_id("stCaptionContainer").filter(has_text="The pictures of").inner_text()
    assert shown.replace("\u2060", "").endswith(NAME)  # exactly these characters: nothing in a name is markup
    screenshots(page, "data-empty")

    archive = _zip(class_folders(tmp_path / "fruit", "red *ones*", "green", "blue", each=9), tmp_path / "own.zip")
    page.locator("input.files").set_input_files(str(archive))
    expect(page.get_by_role("button", name="Import 27 pictures")).to_be_visible()
    expect(page.get_by_text("One folder a class")).to_be_visible()
    ready(page)
    screenshots(page, "data-findings")
    _key(page, "import").click()
    expect(page.get_by_text("Last import: 27 added, 2 left out")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("red *ones*").first).to_be_visible()
    ready(page)
    screenshots(page, "data")

    address = page.url
    page.reload()  # disk is the truth
    ready(page)
    assert page.url == address
    expect(page.get_by_text("Last import: 27 added, 2 left out")).to_be_visible()
    _key(page, "next").click()
    _settled(page, "/train")


def test_a_dropped_folder_keeps_its_classes(page: Page, tmp_path: Path) -> None:
    _new_project(page, "Dropped folder")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Data").click()
    _settled(page, "/data")
    page.locator("input.folder").set_input_files(str(class_folders(tmp_path / "pets", "cats & dogs", "birds", each=5)))
    expect(page.get_by_role("button", name="Import 10 pictures")).to_be_visible()
    _key(page, "import").click()
    expect(page.get_by_text("Last import: 10 added, nothing left out")).to_be_visible(timeout=60_000)
    expect(page.locator(".wall .tile .title").filter(has_text="cats & dogs").first).to_be_visible()


def test_a_zip_that_is_none_is_refused_in_a_sentence(page: Page, tmp_path: Path) -> None:
    _new_project(page, "Refused")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Data").click()
    _settled(page, "/data")
    fake = tmp_path / "fake.zip"
    fake.write_bytes(b"this is no zip at all")
    page.locator("input.files").set_input_files(str(fake))
    expect(page.get_by_test_id("stAlert")).to_be_visible()
    expect(_key(page, "import")).to_have_count(0)
    page.locator("input.files").set_input_files([{"name": "model.exe", "mimeType": "application/x", "buffer": b"MZ"}])
    expect(page.locator(".zone .words")).to_contain_text("This takes .zip")


def test_pictures_are_sorted_by_key_undone_and_never_over_somebody_elses(page: Page, new_page, tmp_path: Path) -> None:
    _new_project(page, "To sort")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Data").click()
    _settled(page, "/data")
    field = page.get_by_label("Folder, zip or CSV file on this computer")
    field.fill(str(flat(tmp_path / "flat", 12)))
    field.press("Tab")
    _key(page, "look").click()
    _key(page, "import").click()
    _key(page, "to-sort").click(timeout=60_000)
    _settled(page, "/label")
    for name in ("red", "green"):
        page.get_by_label("New class").fill(name)
        page.get_by_label("New class").press("Enter")
        expect(page.locator(".sorter .class").filter(has_text=name)).to_be_visible()
    tiles = page.locator(".sorter .tile")
    expect(tiles).to_have_count(12)
    tiles.nth(0).click()
    tiles.nth(3).click(modifiers=["Shift"])
    expect(page.locator(".sorter .said")).to_have_text("4 selected. Press a number, or click a class.")
    screenshots(page, "sort")
    page.keyboard.press("1")
    expect(tiles).to_have_count(8)
    expect(page.get_by_text("4 of 12 pictures have a class")).to_be_visible()
    tiles.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")  # nothing selected: the one in focus
    expect(tiles).to_have_count(7)
    page.keyboard.press("Control+z")
    expect(tiles).to_have_count(8)
    expect(page.get_by_text("4 of 12 pictures have a class")).to_be_visible()

    other = new_page()
    other.goto(page.url)
    ready(other)
    theirs = other.locator(".sorter .tile")
    expect(theirs).to_have_count(8)
    tiles.nth(0).click()
    page.locator(".sorter .class").filter(has_text="green").click()
    expect(tiles).to_have_count(7)
    theirs.nth(0).click()
    other.keyboard.press("2")
    expect(other.get_by_text("changed elsewhere meanwhile")).to_be_visible()
    expect(theirs).to_have_count(7)
    expect(other.get_by_text("5 of 12 pictures have a class")).to_be_visible()


def test_renaming_deleting_and_undoing(page: Page) -> None:
    _new_project(page, "To rename")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Projects").click()
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    ready(page)
    card = _cards(page).filter(has_text="To rename")
    card.locator("[class*='st-key-more-']").get_by_role("button").click()
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_role("dialog").get_by_label("Name")
    field.fill("Renamed")
    field.press("Tab")
    _key(page, "save-name").click()
    card = _cards(page).filter(has_text="Renamed")
    expect(card).to_be_visible()
    ready(page)
    card.locator("[class*='st-key-more-']").get_by_role("button").click()
    page.get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
    _key(page, "undo-delete").click()
    expect(card).to_be_visible()


def test_the_doors_and_the_gallery(page: Page) -> None:
    _new_project(page, "Doors")
    field = page.get_by_label("Find a backbone")
    field.fill("resnet18")
    expect(page.locator(".st-key-pick-efficientnet_lite0")).to_have_count(0)
    expect(page.locator("[class*='st-key-pick-resnet18']").first).to_be_visible()
    for door in ("optimized", "onnx", "run"):
        _key(page, f"open-{door}").click()
        ready(page)
        screenshots(page, f"start-{door}")
    page.set_viewport_size(PHONE)
    assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0


@pytest.mark.parametrize("path", ["/graft/image/1/96", "/graft/plotly.js", "/graft/upload"])
def test_another_site_is_not_answered(studio: Studio, path: str) -> None:
    request = urllib.request.Request(studio.url + path, headers={"Origin": "https://evil.example"}, method="POST" if path.endswith("upload") else "GET")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_large_upload_goes_to_disk_not_to_memory(page: Page, studio: Studio, tmp_path: Path) -> None:
    _new_project(page, "Large")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Data").click()
    _settled(page, "/data")
    draw(tmp_path / "a" / "1.jpg", (1, 2, 3), 1)
    large = tmp_path / "large.zip"
    with zipfile.ZipFile(large, "w", zipfile.ZIP_STORED) as archive:
        archive.write(tmp_path / "a" / "1.jpg", "a/1.jpg")
        archive.writestr("padding.bin", bytes(1 << 20) * 120)
    assert studio.process is not None
    memory = Path(f"/proc/{studio.process.pid}")
    (memory / "clear_refs").write_text("5")  # Linux then forgets the most that the server ever had
    before = _peak_bytes(memory)
    page.locator("input.files").set_input_files(str(large))
    expect(page.get_by_role("button", name="Import 1 picture")).to_be_visible(timeout=60_000)
    assert _peak_bytes(memory) - before < large.stat().st_size // 3


def _peak_bytes(process: Path) -> int:
    """Return the most memory that a process has had, however shortly."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())[0]) * 1024
