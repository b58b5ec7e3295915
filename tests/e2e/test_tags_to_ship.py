"""Tagging in a real browser: train, see which tags were missed and why, try a picture, lay two runs side by side, take the model away."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.steps import Studio, at_rest, go, key_button, quick_run, ready, screenshots
from tests.tagged import table

TASK = "multi-label-classification"


def _tab(page: Page, title: str) -> None:
    page.get_by_role("tab", name=title).click()
    ready(page)


def test_from_a_table_to_a_model_that_tags(page: Page, studio: Studio, tmp_path: Path) -> None:
    done = studio.engine("import", str(table(tmp_path / "pictures", 90)), "--project", "Coins and flowers", "--task", TASK, "--json")
    assert done.returncode == 0, done.stderr
    project = json.loads(done.stdout)["project"]["id"]
    page.goto(f"/start?project={project}&door=optimized")
    ready(page)
    expect(page.get_by_text("Retrain it").first).to_be_visible()
    screenshots(page, "tagging-start")
    page.goto(f"/start?project={project}&door=general")
    ready(page)
    key_button(page, "pick-efficientnet_lite0").click()
    expect(page.get_by_text("Starting from")).to_be_visible()
    ready(page)
    first = quick_run(page)
    expect(page.get_by_text("Mean average precision").first).to_be_visible()
    screenshots(page, "tagging-train")

    go(page, "results")
    expect(page.get_by_role("heading", name=re.compile("mean average precision"))).to_be_visible()
    report = json.loads((studio.home / "projects" / project / "runs" / first / "report.json").read_text())
    if report["mistakes"]:
        expect(page.locator(".wall .tile img").first).to_have_js_property("complete", True)
    screenshots(page, "tagging-results")
    _tab(page, "By tag")
    expect(page.get_by_text("It travels in the exported file")).to_be_visible()
    screenshots(page, "tagging-by-tag")
    _tab(page, "How sure it is")
    screenshots(page, "tagging-sure")
    _tab(page, "Pictures of a tag")
    page.get_by_role("radio", name=re.compile("^Right")).click()
    ready(page)
    expect(page.get_by_text("as the model says")).to_be_visible()
    expect(page.locator(".wall .tile img").first).to_have_js_property("complete", True)
    screenshots(page, "tagging-pictures")
    page.locator(".wall .tile").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("what speaks for “coin”|what speaks for “flower”"))).to_be_visible(timeout=60_000)
    expect(dialog.get_by_text("A tag counts from its orange mark on")).to_be_visible()
    at_rest(dialog)
    screenshots(page, "tagging-why")
    page.keyboard.press("Escape")
    ready(page)

    go(page, "try")
    expect(page.get_by_text("reading the picture included")).to_be_visible(timeout=60_000)
    ready(page)
    screenshots(page, "tagging-try")
    go(page, "ship")
    expect(page.get_by_text("Gives the same answers as the trained network")).to_be_visible()
    page.get_by_text("Model card", exact=True).click()
    ready(page)
    expect(page.get_by_text("counts from").first).to_be_visible()
    screenshots(page, "tagging-ship")

    made = studio.engine("train", "--project", "Coins and flowers", "--preset", "quick", "--set", "image_size=48", "--wait", "--json")
    assert made.returncode == 0, made.stderr
    second = json.loads(made.stdout)["run"]
    go(page, "compare")
    found = json.loads(studio.engine("compare", second, first, "--json").stdout)
    expect(page.get_by_text(found["verdict"][:60])).to_be_visible(timeout=60_000)
    screenshots(page, "tagging-compare")
    _tab(page, "Where they disagree")
    screenshots(page, "tagging-disagree")
