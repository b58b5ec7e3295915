"""Door two where things are found and outlined: a finished model is fetched from a hub on this machine, tried as it is, and retrained."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.models.published import find
from tests.e2e.steps import Studio, go, key_button, ready, running, screenshots
from tests.e2e.test_drawn_tasks import _export
from tests.published import DETECTOR, OUTLINER, SEGMENTER, Finished, Hub, finished_models  # noqa: F401 (fixture)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, finished_models: dict[str, Path]) -> Iterator[Studio]:  # noqa: F811
    """A studio whose hub is on this machine."""
    hub = Hub(finished_models)
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,))
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "GRAFT_HUB", hub.url)
        try:
            with running(tmp_path_factory.mktemp("studio") / "graft") as started:
                yield started
        finally:
            hub.shutdown()
            hub.server_close()
            thread.join()


def _project(studio: Studio, folder: Path, task: str) -> str:
    done = studio.engine("import", str(_export(folder / "discs.zip", 12)), "--project", task, "--task", task, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["project"]["id"])


@pytest.mark.parametrize(("model", "figure"), [(DETECTOR, "mAP"), (SEGMENTER, "Class IoU"), (OUTLINER, "mAP")], ids=["detector", "segmenter", "outliner"])
def test_a_finished_model_is_fetched_tried_and_retrained(page: Page, studio: Studio, tmp_path: Path, model: Finished, figure: str) -> None:
    project, licence = _project(studio, tmp_path, model.task), find(model.key).licence
    page.goto(f"/start?project={project}&door=optimized")
    ready(page)
    fetch = key_button(page, f"fetch-{model.key}")
    expect(fetch).to_be_disabled()
    page.locator(f".st-key-accept-{model.key}").get_by_text(f"I accept its licence ({licence})").click()
    ready(page)
    screenshots(page, f"{model.task}-optimized")
    fetch.click()
    expect(key_button(page, f"try-{model.key}")).to_be_visible(timeout=60_000)
    ready(page)
    expect(page.get_by_text(re.compile("On this computer")).first).to_be_visible()
    key_button(page, f"try-{model.key}").click()
    page.wait_for_url(re.compile("/try"))
    expect(page.get_by_text("reading the picture included")).to_be_visible(timeout=120_000)
    ready(page)
    screenshots(page, f"{model.task}-optimized-try")

    go(page, "start")
    key_button(page, "open-optimized").click()
    ready(page)
    key_button(page, f"pick-{model.key}").click()
    expect(page.get_by_text("Starting from")).to_be_visible()
    ready(page)
    go(page, "train")
    key_button(page, "goal-quick").click()
    ready(page)
    page.get_by_role("spinbutton", name=re.compile("^Epochs")).fill("2")
    page.keyboard.press("Tab")
    ready(page)
    page.get_by_text("Expert settings").click()
    page.get_by_role("tab", name="The model").click()
    page.get_by_role("spinbutton", name=re.compile("^Picture size")).fill("128")
    page.keyboard.press("Tab")
    ready(page)
    key_button(page, "start").click()
    expect(page.get_by_text("Finished", exact=True).first).to_be_visible(timeout=240_000)
    ready(page)
    go(page, "results")
    expect(page.get_by_text(figure, exact=True).first).to_be_visible()
    told = [json.loads(path.read_text()) for path in (studio.home / "projects" / project / "runs").glob("*/report.json")]
    assert [(row["start"]["key"], row["start"]["weights"]) for row in told] == [(f"ready/{model.key}", "pretrained")]
