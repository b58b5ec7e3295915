"""Labelling in a real browser: draw and edit a box, a polygon and a mask by mouse, finger and key; lose nothing; settle a conflict; take suggestions."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page, expect

from engine.data import importing, items, marks, projects, shapes, suggestions
from engine.data.marks import Mark
from tests.e2e.board import Board, make_project, near
from tests.e2e.steps import PHONE, ROOT, Studio, ready, screenshots, workspace_of
from tests.pages.drawn import class_folders, draw

BOX = Mark("cat", "box", {"box": [20, 20, 120, 100]})


def test_a_box_is_drawn_named_resized_moved_and_undone(page: Page, studio: Studio, tmp_path: Path) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", "Boxes by mouse")
    board = Board(page, studio, project)
    board.press("1")
    board.drag((100, 80), (300, 240))
    board.saved()
    [mark] = board.kept(first)
    assert (mark.label, mark.by) == ("cat", "person")
    assert mark.geometry is not None
    assert near(mark.geometry["box"], [100, 80, 300, 240])
    expect(page.get_by_text("1 of 3 pictures labelled")).to_be_visible()  # the page counts the first mark at once
    expect(page.get_by_role("combobox", name="Show")).to_have_value("To label (2)")
    board.press("2")
    board.drag((300, 240), (330, 260))  # by its corner
    board.saved()
    [mark] = board.kept(first)
    assert mark.label == "dog"
    assert mark.geometry is not None
    assert near(mark.geometry["box"], [100, 80, 330, 260])
    board.press("v")
    board.drag((150, 150), (190, 170))
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert near(mark.geometry["box"], [140, 100, 370, 280])
    board.press("b")
    board.drag((400, 220), (540, 380))
    board.saved()
    board.screenshots("label-boxes")
    assert len(board.rows()) == 2
    board.press("Control+z", "Control+z")
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert near(mark.geometry["box"], [100, 80, 330, 260])
    board.press("Control+Shift+z", "Control+y")
    board.saved()
    assert len(board.kept(first)) == 2
    page.reload()  # disk is the truth
    board.settled()
    expect(page.locator(".board .marks .words")).to_have_count(2)
    page.locator(".board .marks .mark").nth(0).click()
    board.press("Delete")
    board.saved()
    assert len(board.kept(first)) == 1


def test_a_polygon_is_drawn_and_its_corners_edited(page: Page, studio: Studio, tmp_path: Path) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", "Polygons by mouse", "instance-segmentation")
    board = Board(page, studio, project)
    for place in ((100, 80), (300, 80), (300, 240)):
        board.click(*place)
    board.click(500, 400)
    board.press("Backspace")  # the last corner was a slip
    board.click(100, 240)
    board.press("Enter")
    board.saved()
    [mark] = board.kept(first)
    assert mark.kind == "polygon"
    assert mark.geometry is not None
    assert near(mark.geometry["rings"][0], [100, 80, 300, 80, 300, 240, 100, 240])
    board.drag((300, 240), (340, 280))  # move a corner
    board.saved()
    board.drag((200, 80), (200, 40))  # add one between two
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert near(mark.geometry["rings"][0], [100, 80, 200, 40, 300, 80, 340, 280, 100, 240])
    board.screenshots("label-polygon")
    page.keyboard.down("Alt")
    board.click(300, 80)  # and take one away
    page.keyboard.up("Alt")
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert near(mark.geometry["rings"][0], [100, 80, 200, 40, 340, 280, 100, 240])
    board.press("Control+z", "Control+z")
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert len(mark.geometry["rings"][0]) == 8
    board.press("p")
    for place in ((400, 200), (560, 220), (500, 400)):
        board.click(*place)
    board.click(401, 201)  # near the first corner: closed
    board.saved()
    assert len(board.kept(first)) == 2


def test_a_mask_is_painted_and_erased(page: Page, studio: Studio, tmp_path: Path) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", "Masks by mouse", "semantic-segmentation")
    board = Board(page, studio, project)
    board.press("m", "2")
    board.drag((150, 150), (350, 150))
    board.saved()
    [mark] = board.kept(first)
    assert (mark.kind, mark.label) == ("mask", "dog")
    assert mark.geometry is not None
    radius = 12
    wanted = 200 * 2 * radius + math.pi * radius**2
    assert abs(shapes.area("mask", mark.geometry) - wanted) < 0.04 * wanted
    left, top, right, bottom = shapes.bounds("mask", mark.geometry)
    assert near([left, top, right, bottom], [138, 138, 362, 162])
    board.drag((250, 150), (250, 300))  # the same mask goes on
    board.saved()
    [grown] = board.kept(first)
    assert grown.geometry is not None
    board.screenshots("label-mask")
    board.press("e")
    board.drag((200, 120), (200, 180))
    board.saved()
    [cut] = board.kept(first)
    assert cut.geometry is not None
    pixels = shapes.mask_of(cut.geometry)
    assert not pixels[130:170, 195:205].any()
    assert pixels[150, 160]
    assert pixels[290, 250]
    board.press("Control+z")
    board.saved()
    assert board.kept(first)[0].geometry == grown.geometry
    board.press("Control+y", "m", "3")
    board.drag((450, 300), (520, 300))  # another class: another mask
    board.saved()
    assert [one.label for one in board.kept(first)] == ["dog", "tree"]
    page.reload()
    board.settled()
    expect(page.locator(".board .marks .words")).to_have_count(2)
    assert board.kept(first)[0].geometry == cut.geometry


def test_the_whole_of_it_by_keys_alone(page: Page, studio: Studio, tmp_path: Path) -> None:
    project, [first, second, third] = make_project(studio, tmp_path / "in", "By keys")
    board = Board(page, studio, project)
    board.press("3", "i")
    board.saved()
    before = board.kept(first)[0]
    board.press("ArrowRight", "Shift+ArrowDown", "Alt+ArrowRight")
    board.saved()
    after = board.kept(first)[0]
    assert before.geometry is not None
    assert after.geometry is not None
    assert after.label == "tree"
    assert near(after.geometry["box"], [one + by for one, by in zip(before.geometry["box"], [1, 10, 2, 10], strict=True)], 0.02)
    board.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    board.screenshots("label-help")
    board.press("Escape", "Enter")
    expect(page.locator(".board .place")).to_have_text("2 of 3")
    board.press("c")
    expect(page.locator(".board .marks .words")).to_have_count(1)  # the copy is there, and with it something to save
    board.saved()
    assert board.kept(second)[0].geometry == after.geometry
    with workspace_of(studio):
        assert [item.reviewed for item in items.get_items([first, second])] == [True, False]
    page.reload()  # in the middle: the same picture comes up
    board.settled()
    expect(page.locator(".board .marks .words")).to_have_count(1)
    expect(page.locator(".board")).to_have_attribute("aria-label", "Drawing board: 1.png. Press the question mark for the keys.")
    expect(page.locator(".board .place")).to_have_text("1 of 2")  # to label: the third; and where one was
    board.press("d")
    expect(page.locator(".board .place")).to_have_text("2 of 2")
    board.press("a")
    expect(page.locator(".board .place")).to_have_text("1 of 2")
    board.press("s", "Delete")
    board.saved()
    expect(page.locator(".board .marks .words")).to_have_count(0)
    assert board.kept(second) == []
    assert board.kept(third) == []


def test_what_is_drawn_while_the_studio_is_down_is_not_lost(page: Page, studio: Studio, tmp_path: Path) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", "Down")
    board = Board(page, studio, project)
    board.drag((100, 80), (300, 240))
    board.saved()
    studio.kill()
    board.drag((400, 220), (540, 380))
    expect(page.locator(".board .saving")).to_contain_text("Not saved yet")
    board.drag((20, 300), (80, 400))
    studio.start()
    board.saved().settled()  # the page draws itself anew once it is connected again
    assert len(board.kept(first)) == 3
    page.route("**/graft/marks/*", lambda route: route.abort() if route.request.method == "PUT" else route.fallback())
    board.drag((350, 20), (450, 80))
    expect(page.locator(".board .saving")).to_contain_text("Not saved yet")
    page.unroute_all()
    page.on("dialog", lambda dialog: dialog.accept())  # the browser asks whether to leave with something unsaved
    page.reload()
    board.settled().saved()
    assert len(board.kept(first)) == 4
    expect(page.locator(".board .marks .words")).to_have_count(4)


@pytest.mark.parametrize(("choice", "labels"), [("keep-both", ["cat", "dog"]), ("keep-mine", ["dog"]), ("keep-theirs", ["cat"])])
def test_two_people_at_one_picture_are_told(new_page, studio: Studio, tmp_path: Path, choice: str, labels: list[str]) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", f"Two people, {choice}")
    ours, theirs = Board(new_page(), studio, project), Board(new_page(), studio, project)
    theirs.press("1")
    theirs.drag((100, 80), (300, 240))
    theirs.saved()
    ours.press("2")
    ours.drag((400, 220), (540, 380))
    panel = ours.page.get_by_role("alertdialog")
    expect(panel).to_contain_text("Somebody else changed this picture")
    assert [mark.label for mark in ours.kept(first)] == ["cat"]
    panel.get_by_role("button", name="Show theirs (1)").click()
    expect(panel.get_by_role("button", name="Show theirs (1)")).to_have_attribute("aria-pressed", "true")
    if choice == "keep-both":
        ours.screenshots("label-conflict")
    ours.page.locator(f".board .{choice}").click()
    expect(panel).to_be_hidden()
    ours.saved()
    assert [mark.label for mark in ours.kept(first)] == labels
    ours.drag((20, 300), (80, 400))  # and it goes on
    ours.saved()
    assert len(ours.kept(first)) == len(labels) + 1


def test_suggested_shapes_wait_for_a_person(page: Page, studio: Studio, tmp_path: Path) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", "Suggested")
    proposed = [Mark("cat", "box", {"box": [100, 80, 300, 240]}, score=0.93), Mark("dog", "box", {"box": [380, 200, 560, 400]}, score=0.71)]
    with workspace_of(studio):
        marks.propose(first, proposed)
    board = Board(page, studio, project)
    expect(page.locator(".board .marks .words").first).to_contain_text("suggested 93 %")
    board.screenshots("label-suggested")
    board.press("Enter")
    expect(page.locator(".board .said")).to_contain_text("2 suggestions are open")
    expect(page.locator(".board .place")).to_have_text("1 of 3")
    page.get_by_role("button", name="Agree: cat").click()
    board.saved()
    assert [(mark.label, mark.by) for mark in board.kept(first)] == [("cat", "person"), ("dog", "model")]
    page.get_by_role("button", name="Turn down: dog").click()
    board.saved()
    assert [mark.label for mark in board.kept(first)] == ["cat"]
    board.press("Control+z", "Control+z", "Escape", "y")
    board.saved()
    assert [(mark.label, mark.by) for mark in board.kept(first)] == [("cat", "person"), ("dog", "person")]
    board.press("Enter")
    expect(page.locator(".board .place")).to_have_text("2 of 3")


_FINGERS: dict[Page, CDPSession] = {}
"""One session a page: a touch that another session began cannot be moved or ended."""


def _touch(page: Page, kind: str, *points: tuple[float, float]) -> None:
    if page not in _FINGERS:
        _FINGERS[page] = page.context.new_cdp_session(page)
    _FINGERS[page].send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y, "id": place} for place, (x, y) in enumerate(points)]})


def test_fingers_draw_and_pinch_on_a_phone(new_page, studio: Studio, tmp_path: Path) -> None:
    project, [first, *_] = make_project(studio, tmp_path / "in", "Fingers")
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    board = Board(page, studio, project)
    _touch(page, "touchStart", board.at(100, 80))
    for share in (0.3, 0.7, 1.0):
        _touch(page, "touchMove", board.at(100 + 200 * share, 80 + 160 * share))
    _touch(page, "touchEnd")
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert near(mark.geometry["box"], [100, 80, 300, 240], 3)
    x, y = board.at(320, 240)
    transform = page.locator(".board .picture").evaluate("one => one.style.transform")
    _touch(page, "touchStart", (x - 30, y))
    _touch(page, "touchStart", (x - 30, y), (x + 30, y))
    _touch(page, "touchMove", (x - 60, y), (x + 60, y))
    _touch(page, "touchMove", (x - 90, y), (x + 90, y))
    _touch(page, "touchEnd")
    zoomed = page.locator(".board .picture").evaluate("one => one.style.transform")
    scale, before = (float(text.split("scale(")[1].rstrip(")")) for text in (zoomed, transform))
    assert 2 < scale / before < 4
    assert len(board.kept(first)) == 1  # two fingers draw nothing
    board.screenshots("label-phone-zoomed")


def test_a_very_large_picture_is_drawn_on_in_its_own_pixels(page: Page, studio: Studio, tmp_path: Path) -> None:
    size = (9000, 6000)
    project, [first, *_] = make_project(studio, tmp_path / "in", "Large", count=1, size=size)
    board = Board(page, studio, project, size)
    board.drag((1000, 1000), (5000, 4000))
    board.saved()
    [mark] = board.kept(first)
    assert mark.geometry is not None
    assert near(mark.geometry["box"], [1000, 1000, 5000, 4000], 20)
    expect(page.locator(".board .picture")).to_have_attribute("src", re.compile("/2048"))
    assert page.locator(".board .picture").evaluate("one => one.decode().then(() => one.naturalWidth)") == 2048
    page.mouse.move(*board.at(1000, 1000))
    for _ in range(6):
        page.mouse.wheel(0, -400)
    expect(page.locator(".board .picture")).to_have_attribute("src", re.compile("/4096"))


def test_masks_are_written_in_the_browser_as_the_engine_writes_them(page: Page, studio: Studio) -> None:
    import numpy as np

    chance = np.random.default_rng(0)
    cases = []
    for _ in range(40):
        pixels = chance.random(tuple(chance.integers(1, 40, 2))) < chance.choice([0.03, 0.5, 0.95, 1.0])
        pixels[0, -1] = True
        cases.append({"pixels": pixels.astype(int).ravel().tolist(), "geometry": shapes.mask_from(pixels)})
    page.goto("/projects")
    script = (ROOT / "pages" / "parts" / "annotator" / "runs.js").read_text()
    wrong = page.evaluate(
        f"""cases => {{ {script}
        return cases.filter(({{ pixels, geometry }}) => {{
          const [height, width] = geometry.size
          const bits = bitsOf(geometry, width, height)
          const {{ columns }} = runsOf(geometry)
          const again = maskFrom(bits, width, height, ...columns)
          return pixels.some((one, at) => one !== bits[at]) || again.counts !== geometry.counts || !maskCovers(geometry, width - 0.5, 0.5)
        }}).length }}""",
        json.loads(json.dumps(cases)),
    )
    assert wrong == 0


def test_a_model_suggests_classes_and_sure_ones_are_agreed_to_at_once(page: Page, studio: Studio, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "in", "red", "green", each=12)
    for number in range(20):
        draw(folder / f"p{number}.jpg", ((200, 40, 40), (60, 180, 60))[number % 2], 9000 + number)
    with workspace_of(studio):
        project = projects.create("Suggested classes")
        importing.import_path(project.id, folder)
        everything = items.list_items(project.id, limit=100)
        for item in everything:
            name = Path(item.name).parent.name
            items.set_label(item.id, name if name in ("red", "green") else None, item.revision)
    page.goto(f"/label?project={project.id}")
    ready(page)
    page.get_by_role("button", name="Suggest classes").click()
    expect(page.get_by_text("such suggestions were right")).to_be_visible(timeout=120_000)
    ready(page)
    expect(page.locator(".tile .suggested:not([hidden])")).to_have_count(20)
    screenshots(page, "label-suggestions")
    tile = page.locator(".tile").first
    said = tile.locator(".suggested").inner_text()
    tile.click()
    page.keyboard.press("y")  # one by one
    expect(page.locator(".tile")).to_have_count(19)
    with workspace_of(studio):
        sorted_now = [item for item in items.list_items(project.id, limit=100) if item.label and not Path(item.name).parent.name]
        assert [f"{item.label} " in said for item in sorted_now] == [True]
        count = suggestions.count(project.id, above=0.9)
    bulk = page.locator(".st-key-agree-bulk").get_by_role("button")
    expect(bulk).to_contain_text(f"Agree to {count} suggestion")
    if count:
        bulk.click()
        ready(page)
        with workspace_of(studio):
            expect(page.get_by_text(f"{25 + count} of 44 pictures have a class")).to_be_visible()
            assert projects.summary(project.id).labelled == 25 + count
        page.locator(".st-key-undo").get_by_role("button").click()  # all of them at once
        expect(page.get_by_text("25 of 44 pictures have a class")).to_be_visible()
