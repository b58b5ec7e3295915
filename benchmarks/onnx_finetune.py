"""Does a file whose BatchNorm was merged away fine-tune as well as the network it came from? On real photographs.

    python -m benchmarks.onnx_finetune [--seeds 0 1] [--pictures 300] [--starts native restored merged] [--json FILE] [--quick]

EfficientNet-Lite0 with its packaged ImageNet weights, trained with Graft's defaults from three starting points: through the first door
(native); from the ONNX file its exporter makes, BatchNorm merged into the convolutions, imported as Graft imports it (restored: taken
apart again); and the same file with that step left out (merged). Test accuracy on the photographs' own test split.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import warnings
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import photographs
from benchmarks.accuracy import MODEL, trained

STARTS = ("native", "restored", "merged")


def exported(folder: Path, *, restorable: bool) -> Path:
    """Export the packaged classifier; without `restorable`, its tensors are named as if BatchNorm had never been there."""
    import onnx
    import torch

    from benchmarks.parity import network

    made, row = network(MODEL)
    path = folder / ("restored" if restorable else "merged") / "model.onnx"
    path.parent.mkdir()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(made, (torch.zeros(1, 3, row.image_size, row.image_size),), path, dynamo=False, opset_version=17)
    model = onnx.load(path)
    metadata = {"mean": json.dumps(list(row.mean)), "std": json.dumps(list(row.std))}
    onnx.helper.set_model_props(model, metadata)
    if not restorable:
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        names = {node.input[slot]: f"conv{number}.{'weight' if slot == 1 else 'bias'}" for number, node in enumerate(convolutions) for slot in (1, 2)}
        for item in model.graph.initializer:
            item.name = names.get(item.name, item.name)
        for node in model.graph.node:
            for slot, name in enumerate(node.input):
                node.input[slot] = names.get(name, name)
    onnx.save(model, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--pictures", type=int, default=300, help="so many of each split at most; with all of them a training takes several times as long")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--json", type=Path, help="append each result here, and count those that are in it already")
    parser.add_argument("--quick", action="store_true", help="64 pictures, one epoch: does it run?")
    given = parser.parse_args()
    photographs.like_a_worker("benchmarks.onnx_finetune")
    rows: list[dict[str, Any]] = [json.loads(line) for line in given.json.read_text().splitlines()] if given.json and given.json.exists() else []
    with photographs.workspace_of_its_own() as folder:
        _, manifest = photographs.project(64 if given.quick else given.pictures)
        files = {"restored": exported(folder, restorable=True), "merged": exported(folder, restorable=False)}
        for seed in given.seeds:
            for start in given.starts:
                if any((row["start"], row["seed"]) == (start, seed) for row in rows):
                    continue
                settings = {"epochs": 1} if given.quick else {}
                accuracy, seconds, _ = trained(manifest, seed=seed, start=str(files.get(start, MODEL)), **settings)
                rows.append({"start": start, "seed": seed, "accuracy": accuracy, "seconds": round(seconds, 1)})
                print(f"seed {seed}  {start:9} {accuracy:.4f}  {seconds:.0f} s", flush=True)
                if given.json:
                    with given.json.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    for start in STARTS:
        found = [row["accuracy"] for row in rows if row["start"] == start]
        if found:
            print(f"{start:9} mean {mean(found):.4f}" + (f", spread {stdev(found):.4f}" if len(found) > 1 else "") + f" over {len(found)} seeds")


if __name__ == "__main__":
    main()
