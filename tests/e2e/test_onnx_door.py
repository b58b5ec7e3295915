"""Door three in a real browser: a real ONNX file is dropped, X-rayed, cut elsewhere and back, retrained, and taken away as ONNX again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import onnx
import onnxruntime
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from engine.export.predictor import Predictor
from tests.e2e.steps import ROOT, Studio, ready, sample_project, screenshots

SLOW_MS = 120_000

_EXPORT = """
import sys, torch
from engine.models import build, catalogue, weights

row = catalogue.backbone("efficientnet_lite0")
classes = tuple(map(str, range(1000)))
spec = build.ModelSpec(row.name, "linear", classes, 96, row.mean, row.std, row.interpolation, row.crop_share, 0.0, 0.0, task="image-classification")
torch.manual_seed(0)
for name, network in (("mine", build.ready(spec, weights.find(row.name))), ("random", build.build(spec).eval())):
    torch.onnx.export(network, (torch.randn(1, 3, 96, 96),), f"{sys.argv[1]}/{name}.onnx", dynamo=False, opset_version=17,
                      input_names=["input"], output_names=["scores"])
"""
"""EfficientNet-Lite0 with its packaged weights, and the same network untrained, as a PyTorch user would export them."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.onnx and random.onnx."""
    folder = tmp_path_factory.mktemp("models")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _EXPORT, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def project(studio: Studio) -> str:
    """A sample project in the studio's workspace, by its id."""
    return sample_project(studio, "surfaces")


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    ready(page)


def test_a_file_is_dropped_and_xrayed(page: Page, project: str, files: Path) -> None:
    page.goto(f"/start?project={project}")
    ready(page)
    page.locator(".st-key-open-onnx button").click()
    ready(page)
    page.locator("input.files").set_input_files(files / "mine.onnx")
    expect(page.get_by_role("heading", name=re.compile("X-ray of mine"))).to_be_visible(timeout=SLOW_MS)
    ready(page)
    for words in ("All of it can learn", "telling 1,000 classes apart", "the answers differ by at most 1 part in", "1,280 features a picture"):
        expect(page.get_by_text(re.compile(words)).first).to_be_visible()
    expect(page.locator(".item.cut")).to_have_count(1)
    expect(page.locator(".item.gone")).not_to_have_count(0)
    page.locator(".frame").scroll_into_view_if_needed()
    screenshots(page, "xray")


def test_the_drawing_unfolds_zooms_and_moves(page: Page, project: str) -> None:
    page.goto(f"/start?project={project}&door=onnx")
    ready(page)
    world = page.locator(".world")
    expect(page.locator(".item.block[data-name='blocks.6']")).to_be_visible()
    before, folded = world.get_attribute("transform"), page.locator(".item").count()
    page.get_by_role("button", name="Unfold blocks.6", exact=True).click()
    assert page.locator(".item").count() > folded
    _press(page, "Larger")
    assert world.get_attribute("transform") != before
    zoomed = world.get_attribute("transform")
    box = page.locator(".drawing").bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 130, steps=4)
    page.mouse.up()
    moved = world.get_attribute("transform")
    assert moved != zoomed
    page.mouse.wheel(0, -200)
    assert world.get_attribute("transform") != moved
    _press(page, "Fold")
    assert page.locator(".item").count() == folded


def test_another_cut_is_clicked_tried_and_taken_back(page: Page, project: str) -> None:
    page.goto(f"/start?project={project}&door=onnx")
    ready(page)
    page.get_by_role("button", name="Unfold blocks.6", exact=True).click()
    value = "/backbone/blocks/blocks.6/blocks.6.0/conv_pwl/Conv_output_0"
    step = page.locator(f".item[data-name='{value}']")
    step.click()
    expect(page.get_by_text(re.compile("It works"))).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text(re.compile("320 features a picture")).first).to_be_visible()
    expect(step).to_have_class(re.compile("cut"))
    page.reload()
    ready(page)
    expect(page.get_by_text(re.compile("It works"))).to_be_visible(timeout=SLOW_MS)
    _press(page, "Back to what Graft proposes")
    expect(page.get_by_text(re.compile("This is what Graft proposes"))).to_be_visible()


def _best(studio: Studio, project: str) -> tuple[float, str]:
    """Return the accuracy and the id of the project's best run."""
    reports = (studio.home / "projects" / project / "runs").glob("*/report.json")
    return max((json.loads(path.read_text())["metrics"]["accuracy"], path.parent.name) for path in reports)


def test_it_is_chosen_and_trained(page: Page, project: str, studio: Studio) -> None:
    page.goto(f"/start?project={project}&door=onnx")
    ready(page)
    _press(page, "Use this model")
    expect(page.get_by_text(re.compile("Starting from"))).to_be_visible()
    page.get_by_role("button", name="Next: train").click()
    expect(page.get_by_text(re.compile("Starts from"))).to_be_visible()
    ready(page)
    page.locator(".st-key-goal-quick button").click()
    ready(page)
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.get_by_role("link", name="Take it with you")).to_be_visible(timeout=SLOW_MS)
    assert _best(studio, project)[0] > 0.9


def test_the_new_onnx_is_downloaded_and_runs(page: Page, project: str, studio: Studio, tmp_path: Path) -> None:
    page.goto(f"/ship?project={project}&run={_best(studio, project)[1]}")
    ready(page)
    taken: list[Path] = []

    def save(download) -> None:
        download.save_as(tmp_path / "new.onnx")
        taken.append(tmp_path / "new.onnx")

    page.on("download", save)
    page.context.on("page", lambda opened: opened.on("download", save))
    page.get_by_role("link", name="Download", exact=True).click()
    deadline = time.monotonic() + 30
    while not taken:
        assert time.monotonic() < deadline, "nothing was downloaded"
        page.wait_for_timeout(100)
    answers = Predictor(taken[0]).predict([Image.new("RGB", (300, 200), (90, 140, 60))])[0]
    assert {label for label, _ in answers} == {"brick", "grass", "gravel"}
    session = onnxruntime.InferenceSession(taken[0], providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["images"]
    told = {entry.key: entry.value for entry in onnx.load(taken[0]).metadata_props}
    assert str(tmp_path.parent.parent) not in json.dumps(told), "a path of this machine went out with the model"


def test_it_is_far_better_than_the_same_network_untrained_and_frozen(project: str, studio: Studio, files: Path) -> None:
    reached = _best(studio, project)[0]
    done = studio.engine("train", "--project", "Surfaces", "--start", str(files / "random.onnx"), "--preset", "quick", "--wait", "--json")
    baseline = json.loads(done.stdout)["metrics"]["accuracy"]
    assert reached > baseline + 0.2, f"{reached} against {baseline}"
