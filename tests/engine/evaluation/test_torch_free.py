"""Pages import evaluation and the reading side of export: neither may bring torch, at import or when used."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from engine.evaluation import compare, curves, explain, metrics, paired, report, verdict
from engine.export import card, folder, jobs, metadata, predictor, tensorrt
tensorrt.target("8.9")
heavy = {"torch", "torchvision", "timm", "transformers", "tensorrt", "tensorrt_rtx"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def test_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
