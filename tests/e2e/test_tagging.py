"""Tagging in a real browser: several classes by keys, none of these, Undo, a conflict, what a model suggests."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from engine.data import importing, items, projects
from engine.data.items import Item
from engine.data.marks import TAGGING
from tests.e2e.steps import Studio, at_rest, ready, screenshots, workspace_of
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


def test_tags_are_counted_shown_and_corrected_on_the_data_page(page: Page, studio: Studio, tmp_path: Path) -> None:
    project = make(studio, tmp_path / "in", "Tags to look at", 14, tagged=12)
    page.goto(f"/data?project={project}")
    ready(page)
    expect(page.get_by_text("Pictures of each class")).to_be_visible()
    wall = page.locator(".wall .tile")
    expect(wall).to_have_count(14)  # a picture with two classes is there once
    page.locator(".wall").scroll_into_view_if_needed()
    screenshots(page, "data-tags")
    page.set_viewport_size({"width": 1280, "height": 800})
    classes = page.get_by_role("combobox", name="Class", exact=False).first
    at_rest(classes)  # the window has just grown
    classes.click()
    page.get_by_role("option", name="None of these").click()
    ready(page)
    expect(wall).to_have_count(3)
    wall.first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("What it shows")).to_be_visible()
    dialog.get_by_role("combobox").click()
    page.get_by_role("option", name="square").click()
    page.keyboard.press("Escape") if page.get_by_role("listbox").count() else None
    ready(page)
    screenshots(page, "data-tags-one")
    page.set_viewport_size({"width": 1280, "height": 800})
    dialog.get_by_role("button", name="Save").click()
    expect(wall).to_have_count(2)
    assert sorted(name for name, item in kept(studio, project).items() if item.labels == ("square",)) == ["000.png", "002.png", "006.png", "010.png"]


def test_a_check_names_tags_that_are_likely_wrong(page: Page, studio: Studio, tmp_path: Path) -> None:
    project = make(studio, tmp_path / "in", "Tags to check", 60, tagged=60)
    with workspace_of(studio):
        wrong = next(item for item in items.list_items(project, limit=100) if item.name == "021.png")  # it shows a circle alone
        items.set_labels(wrong.id, ["circle", "square"], wrong.revision)
    done = studio.engine("check", "--project", "Tags to check")
    assert done.returncode in (0, 1), done.stderr
    page.goto(f"/check?project={project}")
    ready(page)
    card = page.locator(".st-key-find-labels").get_by_text("Does not seem to show square").first  # the only thing to look at, so it is open
    expect(card).to_be_visible()
    card.scroll_into_view_if_needed()
    screenshots(page, "check-tags")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("button", name="Change to circle", exact=True).click()
    ready(page)
    assert kept(studio, project)["021.png"].labels == ("circle",)


def test_a_project_for_tagging_is_made_in_the_browser(page: Page, studio: Studio) -> None:
    page.goto("/")
    ready(page)
    page.get_by_role("button", name="New project").click()
    field = page.get_by_role("dialog").get_by_label("Name")
    field.fill("Made for tags")
    field.press("Tab")
    page.get_by_role("dialog").get_by_text("Tag pictures").click()
    ready(page)
    screenshots(page, "projects-new-tags")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("dialog").get_by_role("button", name="Create").click()
    page.wait_for_url("**/start**")
    with workspace_of(studio):
        assert projects.find("Made for tags").task == TAGGING
