"""One finished run of a tiny network on crops of real photographs, exported once for the whole session."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from engine import runs, workspace
from engine.data.images import for_model
from engine.evaluation.report import make_report, write_predictions
from engine.models import build
from engine.models.build import ModelSpec
from engine.recipe import recipe_from
from engine.runs import Run

CLASSES = ("coffee", "cat", "palace")


def packaged(name: str) -> Image.Image:
    """A photograph that travels inside scikit-image or scikit-learn."""
    package, inside = ("sklearn", "datasets/images") if name in ("china.jpg", "flower.jpg") else ("skimage", "data")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Image.open(Path(spec.submodule_search_locations[0]) / inside / name).convert("RGB")


def decided(network: nn.Module) -> None:
    """Give the head random weights: a new one answers the same to everything, which would hide any difference."""
    torch.manual_seed(0)
    for weights in network.head.parameters():
        nn.init.normal_(weights, std=0.5)


@pytest.fixture(scope="session")
def decide() -> Callable[[nn.Module], None]:
    """Give a network's head random weights."""
    return decided


@pytest.fixture(scope="session")
def views() -> Callable[[ModelSpec], np.ndarray]:
    """Four photographs [4, H, W, 3] as a model of the given spec sees them."""

    def make(spec: ModelSpec) -> np.ndarray:
        row = {"image_size": spec.image_size, "crop_share": spec.crop_share, "interpolation": spec.interpolation}
        return np.stack([for_model(packaged(name), row) for name in ("coffee.png", "chelsea.png", "china.jpg", "flower.jpg")])

    return make


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight crops of each of three photographs, as JPEG, PNG and large JPEG."""
    folder, random, paths = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0), []
    for name in ("coffee.png", "chelsea.png", "china.jpg"):
        whole = packaged(name)
        for i in range(8):
            side = int(random.integers(140, 260))
            left, top = (int(random.integers(0, full - side)) for full in whole.size)
            crop = whole.crop((left, top, left + side, top + side - 20))
            if i == 7:
                crop = crop.resize((1600, 1400))
            paths.append(folder / f"{Path(name).stem}-{i}.{'png' if i % 3 == 0 else 'jpg'}")
            crop.save(paths[-1])
    return paths


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("GRAFT_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shipped(session_home: Path, photographs: list[Path]) -> Run:
    """A run with checkpoint, report, predictions, ONNX file and parity, as training leaves it; its network is random."""
    from engine.data import projects
    from engine.export.models import export_run
    from engine.export.predictor import Predictor

    project = projects.create("Café | things")
    items = [
        {
            "id": i + 1,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "path": str(path),
            "name": path.name,
            "label": i // 8,
            "split": "test" if i % 8 >= 5 else "train",
        }
        for i, path in enumerate(photographs)
    ]
    version = {"id": "0f" * 32, "task": "image-classification", "classes": list(CLASSES), "items": items}
    run = runs.create_run(project.id, recipe_from({"start": "linear/test_resnet", "epochs": 3, "seed": 5}), version)
    spec = build.ModelSpec(backbone="test_resnet", classes=CLASSES, image_size=96, interpolation="bilinear", crop_share=0.95)
    network = build.build(spec, seed=5)
    decided(network)
    build.save(network.state_dict(), spec, run.path("best.safetensors"))
    export_run(run)
    tested = [item for item in items if item["split"] == "test"]
    predictor = Predictor(run.path("model.onnx"))
    probabilities = predictor.probabilities([predictor.open(Path(item["path"])) for item in tested])
    ids, labels = np.array([item["id"] for item in tested]), np.array([item["label"] for item in tested])
    write_predictions(run.path("predictions.npz"), ids, labels, probabilities)
    workspace.write_json(run.path("report.json"), make_report(version, ids, labels, probabilities, "test"))
    return run
