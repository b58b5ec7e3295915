"""The second half of the path in a real browser: train, watch, reload, pause, resume, stop, understand, compare, try, ship."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.export.predictor import Predictor
from tests.e2e.steps import Studio, at_rest, ready, sample_project, screenshots

SLOW_MS = 120_000
_LOSS = "document.querySelector('[data-chart=loss]')"


@pytest.fixture(scope="module")
def project(studio: Studio) -> str:
    """A sample project in the studio's workspace, by its id."""
    return sample_project(studio, "surfaces")


def _go(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNavLink").filter(has_text=re.compile(f"^.*{title}$")).click()
    ready(page)


def _points(page: Page) -> int:
    """Return how many optimiser steps the loss chart shows."""
    return int(page.evaluate(f"() => {_LOSS}?.data?.[0]?.x.length ?? 0"))


def _wait_for_points(page: Page, more_than: int) -> None:
    page.wait_for_function(f"least => ({_LOSS}?.data?.[0]?.x.length ?? 0) > least", arg=more_than, timeout=SLOW_MS)


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def _badge(page: Page, state: str) -> None:
    """Wait until the state beside the run's name says so."""
    expect(page.get_by_test_id("stMarkdownBadge").or_(page.locator(".stMarkdownBadge")).filter(has_text=state).first).to_be_visible(timeout=SLOW_MS)


def _zoom_is_kept_while_points_arrive(page: Page) -> None:
    canvas = page.locator("[data-chart=loss] canvas")
    canvas.scroll_into_view_if_needed()
    at_rest(canvas)
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Show all")).to_be_visible()
    zoom = page.evaluate(f"() => {_LOSS}.zoom")
    _wait_for_points(page, _points(page))
    assert page.evaluate(f"() => {_LOSS}.zoom") == zoom, "new points moved what the user had zoomed into"
    _press(page, "Show all")
    assert page.evaluate(f"() => {_LOSS}.zoom") is None


def _watching_is_quiet(page: Page) -> None:
    """While points arrive no script of the page runs again and nothing is animated: a training on the same processor must not feel who watches."""
    page.evaluate(
        """() => {
            window.ran = 0
            const app = document.querySelector('[data-testid=stApp]')
            new MutationObserver(() => (window.ran += 1)).observe(app, {attributes: true, attributeFilter: ['data-test-script-state']})
        }"""
    )
    _wait_for_points(page, _points(page))
    _wait_for_points(page, _points(page))
    assert page.evaluate("() => window.ran") == 0
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_a_run_is_started_watched_reloaded_paused_resumed_and_stopped(page: Page, project: str, new_page) -> None:
    page.goto(f"/train?project={project}")
    ready(page)
    expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()
    screenshots(page, "train-setup")
    page.get_by_role("spinbutton", name=re.compile("^Epochs")).fill("200")
    page.keyboard.press("Tab")
    ready(page)
    page.get_by_text("Expert settings").click()
    page.get_by_role("tab", name="The model").click()
    page.get_by_role("spinbutton", name=re.compile("^Picture size")).fill("64")
    page.keyboard.press("Tab")
    ready(page)
    _press(page, "Start training")
    expect(page.get_by_role("heading", name="Balanced 1")).to_be_in_viewport()  # it was pressed far down
    expect(page).to_have_url(re.compile("run=run-"))

    _wait_for_points(page, 3)
    page.evaluate(f"() => {{ window.kept = {_LOSS} }}")
    before = _points(page)
    _wait_for_points(page, before)
    assert page.evaluate(f"() => window.kept === {_LOSS} && window.kept.isConnected"), "the chart was made anew: it flickers"
    _zoom_is_kept_while_points_arrive(page)
    _watching_is_quiet(page)
    screenshots(page, "train-live")

    page.reload()
    ready(page)
    expect(page.get_by_role("heading", name="Balanced 1")).to_be_visible()
    _wait_for_points(page, before)

    other = new_page()  # a second browser finds the run at work by itself
    other.goto(f"/train?project={project}")
    ready(other)
    expect(other.get_by_role("heading", name="Balanced 1")).to_be_visible()
    other.close()

    _press(page, "Pause")
    _badge(page, "Paused")
    at_pause = _points(page)
    screenshots(page, "train-paused")
    _press(page, "Resume")
    _wait_for_points(page, at_pause)
    _press(page, "Stop and keep best")
    _badge(page, "Stopped")
    expect(page.get_by_role("link", name="See what it got right and wrong")).to_be_visible(timeout=SLOW_MS)


def test_a_quick_run_finishes_and_is_listed(page: Page, project: str) -> None:
    page.goto(f"/train?project={project}")
    ready(page)
    _press(page, "Choose quick look")
    expect(page.get_by_role("button", name="Choose balanced")).to_be_visible()
    ready(page)
    _press(page, "Start training")
    expect(page.get_by_role("heading", name="Quick look 1")).to_be_visible()
    expect(page.get_by_role("link", name="See what it got right and wrong")).to_be_visible(timeout=SLOW_MS)
    _badge(page, "Finished")
    expect(page.get_by_text("Balanced 1", exact=True)).to_be_visible()
    screenshots(page, "train-finished")


def test_a_train_page_left_open_keeps_the_worker_warm(page: Page, project: str, studio: Studio) -> None:
    page.clock.install()
    page.goto(f"/train?project={project}")
    ready(page)
    expect(page.get_by_text("Measured on this machine with your settings.")).to_be_visible(timeout=SLOW_MS)
    page.wait_for_timeout(4000)  # the quick timer of the dry run has gone, and a look every few seconds is enough
    kept = studio.home / "locks" / "warm.keep"
    before = kept.stat().st_mtime_ns
    page.clock.fast_forward(61_000)
    deadline = time.monotonic() + 20
    while kept.stat().st_mtime_ns == before:
        assert time.monotonic() < deadline, "nobody said that the page is still open"
        page.wait_for_timeout(100)


def test_results_lead_from_a_figure_to_the_pictures_and_to_why(page: Page, project: str) -> None:
    page.goto(f"/results?project={project}")
    ready(page)
    expect(page.get_by_role("heading", name=re.compile(r"% right"))).to_be_visible()
    screenshots(page, "results")
    page.get_by_role("tab", name="Which is mistaken for which").click()
    expect(page.locator(".js-plotly-plot .heatmaplayer").first).to_be_visible()
    screenshots(page, "results-matrix")
    ready(page)
    _click_cell(page, 1, 1)
    expect(page.get_by_text(re.compile("pictures of grass called grass"))).to_be_visible()
    page.locator(".tile").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("what made it say"))).to_be_visible(timeout=SLOW_MS)
    screenshots(page, "results-why")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="How sure it is").click()
    expect(page.get_by_text(re.compile("When it says"))).to_be_visible()


def _click_cell(page: Page, row: int, column: int) -> None:
    """Click a cell of the confusion matrix where Plotly drew it, once it stands still: a new width is laid out anew, which Plotly tells nobody."""
    page.wait_for_function(
        """() => {
            const plot = [...document.querySelectorAll('.js-plotly-plot')].find(node => node.querySelector('.heatmaplayer image'))
            if (!plot) return false
            const {xaxis, width} = plot._fullLayout, cells = plot.querySelector('.heatmaplayer image').getBoundingClientRect()
            const place = JSON.stringify([width, cells.left, cells.top, cells.width])
            const laid = Math.abs(plot.getBoundingClientRect().width - width) < 1 && Math.abs(cells.width - xaxis._length) < 1
            const still = laid && window.cellsStoodAt === place && performance.now() - window.cellsStoodSince > 400
            if (window.cellsStoodAt !== place) [window.cellsStoodAt, window.cellsStoodSince] = [place, performance.now()]
            return still
        }"""
    )
    box = page.evaluate(
        """([row, column]) => {
            const plot = [...document.querySelectorAll('.js-plotly-plot')].find(node => node.querySelector('.heatmaplayer'))
            plot.scrollIntoView({block: 'center'})
            const {xaxis, yaxis} = plot._fullLayout, frame = plot.getBoundingClientRect()
            return [frame.left + xaxis._offset + xaxis.l2p(column), frame.top + yaxis._offset + yaxis.l2p(row)]
        }""",
        [row, column],
    )
    page.mouse.move(*box)
    page.mouse.click(*box)
    ready(page)


def test_compare_says_which_is_better_and_how_sure_that_is(page: Page, project: str) -> None:
    page.goto(f"/compare?project={project}")
    ready(page)
    expect(page.get_by_text(re.compile("pictures both were tested on")).first).to_be_visible()
    screenshots(page, "compare")
    page.get_by_text("by minute", exact=True).click()
    expect(page.get_by_text("minutes of work")).to_be_visible()
    page.get_by_role("tab", name="What was set differently").click()
    expect(page.get_by_text(re.compile("settings are the same"))).to_be_visible()


def test_try_answers_and_explains(page: Page, project: str) -> None:
    page.goto(f"/try?project={project}")
    ready(page)
    expect(page.get_by_text(re.compile("ms on this machine")).first).to_be_visible(timeout=SLOW_MS)
    page.locator(".tile").nth(1).click()
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(1)
    ready(page)
    page.get_by_text("Show what it looked at").click()
    expect(page.get_by_text(re.compile("what made it say"))).to_be_visible(timeout=SLOW_MS)
    screenshots(page, "try")


def test_a_pasted_picture_is_answered(page: Page, project: str) -> None:
    page.goto(f"/try?project={project}")
    ready(page)
    page.get_by_text("Paste", exact=True).click()
    field = page.locator(".paste")
    expect(field).to_be_visible()
    field.evaluate(
        """async field => {
            const canvas = Object.assign(document.createElement('canvas'), {width: 80, height: 80})
            canvas.getContext('2d').fillRect(20, 20, 40, 40)
            const blob = await new Promise(done => canvas.toBlob(done, 'image/png'))
            const transfer = new DataTransfer()
            transfer.items.add(new File([blob], 'pasted.png', {type: 'image/png'}))
            field.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true, cancelable: true}))
        }"""
    )
    expect(page.get_by_text(re.compile("ms on this machine")).first).to_be_visible(timeout=SLOW_MS)


def test_the_downloaded_onnx_file_runs(page: Page, project: str, tmp_path: Path) -> None:
    page.goto(f"/ship?project={project}")
    ready(page)
    expect(page.get_by_text(re.compile("Gives the same answers as the trained network"))).to_be_visible()
    screenshots(page, "ship")
    taken: list[Path] = []

    def save(download) -> None:
        download.save_as(tmp_path / "model.onnx")
        taken.append(tmp_path / "model.onnx")

    page.on("download", save)
    page.context.on("page", lambda opened: opened.on("download", save))
    page.get_by_role("link", name="Download", exact=True).click()
    deadline = time.monotonic() + 30
    while not taken:
        assert time.monotonic() < deadline, "nothing was downloaded"
        page.wait_for_timeout(100)
    from PIL import Image

    predictor = Predictor(taken[0])
    answers = predictor.predict([Image.new("RGB", (300, 200), (90, 140, 60))])[0]
    assert {label for label, _ in answers} == {"brick", "grass", "gravel"}
    assert abs(sum(share for _, share in answers) - 1) < 1e-4
