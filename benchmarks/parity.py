"""How closely exported files answer as torch does, on real photographs; and TensorRT engines built ahead of time.

    python -m benchmarks.parity            every row below, a minute or two
    python -m benchmarks.parity --json     the same as one JSON object
    python -m benchmarks.parity NAME ...   only these backbones

Packaged backbones have their ImageNet weights and classifier; the others are random, with a random head of 10 classes. The bar is 1e-4,
absolute on probabilities, relative on logits. Fails (exit 1) if a model misses it or an engine cannot be built.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "resnet18",
    "mobilenetv3_small_100",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "repvit_m0_9",
)
CLASSES = 10


def crops(size: int, crop_share: float, interpolation: str, each: int = 8) -> Any:
    """Return crops of the photographs inside scikit-image and scikit-learn, as a model sees them: [N, size, size, 3]."""
    import numpy as np

    from engine.data.images import for_model, open_rgb
    from engine.export.models import _packaged_pictures

    random, row, found = np.random.default_rng(0), {"image_size": size, "crop_share": crop_share, "interpolation": interpolation}, []
    for path in _packaged_pictures():
        whole = open_rgb(path)
        for _ in range(each):
            side = int(random.integers(min(whole.size) // 2, min(whole.size)))
            left, top = (int(random.integers(0, full - side + 1)) for full in whole.size)
            found.append(for_model(whole.crop((left, top, left + side, top + side)), row))
    return np.stack(found)


def network(name: str) -> tuple[Any, Any]:
    """Return the network and its spec."""
    import torch
    from torch import nn

    from engine.models import build, catalogue

    row = catalogue.backbone(name)
    ready = next((entry for entry in catalogue.optimized("image-classification") if entry.backbone == name), None)
    packaged = catalogue.packaged_file(name) if ready else None
    spec = build.ModelSpec(
        backbone=row.name,
        classes=ready.class_names() if ready and packaged else tuple(f"class {i}" for i in range(CLASSES)),
        image_size=row.image_size,
        mean=row.mean,
        std=row.std,
        interpolation=row.interpolation,
        crop_share=row.crop_share,
    )
    if packaged:
        return build.ready(spec, packaged), spec
    made = build.build(spec, seed=0).eval()
    torch.manual_seed(0)
    for weights in made.head.parameters():
        nn.init.normal_(weights, std=0.1)
    return made, spec


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Export one backbone, compare, and build its engines."""
    from engine.export import tensorrt
    from engine.export.onnx_file import export_onnx

    made, spec = network(name)
    began = time.perf_counter()
    parity = export_onnx(made, spec, folder / f"{name}.onnx", origin={}, pictures=crops(spec.image_size, spec.crop_share, spec.interpolation))
    row = {"backbone": name, "classes": len(spec.classes), "seconds": round(time.perf_counter() - began, 1), **parity}
    for precision in ("fp32", "fp16"):
        began = time.perf_counter()
        engine = tensorrt.build_engine(folder / f"{name}.onnx", folder / "model.engine", compute_capability="8.9", precision=precision)
        row[f"engine_{precision}"] = {"megabytes": round(engine["bytes"] / 1e6, 1), "seconds": round(time.perf_counter() - began, 1)}
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=ROWS, metavar="NAME")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAFT_HOME"] = str(Path(folder) / "home")
        if not chosen.json:
            print(f"{'backbone':24} {'exporter':12} {'photos':>6} {'probabilities':>14} {'logits':>9} {'export':>7} {'1 photo':>8}   engine Ada fp32 / fp16")
        for name in chosen.names:
            row = measure(name, Path(folder))
            rows.append(row)
            if not chosen.json:
                engines = " / ".join(f"{row[key]['megabytes']} MB in {row[key]['seconds']} s" for key in ("engine_fp32", "engine_fp16"))
                agreed = f"{row['n']:6} {row['max_abs']:14.1e} {row['max_rel']:9.1e}"
                print(f"{name:24} {row['exporter']:12} {agreed} {row['seconds']:5.1f} s {row['latency_ms']:5.1f} ms   {engines}", flush=True)
    worst = max(max(row["max_abs"], row["max_rel"]) for row in rows)
    if chosen.json:
        print(json.dumps({"bar": 1e-4, "worst": worst, "rows": rows}))
    else:
        print(f"worst difference {worst:.1e}, bar 1e-4: {'met' if worst <= 1e-4 else 'MISSED'}")
    return 0 if worst <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
