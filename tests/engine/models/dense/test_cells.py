"""A sample of the table of architectures against backbones: each cell builds, trains three steps and exports. All of it: benchmarks.cells."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cells import run_cell
from engine.models.dense import ARCHITECTURES

BACKBONES = ("efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto", "resnet10t", "repvit_m0_9", "pvt_v2_b0", "vit_tiny_patch16_224")
"""One after the other, so that each architecture meets one and each kind of backbone meets some."""

SAMPLE = [(architecture, BACKBONES[number % len(BACKBONES)]) for number, architecture in enumerate(ARCHITECTURES)]


@pytest.mark.parametrize(("architecture", "backbone"), SAMPLE, ids=["/".join(cell) for cell in SAMPLE])
def test_a_cell_builds_trains_and_exports(architecture: str, backbone: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cell = run_cell(architecture, backbone, 96)
    finally:
        torch.set_num_threads(threads)
    assert cell["falls"], cell["losses"]
    assert cell["passed"], cell
