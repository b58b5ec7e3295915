"""Tiny real data: handwritten digits as PNG files, and a network that trains in a second."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from engine.events import Event
from engine.models import catalogue
from engine.recipe import Recipe, recipe_from
from engine.training import session

SMALL = {"start": "mobilenetv3_small_050", "image_size": 32, "threads": 1, "epochs": 2, "batch_size": 16, "precision": "fp32", "layout": "channels_last"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def digits(home: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a version of `count` digits, a half for training."""

    def make(count: int = 120, classes: int = 10, splits: str = "tttvte") -> dict[str, Any]:
        found = load_digits()
        rows = [row for row in range(len(found.target)) if found.target[row] < classes][:count]
        names = {"t": "train", "v": "val", "e": "test"}
        items = []
        for place, row in enumerate(rows):
            path = home / "pictures" / f"{row}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray((found.images[row] * 15.9).astype("uint8")).resize((40, 40)).convert("RGB").save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            split = names[splits[place % len(splits)]]
            items.append({"id": row + 1, "sha256": digest, "path": str(path), "name": path.name, "label": int(found.target[row]), "split": split})
        return {"id": "digits", "task": "image-classification", "classes": [str(number) for number in range(classes)], "items": items}

    return make


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., tuple[session.Outcome, list[Event], session.Files]]:
    """Return a function that trains in a folder and gives the outcome, the events and the files."""

    def run(
        manifest: dict[str, Any], *, folder: str = "run", wish: Callable[[list[Event]], str | None] = lambda events: None, **settings: Any
    ) -> tuple[session.Outcome, list[Event], session.Files]:
        (tmp_path / folder).mkdir(exist_ok=True)
        recipe: Recipe = recipe_from({**SMALL, **settings})
        events: list[Event] = []
        files = session.Files(tmp_path / folder)
        start = catalogue.resolve(recipe.start)
        outcome = session.train(recipe=recipe, manifest=manifest, start=start, files=files, emit=events.append, wish=lambda: wish(events), pressed_t=0.0)
        return outcome, events, files

    return run
