"""Tasks with drawn labels in a real browser: choose an architecture, train, see what was found and missed, try it, take it away."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data as photographs

from tests.e2e.steps import Studio, ready, screenshots

SIDE = (160, 120)


def _export(path: Path) -> Path:
    """A YOLO export of 28 pieces of real textures with a pale and a dark disc on each, outlined by eight corners."""
    grounds = [photographs.brick(), photographs.grass(), photographs.gravel()]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", "train: images/train\nval: images/val\nnames: [pale, dark]\n")
        for number in range(28):
            rng = np.random.default_rng(number)
            left, top = rng.integers(0, 300, 2)
            ground = grounds[number % 3][top : top + SIDE[1], left : left + SIDE[0]]
            pixels, lines = np.repeat(ground[:, :, None], 3, 2).astype(np.uint8), []
            for label, colour in enumerate(((250, 235, 120), (120, 20, 60))):
                x, y, radius = rng.integers(25 + 75 * label, 55 + 75 * label), rng.integers(30, 90), rng.integers(12, 22)
                rows, columns = np.ogrid[: SIDE[1], : SIDE[0]]
                pixels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = colour
                corners = [(x + radius * np.cos(turn), y + radius * np.sin(turn)) for turn in np.linspace(0, 2 * np.pi, 9)[:8]]
                lines.append(f"{label} " + " ".join(f"{a / SIDE[0]:.4f} {b / SIDE[1]:.4f}" for a, b in corners))
            split = "val" if number % 4 == 0 else "train"
            file = path.with_name(f"{number}.png")
            Image.fromarray(pixels).save(file)
            archive.write(file, f"images/{split}/{number}.png")
            archive.writestr(f"labels/{split}/{number}.txt", "\n".join(lines))
    return path


def _key(page: Page, key: str):
    return page.locator(f".st-key-{key}").get_by_role("button")


def _go(page: Page, place: str) -> None:
    page.locator(f"[data-testid=stSidebarNavLink][href*='/{place}']").click()
    page.wait_for_url(re.compile(f"/{place}"))
    ready(page)


@pytest.mark.parametrize(
    ("task", "architecture", "headline"),
    [("object-detection", "fcos", re.compile(r"^Finds .* right .* of the time")), ("semantic-segmentation", "unet", re.compile("of all pixels right"))],
)
def test_from_an_export_to_a_file_that_answers(page: Page, studio: Studio, tmp_path: Path, task: str, architecture: str, headline: re.Pattern[str]) -> None:
    project = f"Discs {architecture}"  # the tests of a file share a studio
    done = studio.engine("import", str(_export(tmp_path / "discs.zip")), "--project", project, "--task", task)
    assert done.returncode == 0, done.stderr
    page.goto("/")
    ready(page)
    page.locator("[class*='st-key-card-']").filter(has_text=project).get_by_role("button", name="Open").click()
    page.wait_for_url(re.compile("/data"))
    ready(page)
    _go(page, "start")
    _key(page, f"take-{architecture}").click()
    ready(page)
    _key(page, "pick-efficientnet_lite0").click()
    expect(page.get_by_text("Starting from")).to_be_visible()
    ready(page)
    screenshots(page, f"{task}-start")

    _go(page, "train")
    _key(page, "goal-quick").click()
    ready(page)
    _key(page, "start").click()
    expect(page.get_by_text("Finished", exact=True).first).to_be_visible(timeout=240_000)
    ready(page)
    screenshots(page, f"{task}-train")
    expect(page.get_by_text("on pictures it does not learn from").first).to_be_visible()

    page.reload()
    ready(page)
    _go(page, "results")
    expect(page.get_by_role("heading", name=headline)).to_be_visible()
    expect(page.locator(".wall .tile img").first).to_have_js_property("complete", True)
    screenshots(page, f"{task}-results")
    page.locator(".wall .tile").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("What is there")).to_be_visible()
    page.keyboard.press("Escape")
    ready(page)

    _go(page, "try")
    expect(page.get_by_text("reading the picture included")).to_be_visible(timeout=60_000)
    ready(page)
    screenshots(page, f"{task}-try")
    _go(page, "ship")
    expect(page.get_by_text("Gives the same answers as the trained network")).to_be_visible()
    ready(page)
    screenshots(page, f"{task}-ship")
