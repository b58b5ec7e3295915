"""Frozen features: right, computed once, and sound again after damage."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from engine import workspace
from engine.data import cache
from engine.models.build import ModelSpec, build
from engine.training.augment import normalised
from engine.training.features import Extractor


def test_features_are_the_backbones_and_come_from_the_cache_the_second_time(digits):
    manifest, spec = digits(40), ModelSpec("mobilenetv3_small_050", classes=("a",), image_size=32, crop_share=0.9)
    network = build(spec).eval()
    data = cache.filling(manifest, asdict(spec))
    events: list[Any] = []
    extractor = Extractor(network.backbone, spec, data, manifest, torch.device("cpu"), events.append, lambda: False)
    rows = np.arange(40)
    found = extractor(rows, "fp32", "channels_last")
    with torch.no_grad():
        expected = network.backbone(normalised(data.evaluation_view(rows), spec, torch.device("cpu")))
    assert torch.allclose(found, expected, atol=1e-4)
    assert events[-1].done == 40

    asked = Extractor(network.backbone, spec, data, manifest, torch.device("cpu"), events.append, lambda: True)
    assert torch.equal(asked(rows, "fp32", "channels_last"), found)  # nothing to compute, so nothing to leave from
    assert asked(rows, "bf16", "channels_last") is None

    for path in workspace.cache("features").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(extractor(rows, "fp32", "channels_last"), found)
