"""The data check in a real browser: run it, open a finding, mend it by a click, take it back, circle pictures on the map and change them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.steps import Studio, at_rest, ready, screenshots
from tests.pages.drawn import class_folders


def _import(studio: Studio, folder: Path) -> None:
    with Image.open(folder / "red" / "0.jpg") as picture:
        picture.load()
    picture.resize((160, 120)).save(folder / "green" / "copy.png")
    Image.new("RGB", (80, 60), (200, 40, 40)).save(folder / "red" / "blank.png")
    done = studio.engine("import", str(folder), "--project", "Fruit")
    assert done.returncode == 0, done.stderr


def test_a_problem_is_found_mended_by_a_click_and_taken_back(page: Page, studio: Studio, tmp_path: Path) -> None:
    _import(studio, class_folders(tmp_path / "fruit", "red", "green", "blue", each=8))
    page.goto("/")
    ready(page)
    page.locator("[class*='st-key-card-']").filter(has_text="Fruit").get_by_role("button", name="Open").click()
    page.wait_for_url("**/data**")
    ready(page)
    page.locator("[data-testid=stSidebarNavLink][href$='/check']").click()
    page.wait_for_url("**/check**")
    ready(page)
    screenshots(page, "check-offer")
    page.get_by_role("button", name="Check 26 pictures").click()
    expect(page.get_by_text("26 pictures checked")).to_be_visible(timeout=240_000)
    ready(page)
    expect(page.get_by_text("Copies with different labels")).to_be_visible()
    screenshots(page, "check-finds")

    drawer = page.locator(".st-key-find-contradictions")
    if not drawer.locator(".card").count():
        drawer.locator("summary").click()
    card = drawer.locator(".card")
    expect(card).to_have_count(1)
    card.get_by_role("button", name="All are red").click()
    expect(page.get_by_text("Copies with different labels:")).to_have_count(0)
    page.locator(".st-key-check-undo").get_by_role("button").click()
    expect(page.get_by_text("Copies with different labels:")).to_be_visible()

    page.reload()  # disk is the truth
    ready(page)
    expect(page.get_by_text("Copies with different labels:")).to_be_visible()

    page.get_by_role("radio", name="Map of the pictures").or_(page.get_by_role("button", name="Map of the pictures")).first.click()
    chart = page.locator(".graft-data-map[data-drawn]")
    expect(chart.locator(".scatterlayer .point").first).to_be_visible()
    chart.locator(".scatterlayer .point").first.hover(force=True)
    expect(chart.locator(".hover img")).to_be_visible()
    screenshots(page, "check-map")
    at_rest(chart)
    area = chart.locator(".nsewdrag").first.bounding_box()
    assert area is not None
    left, top, right, bottom = area["x"] + 3, area["y"] + 3, area["x"] + area["width"] - 3, area["y"] + area["height"] - 3
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 2)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    expect(page.get_by_text("26 pictures circled")).to_be_visible()
    screenshots(page, "check-circled")
    page.get_by_role("button", name="Set 26 aside").click()
    expect(page.get_by_text("No picture is left to show")).to_be_visible()
    page.locator(".st-key-check-undo").get_by_role("button").click()
    expect(page.locator(".graft-data-map[data-drawn] .scatterlayer .point")).to_have_count(26)
