"""Detection on little data: a pretrained backbone against random weights, and against peers, at equal wall time on the CPU.

    python -m benchmarks.detect [--minutes 15] [--quick] [--json] [--only graft scratch ultralytics torchvision] [--starts fcos/efficientnet_lite0 ...]

Every contender learns from BCCD's training pictures (its validation pictures choose what is kept, where a contender chooses) for so many minutes, from
pressing Train to the last weight, and then answers on the official test pictures. All answers are judged by the same code, COCO's definition.

graft        starting points with the default preset, as many epochs as the estimate says fit; stopped when the time is over
scratch      the same starting points, as if their weights were not there
ultralytics  YOLO nano from its configuration, its own trainer and defaults, 320 px
torchvision  Faster R-CNN MobileNetV3-Large 320 FPN, random, by the recipe of its references/detection: SGD, warm-up, steps, mirroring

Bars: pretrained beats scratch by 0.1 mAP, and beats both peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import blood_cells, peers, photographs

CONTENDERS = ("graft", "scratch", "ultralytics", "torchvision")
STARTS = ("fcos/efficientnet_lite0", "ssd/efficientnet_lite0", "retinanet/efficientnet_lite0", "faster_rcnn/efficientnet_lite0")
_SIZE, _BATCH = 320, 8
_AHEAD = 0.1
_ULTRALYTICS = "yolo11n.yaml"


def by_graft(folder: Path, manifest: dict[str, Any], start: str, minutes: float, *, scratch: bool) -> dict[str, Any]:
    """Train a starting point in the time there is; return its figures."""
    from engine.models import catalogue, weights
    from engine.recipe import recipe_from
    from engine.training import session

    if scratch:
        weights.find = lambda name: None  # as if no package carried them
    began, values = time.time(), {"task": manifest["task"], "start": start}
    found = catalogue.resolve(start, manifest["task"])
    told = session.estimate(recipe=recipe_from({**values, "epochs": 10}), manifest=manifest, start=found, emit=_unheard, wish=_nothing)
    fixed = told["seconds"] - told["phases"]["finetune"]
    epochs = max(2, int((60 * minutes - fixed - (time.time() - began)) / (told["phases"]["finetune"] / 10) * 0.9))
    files = session.Files(folder / f"{start.replace('/', '-')}-{'scratch' if scratch else 'pretrained'}")
    files.folder.mkdir()
    outcome = session.train(
        recipe=recipe_from({**values, "epochs": epochs}),
        manifest=manifest,
        start=found,
        files=files,
        emit=_unheard,
        wish=lambda: "stop" if time.time() - began > 60 * minutes else None,
        pressed_t=began,
    )
    return {**{key: value for key, value in outcome.metrics.items() if not key.startswith("val_")}, "epochs": epochs, "ended": outcome.kind}


def _unheard(*_: Any) -> None:
    pass


def _nothing() -> None:
    return None


def judged(manifest: dict[str, Any], found: list[np.ndarray]) -> dict[str, Any]:
    """Return COCO's figures of detections [D, 6] (x1 y1 x2 y2, score, class) on the test pictures."""
    from engine.evaluation import boxes, detection

    entries = [item for item in manifest["items"] if item["split"] == "test"]
    flat = np.concatenate(found) if found else np.zeros((0, 6))
    pictures = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
    things = boxes.Things(len(entries), pictures, flat[:, :4], flat[:, 5].astype(np.int64), flat[:, 4], np.zeros(len(flat), bool))
    figures = detection.coco(things, boxes.from_marks(entries), manifest["classes"])
    return {"map": figures["map"], "map_50": figures["map_50"]}


def by_ultralytics(folder: Path, manifest: dict[str, Any], minutes: float) -> dict[str, Any]:
    """Train YOLO nano from its configuration with its own trainer; it ends itself when the time is over."""
    from ultralytics import YOLO

    for item in manifest["items"]:
        for kind in ("images", "labels"):
            (folder / kind / item["split"]).mkdir(parents=True, exist_ok=True)
        (folder / "images" / item["split"] / item["name"]).symlink_to(item["path"])
        rows = []
        for mark in item["marks"]:
            x1, y1, x2, y2 = (edge / side for edge, side in zip(mark["box"], (item["width"], item["height"]) * 2, strict=True))
            rows.append(f"{mark['class']} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}")
        (folder / "labels" / item["split"] / f"{Path(item['name']).stem}.txt").write_text("\n".join(rows))
    names = "".join(f"  {place}: {name}\n" for place, name in enumerate(manifest["classes"]))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\ntest: images/test\nnames:\n{names}")
    model = YOLO(_ULTRALYTICS)
    model.train(
        data=str(folder / "data.yaml"), time=minutes / 60, imgsz=_SIZE, device="cpu", workers=2, pretrained=False, plots=False, verbose=False,
        project=str(folder / "out"), name="run",
    )  # fmt: skip
    best = YOLO(folder / "out" / "run" / "weights" / "best.pt")
    found = []
    for item in manifest["items"]:
        if item["split"] == "test":
            rows = best.predict(item["path"], imgsz=_SIZE, conf=0.001, max_det=100, verbose=False, device="cpu")[0].boxes
            found.append(np.concatenate([rows.xyxy.numpy(), rows.conf.numpy()[:, None], rows.cls.numpy()[:, None]], 1))
    return {**judged(manifest, found), "epochs": "by time", "ended": "finished"}


def by_torchvision(manifest: dict[str, Any], minutes: float) -> dict[str, Any]:
    """Train by the recipe of torchvision's references, its schedule laid over the time there is."""
    import torch
    from torchvision.io import read_image
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    began, generator = time.perf_counter(), torch.Generator().manual_seed(0)
    train, test = ([item for item in manifest["items"] if item["split"] == split] for split in ("train", "test"))
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=len(manifest["classes"]) + 1).train()
    full = 0.02 / 16 * _BATCH
    optimizer = torch.optim.SGD(model.parameters(), full, momentum=0.9, weight_decay=1e-4)
    step = epoch = 0
    while time.perf_counter() - began < 60 * minutes:
        order = torch.randperm(len(train), generator=generator).tolist()
        for first in range(0, len(order) - _BATCH + 1, _BATCH):
            done = (time.perf_counter() - began) / (60 * minutes)
            if done >= 1:
                break
            optimizer.param_groups[0]["lr"] = (
                full * min(1.0, 0.001 + step / min(1000, len(train) // _BATCH)) * (0.01 if done > 22 / 26 else 0.1 if done > 16 / 26 else 1)
            )
            images, targets = zip(*(_pair(train[place], read_image, generator) for place in order[first : first + _BATCH]), strict=True)
            losses = sum(model(list(images), list(targets)).values())
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()
            step += 1
        epoch += 1
    model.eval()
    found = []
    with torch.no_grad():
        for item in test:
            rows = model([read_image(item["path"]).float() / 255])[0]
            found.append(torch.cat([rows["boxes"], rows["scores"][:, None], rows["labels"][:, None] - 1.0], 1).numpy())
    return {**judged(manifest, found), "epochs": epoch, "ended": "finished"}


def _pair(item: dict[str, Any], read_image: Any, generator: Any) -> tuple[Any, dict[str, Any]]:
    import torch

    image = read_image(item["path"]).float() / 255
    boxes = torch.tensor([mark["box"] for mark in item["marks"]]).reshape(-1, 4)
    if float(torch.rand(1, generator=generator)) < 0.5:
        image = image.flip(-1)
        boxes = boxes[:, [2, 1, 0, 3]] * torch.tensor((-1, 1, -1, 1)) + torch.tensor((item["width"], 0, item["width"], 0))
    return image, {"boxes": boxes, "labels": torch.tensor([mark["class"] + 1 for mark in item["marks"]], dtype=torch.int64)}


def alone(contender: str, start: str, minutes: float, most: int | None) -> dict[str, Any]:
    """Run one contender in this process."""
    with photographs.workspace_of_its_own() as folder:
        manifest = blood_cells.manifest(folder / "pictures", most)
        began = time.time()
        if contender == "ultralytics":
            found = by_ultralytics(folder, manifest, minutes)
        elif contender == "torchvision":
            found = by_torchvision(manifest, minutes)
        else:
            found = by_graft(folder, manifest, start, minutes, scratch=contender == "scratch")
        return {"contender": contender, "start": start, **found, "seconds": round(time.time() - began, 1)}


def apart(module: str, contender: str, start: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run one contender in a process of its own: ultralytics in its environment, Graft's as a worker would be."""
    from engine import runs

    python = peers.environment() if contender == "ultralytics" else sys.executable
    command = [str(python), "-m", module, "--alone", contender, "--starts", start, "--minutes", str(given.minutes)]
    environment = runs.worker_environment() if contender in ("graft", "scratch") else dict(os.environ)
    done = subprocess.run([*command, *(["--quick"] if given.quick else [])], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{contender} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def met(rows: list[dict[str, Any]], figure: str) -> bool:
    """Tell whether the best pretrained start beats its own random self clearly, and every peer."""
    best = max((row for row in rows if row["contender"] == "graft"), key=lambda row: row[figure] or 0, default=None)
    if best is None:
        return False
    own = [row[figure] or 0 for row in rows if row["contender"] == "scratch" and row["start"] == best["start"]]
    others = [row[figure] or 0 for row in rows if row["contender"] in ("ultralytics", "torchvision")]
    return all(best[figure] >= value + _AHEAD for value in own) and all(best[figure] > value for value in others)


def options(parser: argparse.ArgumentParser, starts: tuple[str, ...]) -> None:
    """Declare what both benchmarks take."""
    parser.add_argument("--minutes", type=float, default=15.0, help="for each contender")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--starts", nargs="+", default=[starts[0]], help=f"also tried: {', '.join(starts[1:])}")
    parser.add_argument("--quick", action="store_true", help="few pictures, half a minute each: does it run?")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)


def contest(module: str, given: argparse.Namespace, figures: dict[str, str]) -> int:
    """Run all contenders one after the other and print their figures (key -> title); return the exit code."""
    rows = []
    pairs = [(name, start) for name in given.only for start in (given.starts if name in ("graft", "scratch") else ("-",))]
    for who, start in pairs:
        row = apart(module, who, start, given)
        rows.append(row)
        if not given.json:
            shown = "  ".join(f"{title} {row[key] or 0:.3f}" for key, title in figures.items())
            print(f"{who:12} {start:32} {shown}  {row['epochs']} epochs  {row['seconds']:.0f} s", flush=True)
    won = met(rows, next(iter(figures)))
    if given.json:
        print(json.dumps({"minutes": given.minutes, "rows": rows, "met": won}))
    return 0 if won or given.quick else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, STARTS)
    given = parser.parse_args()
    given.minutes = 0.5 if given.quick else given.minutes
    if given.alone:
        print(json.dumps(alone(given.alone, given.starts[0], given.minutes, 24 if given.quick else None)))
        return 0
    return contest("benchmarks.detect", given, {"map": "mAP", "map_50": "AP50"})


if __name__ == "__main__":
    sys.exit(main())
