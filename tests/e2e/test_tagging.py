"""Tagging in a real browser: several classes by keys, none of these, Undo, a conflict, what a model suggests."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from engine.data import importing, items, projects
from engine.data.items import Item
from engine.data.marks import TAGGING
from tests.e2e.board import workspace_of
from tests.e2e.steps import Studio, ready, screenshots
from tests.pages.drawn import THINGS, things, things_in


def make(studio: Studio, folder: Path, name: str, count: int, tagged: int = 0) -> str:
    with workspace_of(studio):
        project = projects.create(name, TAGGING)
        importing.import_path(project.id, things(folder, count))
        for label in THINGS:
            items.add_class(project.id, label)
        for number, item in enumerate(items.list_items(project.id, order="name", limit=tagged) if tagged else []):
            items.set_labels(item.id, things_in(number), item.revision)
    return project.id


def kept(studio: Studio, project: str) -> dict[str, Item]:
    with workspace_of(studio):
        return {item.name: item for item in items.list_items(project, limit=200)}


def tile(page: Page, name: str) -> Locator:
    return page.locator(f".tile[aria-label^='{name},']")


def chips(page: Page, name: str) -> Locator:
    return tile(page, name).locator(".chip")


def saved(page: Page) -> None:
    expect(page.locator(".sorter .said")).not_to_contain_text("Saving")
    ready(page)


def test_pictures_are_tagged_by_keys_and_taken_back(page: Page, studio: Studio, tmp_path: Path) -> None:
    project = make(studio, tmp_path / "in", "Shapes to tag", 12)
    page.goto(f"/label?project={project}")
    ready(page)
    expect(page.get_by_role("heading", name="Tag pictures")).to_be_visible()
    for name in ("003.png", "007.png"):
        tile(page, name).click()
    page.keyboard.press("1")  # a fast hand: the next keys do not wait for what is under way
    page.keyboard.press("2")
    expect(chips(page, "003.png")).to_have_text(["circle", "square"])
    page.keyboard.press("Escape")
    tile(page, "001.png").click()
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("2")  # a slip, taken off again
    page.keyboard.press("Escape")
    tile(page, "000.png").click()
    page.keyboard.press("0")
    saved(page)
    now = kept(studio, project)
    assert now["003.png"].labels == now["007.png"].labels == ("circle", "square")
    assert now["001.png"].labels == ("circle",)
    assert (now["000.png"].labels, now["000.png"].reviewed) == ((), True)
    expect(page.get_by_text("4 of 12 pictures are tagged")).to_be_visible()
    expect(chips(page, "000.png")).to_have_text(["none of these"])
    expect(page.locator(".tile")).to_have_count(12)  # they stay, to be looked at
    screenshots(page, "label-tags")
    page.set_viewport_size({"width": 1280, "height": 800})
    tile(page, "000.png").focus()
    page.keyboard.press("Control+z")
    expect(chips(page, "000.png")).to_have_count(0)
    assert not kept(studio, project)["000.png"].reviewed, "it waits to be tagged again"
    tile(page, "000.png").focus()
    page.keyboard.press("n")
    expect(page.locator(".tile")).to_have_count(9)  # those that are tagged make room
    page.reload()
    ready(page)
    expect(page.locator(".tile")).to_have_count(9)
    page.locator(".st-key-undo").get_by_role("button", disabled=True).wait_for()  # a new session has nothing to undo


def test_what_somebody_else_said_meanwhile_is_not_lost(page: Page, studio: Studio, tmp_path: Path) -> None:
    project = make(studio, tmp_path / "in", "Two hands", 4)
    page.goto(f"/label?project={project}")
    ready(page)
    done = studio.engine("label", "--project", "Two hands", "002.png", "square", "new thing")
    assert done.returncode == 0, done.stderr
    tile(page, "002.png").click()
    page.keyboard.press("1")
    expect(page.get_by_text("was changed elsewhere meanwhile")).to_be_visible()
    saved(page)
    assert kept(studio, project)["002.png"].labels == ("new thing", "square")
    expect(chips(page, "002.png")).to_have_text(["new thing", "square"])
    page.keyboard.press("1")  # seen, and said again
    saved(page)
    assert kept(studio, project)["002.png"].labels == ("circle", "new thing", "square")


def test_a_model_suggests_tags(page: Page, studio: Studio, tmp_path: Path) -> None:
    project = make(studio, tmp_path / "in", "Suggested tags", 64, tagged=40)
    page.goto(f"/label?project={project}")
    ready(page)
    page.get_by_role("button", name="Suggest classes").click()
    expect(page.get_by_text("such pictures right, and no other")).to_be_visible(timeout=120_000)
    ready(page)
    expect(chips(page, "043.png")).to_have_count(2)
    screenshots(page, "label-tags-suggested")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert kept(studio, project)["043.png"].labels == (), "a suggestion counts for nothing until somebody agrees"
    chips(page, "043.png").filter(has_text="circle").click()  # one of the two
    saved(page)
    expect(chips(page, "043.png")).to_have_text(["circle"])
    tile(page, "047.png").click()
    page.keyboard.press("y")  # all that is suggested for it
    saved(page)
    now = kept(studio, project)
    assert (now["043.png"].labels, now["047.png"].labels) == (("circle",), ("circle", "square"))
    bulk = page.locator(".st-key-agree-bulk").get_by_role("button")
    expect(bulk).to_contain_text("Agree for ")
    count = int(bulk.inner_text().split("Agree for ")[1].split()[0])
    assert count > 0, "such clear pictures leave no doubt"
    bulk.click()
    expect(page.get_by_text(f"{42 + count} of 64 pictures are tagged")).to_be_visible()
    right = sum(item.labels == things_in(int(name[:3])) for name, item in kept(studio, project).items() if item.labels and int(name[:3]) >= 44)
    assert right >= 0.9 * count
    page.locator(".st-key-undo").get_by_role("button").click()
    expect(page.get_by_text("42 of 64 pictures are tagged")).to_be_visible()
