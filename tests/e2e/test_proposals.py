"""The project's own model helps with drawing, in a real browser: what it suggests is agreed to one by one, all at once, and taken back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data as photographs

from engine.data import importing, items, marks, projects, proposals
from engine.data.marks import Mark
from tests.e2e.board import Board
from tests.e2e.steps import Studio, ready, screenshots, workspace_of

SIDE = (160, 120)
BLANK = 6


def _discs(number: int, path: Path) -> list[Mark]:
    """Save a piece of a real texture with a pale and a dark disc on it; return their boxes."""
    rng = np.random.default_rng(number)
    left, top = rng.integers(0, 300, 2)
    ground = (photographs.brick, photographs.grass, photographs.gravel)[number % 3]()[top : top + SIDE[1], left : left + SIDE[0]]
    pixels, drawn = np.repeat(ground[:, :, None], 3, 2).astype(np.uint8), []
    for place, (name, colour) in enumerate((("pale", (250, 235, 120)), ("dark", (120, 20, 60)))):
        x, y, radius = rng.integers(25 + 75 * place, 55 + 75 * place), rng.integers(30, 90), rng.integers(12, 22)
        rows, columns = np.ogrid[: SIDE[1], : SIDE[0]]
        pixels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = colour
        drawn.append(Mark(name, "box", {"box": [float(x - radius), float(y - radius), float(x + radius), float(y + radius)]}))
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return drawn


def test_a_trained_model_suggests_boxes_that_are_agreed_to(page: Page, studio: Studio, tmp_path: Path) -> None:
    drawn = {f"{number:02}.png": _discs(number, tmp_path / "in" / f"{number:02}.png") for number in range(24 + BLANK)}
    with workspace_of(studio):
        project = projects.create("Discs", "object-detection")
        importing.import_path(project.id, tmp_path / "in")
        everything = items.list_items(project.id, limit=100)
        for item in everything[:24]:
            marks.replace(item.id, drawn[item.name], None)
    blank = [item.id for item in everything[24:]]
    page.goto(f"/label?project={project.id}")
    ready(page)
    expect(page.get_by_text("Draw in some pictures and train once")).to_be_visible()
    sets = [word for pair in ("image_size=160", "epochs=8", "batch_size=4", "threads=1", "device=cpu") for word in ("--set", pair)]
    done = studio.engine("train", "--project", "Discs", "--start", "fcos/efficientnet_lite0", *sets, "--wait")
    assert done.returncode == 0, done.stderr

    board = Board(page, studio, project.id, SIDE)
    page.get_by_text("Let your model suggest the rest").click()
    button = page.locator(".st-key-propose").get_by_role("button")
    expect(button).to_be_visible()
    screenshots(page, "label-propose")
    button.click()
    expect(page.get_by_text("suggestions in", exact=False).first).to_be_visible(timeout=60_000)
    ready(page)
    with workspace_of(studio):
        offered = proposals.count(project.id)
        assert (offered.pictures, projects.summary(project.id).unlabelled) == (BLANK, BLANK)
    expect(page.locator(".board .marks .words").first).to_contain_text("suggested")  # the picture on the board was read again

    board.settled().screenshots("label-proposed")
    of_first = len(board.kept(blank[0]))
    page.get_by_role("button", name="Agree: ").first.click()  # one
    board.saved()
    assert sorted(mark.by for mark in board.kept(blank[0])) == ["model"] * (of_first - 1) + ["person"]
    board.press("Escape", "y")  # all of this picture
    board.saved()
    assert {mark.by for mark in board.kept(blank[0])} == {"person"}

    with workspace_of(studio):
        left = proposals.count(project.id)
    title = page.get_by_text(f"{left.shapes} suggestions in {BLANK - 1} pictures")  # all of the rest at once
    expect(title).to_be_visible()
    title.click()
    slider = page.get_by_role("slider", name="Agree to suggestions")
    expect(slider).to_be_visible()
    screenshots(page, "label-agree")
    slider.press("Home")
    ready(page)
    page.locator(".st-key-agree-shapes").get_by_role("button", name=f"Agree to {left.shapes} suggestions").click()
    back = page.locator(".st-key-take-back-shapes").get_by_role("button")
    expect(back).to_be_visible()
    ready(page)
    with workspace_of(studio):
        assert (projects.summary(project.id).labelled, proposals.count(project.id).shapes) == (24 + BLANK, 0)
    back.click()
    expect(back).to_be_hidden()  # the title below it stands there before it is pressed, too, while the page is still being made
    ready(page)
    expect(page.get_by_text(f"{left.shapes} suggestions in {BLANK - 1} pictures")).to_be_visible()
    with workspace_of(studio):
        assert (projects.summary(project.id).labelled, proposals.count(project.id)) == (25, left)
