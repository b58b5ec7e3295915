"""The drawing board as a hand uses it: places on the picture, drags, and what has arrived on the disk."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from engine.data import importing, items, marks, projects
from tests.e2e.steps import Studio, at_rest, ready, screenshots, workspace_of

SIZE = (640, 480)
CLASSES = ("cat", "dog", "tree")


def make_project(
    studio: Studio, folder: Path, name: str, task: str = "object-detection", count: int = 3, size: tuple[int, int] = SIZE
) -> tuple[str, list[int]]:
    """Make a project of pictures to draw on; return its id and theirs."""
    folder.mkdir(parents=True)
    for number in range(count):
        picture = Image.new("RGB", size, (70 + 20 * number, 120, 90))
        pen = ImageDraw.Draw(picture)
        pen.rectangle((100, 80, 300, 240), fill=(210, 160, 60))
        pen.ellipse((380, 200, 560, 400), fill=(60, 90, 190))
        pen.text((10, 10), f"{name} {number}", fill="white")
        picture.save(folder / f"{number}.png")
    with workspace_of(studio):
        project = projects.create(name, task)
        importing.import_path(project.id, folder)
        for label in CLASSES:
            items.add_class(project.id, label)
        return project.id, [item.id for item in items.list_items(project.id)]


class Board:
    """One browser page with the board of a project on it."""

    def __init__(self, page: Page, studio: Studio, project: str, size: tuple[int, int] = SIZE) -> None:
        self.page, self.studio, self.project, self.size = page, studio, project, size
        self.open()

    def open(self) -> Board:
        self.page.goto(f"/label?project={self.project}")
        return self.settled()

    def settled(self) -> Board:
        ready(self.page)
        expect(self.page.locator(".board .place")).to_contain_text(" of ")
        self.page.wait_for_function("() => document.querySelector('[class*=st-key-board]') !== null")
        self.page.locator(".board .stage").scroll_into_view_if_needed()
        at_rest(self.page.locator(".board .stage"))
        return self

    def screenshots(self, name: str) -> None:
        """Keep the page as it is now, and wait until the board lies where it lay."""
        screenshots(self.page, name)
        self.settled()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where on the page a pixel of the fitted picture lies."""
        frame = self.page.locator(".board .stage").bounding_box()
        assert frame is not None
        scale = 0.98 * min(frame["width"] / self.size[0], frame["height"] / self.size[1])
        return (
            frame["x"] + (frame["width"] - self.size[0] * scale) / 2 + x * scale,
            frame["y"] + (frame["height"] - self.size[1] * scale) / 2 + y * scale,
        )

    def drag(self, *places: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(*places[0]))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.at(*place), steps=6)
        mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self) -> Board:
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # what was typed has been heard
        expect(self.page.locator(".board .saving")).to_have_text("Saved")
        return self

    def kept(self, item: int) -> list[marks.Mark]:
        """Return what is on the disk."""
        with workspace_of(self.studio):
            return marks.of_items([item])[item]

    def rows(self) -> list[str]:
        """Return the list beside the picture."""
        return self.page.locator(".board .marks .words").all_inner_texts()


def near(found: object, wanted: list[float], by: float = 1.6) -> bool:
    """Tell whether coordinates agree to what a mouse on a scaled picture can hit."""
    assert isinstance(found, list)
    return len(found) == len(wanted) and all(abs(one - other) <= by for one, other in zip(found, wanted, strict=True))
