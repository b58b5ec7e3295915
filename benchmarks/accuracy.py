"""Accuracy on the photographs' own test split: the default preset against what it must not fall behind.

    python -m benchmarks.accuracy [--quick] [--json] [--seeds 0 1 2]

Against scikit-learn's logistic regression on the same backbone's frozen fp32 features (raw and standardised, its default C), and against a plain
fine-tune of the whole network from a new head (AdamW, one rate for all, cosine), the best epoch by validation, given the same wall time.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import photographs

MODEL = "efficientnet_lite0"
PLAIN = {"phases": "all", "lr_head": 3e-4, "lr_backbone": 3e-4, "label_smoothing": 0.0, "preset": "balanced", "batch_size": 32, "freeze_depth": 0.0}


def trained(manifest: dict[str, Any], **settings: Any) -> tuple[float, float, list[Any]]:
    """Train in this process; return test accuracy, wall seconds and events."""
    from engine.models import catalogue
    from engine.recipe import recipe_from
    from engine.training import session

    seen: list[Any] = []
    recipe = recipe_from({"start": MODEL, **settings})
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        files = session.Files(Path(folder))
        start = catalogue.resolve(recipe.start)
        outcome = session.train(recipe=recipe, manifest=manifest, start=start, files=files, emit=seen.append, wish=lambda: None, pressed_t=began)
    accuracy = outcome.metrics["accuracy"]
    assert accuracy is not None
    return accuracy, time.time() - began, seen


def plain_costs(manifest: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds of one epoch of the plain fine-tune, and of everything around its epochs; a schedule must know its length beforehand."""
    _, seconds, seen = trained(manifest, **{**PLAIN, "epochs": 2})
    epochs = [event.seconds for event in seen if event.kind == "epoch"]
    return min(epochs), seconds - sum(epochs)


def logistic_regression(manifest: dict[str, Any]) -> dict[str, float]:
    """Return scikit-learn's test accuracy on frozen features."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from engine.data import cache
    from engine.models import build, catalogue
    from engine.recipe import recipe_from
    from engine.training.features import Extractor

    network, spec, _ = build.from_start(catalogue.resolve(MODEL), recipe_from({"start": MODEL}), manifest["classes"])
    with cache.filling(manifest, asdict(spec)) as data:
        extractor = Extractor(network.backbone, spec, data, manifest, torch.device("cpu"), lambda _: None, lambda: False)
        features = {split: extractor(data.rows[split], "fp32", "channels_last") for split in ("train", "test")}
        labels = {split: data.labels_N[data.rows[split]] for split in ("train", "test")}
    train, test = (features[split].numpy() for split in ("train", "test"))  # type: ignore[union-attr]
    models = {"raw": LogisticRegression(max_iter=5000), "standardised": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))}
    return {name: float(model.fit(train, labels["train"]).score(test, labels["test"])) for name, model in models.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="64 pictures, one epoch, one seed: does it run?")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    photographs.like_a_worker("benchmarks.accuracy")
    rows = []
    with photographs.workspace_of_its_own():
        _, manifest = photographs.project(64 if given.quick else None)
        regression = logistic_regression(manifest)
        epoch_s, around_s = plain_costs(manifest)
        for seed in [0] if given.quick else given.seeds:
            shorter = {"epochs": 1} if given.quick else {}
            ours, seconds, _ = trained(manifest, seed=seed, **shorter)
            plain, plain_s, _ = trained(manifest, seed=seed, **{**PLAIN, "epochs": max(1, math.ceil((seconds - around_s) / epoch_s))})
            rows.append({"seed": seed, "graft": ours, "seconds": round(seconds, 1), "plain": plain, "plain_seconds": round(plain_s, 1)})
            if not given.json:
                print(f"seed {seed}: Graft {ours:.3f} in {seconds:.0f} s, plain fine-tune {plain:.3f} in {plain_s:.0f} s", flush=True)
    averages = {key: round(mean(row[key] for row in rows), 4) for key in ("graft", "plain")}
    met = averages["graft"] >= max(regression.values()) and averages["graft"] >= averages["plain"]
    if given.json:
        print(json.dumps({"rows": rows, "logistic_regression": regression, "mean": averages, "met": met}))
    else:
        print(f"mean: Graft {averages['graft']:.3f}, plain fine-tune {averages['plain']:.3f}; logistic regression {regression}")
    return 0 if met or given.quick else 1


if __name__ == "__main__":
    sys.exit(main())
