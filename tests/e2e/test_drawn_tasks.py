"""Tasks with drawn labels in a real browser: choose an architecture, train, see what was found and missed, try it, take it away."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data as photographs

from tests.e2e.steps import ROOT, Studio, go, key_button, quick_run, ready, screenshots

SIDE = (160, 120)


def _export(path: Path, count: int = 28) -> Path:
    """A YOLO export of pieces of real textures with a pale and a dark disc on each, outlined by eight corners."""
    grounds = [photographs.brick(), photographs.grass(), photographs.gravel()]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", "train: images/train\nval: images/val\nnames: [pale, dark]\n")
        for number in range(count):
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


TASKS = [("object-detection", "fcos", re.compile(r"^Finds .* right .* of the time")), ("semantic-segmentation", "unet", re.compile("of all pixels right"))]

_EXPORT = """
import sys, torch
from engine.models import build, catalogue, weights

row = catalogue.backbone("efficientnet_lite0")
spec = build.ModelSpec(row.name, "linear", tuple(map(str, range(1000))), 96, row.mean, row.std, row.interpolation, row.crop_share)
torch.onnx.export(build.ready(spec, weights.find(row.name)), (torch.randn(1, 3, 96, 96),), sys.argv[1], dynamo=False, opset_version=17,
                  input_names=["input"], output_names=["scores"])
"""
"""EfficientNet-Lite0 with its packaged weights, as a PyTorch user would export it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of a classifier, to be cut."""
    file = tmp_path_factory.mktemp("models") / "mine.onnx"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _EXPORT, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return file


@pytest.mark.parametrize(("task", "architecture", "headline"), TASKS)
def test_from_an_export_to_a_file_that_answers(page: Page, studio: Studio, tmp_path: Path, task: str, architecture: str, headline: re.Pattern[str]) -> None:
    project = f"Discs {architecture}"  # the tests of a file share a studio
    done = studio.engine("import", str(_export(tmp_path / "discs.zip")), "--project", project, "--task", task)
    assert done.returncode == 0, done.stderr
    page.goto("/")
    ready(page)
    page.locator("[class*='st-key-card-']").filter(has_text=project).get_by_role("button", name="Open").click()
    page.wait_for_url(re.compile("/data"))
    ready(page)
    go(page, "start")
    key_button(page, f"take-{architecture}").click()
    ready(page)
    key_button(page, "pick-efficientnet_lite0").click()
    expect(page.get_by_text("Starting from")).to_be_visible()
    ready(page)
    screenshots(page, f"{task}-start")

    quick_run(page, epochs=10)
    screenshots(page, f"{task}-train")
    expect(page.get_by_text("on pictures it does not learn from").first).to_be_visible()

    page.reload()
    ready(page)
    go(page, "results")
    expect(page.get_by_role("heading", name=headline)).to_be_visible()
    expect(page.locator(".wall .tile img").first).to_have_js_property("complete", True)
    screenshots(page, f"{task}-results")
    page.locator(".wall .tile").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("What is there")).to_be_visible()
    page.keyboard.press("Escape")
    ready(page)

    go(page, "try")
    expect(page.get_by_text("reading the picture included")).to_be_visible(timeout=60_000)
    ready(page)
    screenshots(page, f"{task}-try")
    go(page, "ship")
    expect(page.get_by_text("Gives the same answers as the trained network")).to_be_visible()
    ready(page)
    screenshots(page, f"{task}-ship")


@pytest.mark.parametrize(("task", "architecture", "headline"), TASKS)
def test_my_onnx_file_and_then_my_run(page: Page, studio: Studio, tmp_path: Path, model: Path, task: str, architecture: str, headline: re.Pattern[str]) -> None:
    done = studio.engine("import", str(_export(tmp_path / "discs.zip", 12)), "--project", f"Own {task}", "--task", task, "--json")
    assert done.returncode == 0, done.stderr
    project = json.loads(done.stdout)["project"]["id"]
    page.goto(f"/start?project={project}&door=onnx")
    ready(page)
    page.locator("input.files").set_input_files(model)
    expect(page.get_by_role("heading", name=re.compile("X-ray of mine"))).to_be_visible(timeout=120_000)
    ready(page)
    expect(page.get_by_text("no such project yet")).to_have_count(0)
    expect(page.get_by_role("combobox", name=re.compile("Architecture on top"))).to_be_visible()
    page.get_by_role("button", name="Use this model", exact=True).click()
    expect(page.get_by_text("Starting from")).to_be_visible()
    ready(page)
    page.get_by_role("combobox", name=re.compile("Architecture on top")).scroll_into_view_if_needed()
    expect(page.get_by_role("button", name="Chosen", exact=True)).to_be_visible()  # it knows its own file behind the architecture's name
    screenshots(page, f"{task}-onnx")
    first = quick_run(page, epochs=6)

    page.goto(f"/start?project={project}&door=run")
    ready(page)
    key_button(page, f"pick-{first}").click()
    expect(page.get_by_text("Going on from")).to_be_visible()
    ready(page)
    screenshots(page, f"{task}-my-run")
    second = quick_run(page, epochs=6)
    assert second != first
    go(page, "results")
    expect(page.get_by_role("heading", name=headline)).to_be_visible()
    go(page, "try")
    expect(page.get_by_text("reading the picture included")).to_be_visible(timeout=60_000)
    told = json.loads((studio.home / "projects" / project / "runs" / second / "recipe.json").read_text())
    assert told["start"] == f"run:{first}"
    first_told = json.loads((studio.home / "projects" / project / "runs" / first / "recipe.json").read_text())
    assert first_told["start"].startswith(f"{architecture}/")
    assert first_told["start"].endswith("mine.onnx")
