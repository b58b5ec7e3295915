"""Data sets that bring labels, in a real browser: what was found is drawn, a class is renamed, another left out, then imported and taken out again."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.steps import PHONE, ready, screenshots
from tests.pages.drawn import draw


def _yolo(root: Path, path: Path) -> Path:
    """A YOLO export of eighteen pictures: a box of class 0 and an outline-free box of class 1 in each; the last two hold nothing."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("set/data.yaml", "train: images/train\nval: images/val\nnames: [rbc, wbc, dust]\n")
        for number in range(18):
            split = "val" if number % 4 == 0 else "train"
            picture = draw(root / f"{number}.jpg", (40 + 9 * number, 160, 90), number)
            archive.write(picture, f"set/images/{split}/{number}.jpg")
            lines = "0 0.3 0.4 0.3 0.4\n1 0.7 0.6 0.25 0.5\n2 0.1 0.1 0.1 0.1\n" if number < 16 else ""
            archive.writestr(f"set/labels/{split}/{number}.txt", lines)
        archive.writestr("__MACOSX/set/._data.yaml", b"x")
    return path


def _key(page: Page, key: str):
    return page.locator(f".st-key-{key}").get_by_role("button")


def test_a_yolo_export_is_seen_renamed_imported_and_taken_out_again(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    ready(page)
    page.get_by_role("button", name="New project").click()
    field = page.get_by_role("dialog").get_by_label("Name")
    field.fill("Blood")
    field.press("Tab")
    expect(page.get_by_role("dialog").get_by_text("Outline each thing")).to_be_visible()
    screenshots(page, "new-project")
    _key(page, "create-project").click()
    page.wait_for_url(re.compile("/start"))
    ready(page)
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Data").click()
    page.wait_for_url(re.compile("/data"))
    ready(page)
    page.locator("input.files").set_input_files(str(_yolo(tmp_path, tmp_path / "export.zip")))

    expect(page.get_by_role("button", name="Import 18 pictures")).to_be_visible()
    expect(page.get_by_text("made to find things and box them")).to_be_visible()
    expect(page.get_by_text("This project now finds things and draws boxes round them")).to_be_visible()
    boxes = page.locator(".wall .tile svg rect")
    expect(boxes.first).to_be_attached()
    before = boxes.count()
    ready(page)
    page.locator(".wall").first.scroll_into_view_if_needed()
    screenshots(page, "data-found-labels")

    page.get_by_text("Rename, merge or leave out classes").click()
    name = page.get_by_label("New name of rbc")
    name.fill("red cell")
    name.press("Enter")
    page.get_by_role("checkbox", name="Use dust").locator("xpath=ancestor::label").click()
    expect(page.get_by_text("rbc → red cell")).to_be_visible()
    expect(page.get_by_text("dust is left out")).to_be_visible()
    expect(page.locator(".wall .tile .words").filter(has_text="red cell").first).to_be_visible()
    ready(page)
    assert boxes.count() < before
    screenshots(page, "data-mapping")

    _key(page, "import").click()
    expect(page.get_by_text("Last import: 18 added, 1 left out")).to_be_visible(timeout=60_000)
    ready(page)
    expect(page.locator(".wall .tile .title").filter(has_text="2 labels").first).to_be_visible()
    expect(page.locator(".wall .tile .title").filter(has_text="Nothing in it").first).to_be_visible()
    expect(page.locator(".wall .tile svg rect").first).to_be_attached()
    page.locator(".wall").first.scroll_into_view_if_needed()
    screenshots(page, "data-labelled")
    page.locator(".wall .tile").first.click()
    expect(page.get_by_role("dialog").locator("svg rect")).to_have_count(2)
    screenshots(page, "data-labelled-picture")
    page.keyboard.press("Escape")
    ready(page)

    page.get_by_role("button", name="Take the data out").click()
    _key(page, "make-export").click()
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=60_000)
    screenshots(page, "data-export")
    answer = page.request.get(link.get_attribute("href") or "")
    (tmp_path / "out.zip").write_bytes(answer.body())
    names = zipfile.ZipFile(tmp_path / "out.zip").namelist()
    assert len([one for one in names if one.startswith("images/")]) == 18
    assert '"name": "red cell"' in zipfile.ZipFile(tmp_path / "out.zip").read("annotations/instances_train.json").decode()
    page.set_viewport_size(PHONE)
    assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0
