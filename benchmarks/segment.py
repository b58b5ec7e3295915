"""Segmentation on little data: a pretrained backbone against random weights, and against peers, at equal wall time on the CPU.

    python -m benchmarks.segment [--minutes 15] [--quick] [--json] [--only graft scratch ultralytics torchvision] [--starts unet/efficientnet_lite0 ...]

The pictures are photographs composed with known cut-outs (`benchmarks.scenes`): 120 to learn from, 40 to choose on, 60 to test. Every contender learns
for so many minutes, from pressing Train to the last weight, and then colours the test pictures. All are judged by the same code, in the pictures' pixels.

graft        starting points with the default preset, as many epochs as the estimate says fit; stopped when the time is over
scratch      the same starting points, as if their weights were not there
ultralytics  YOLO nano for segmentation from its configuration, its own trainer and defaults, 320 px; its masks from a confidence of 0.25, the surest on top
torchvision  LR-ASPP MobileNetV3-Large, random, by the recipe of its references/segmentation: SGD, falling rate, resizing, mirroring, cropping

Bars: pretrained beats scratch by 0.1 mIoU, and beats both peers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import detect, photographs, scenes

TASK = "semantic-segmentation"
STARTS = ("unet/efficientnet_lite0", "fpn/efficientnet_lite0", "lraspp/efficientnet_lite0", "deeplabv3/efficientnet_lite0")
_SIZE, _BATCH = 256, 8


def judged(manifest: dict[str, Any], maps: list[np.ndarray]) -> dict[str, Any]:
    """Return the figures of class maps [height, width] (0 background) on the test pictures."""
    from engine.evaluation import segmentation
    from engine.evaluation.drawn import true_map

    names = [segmentation.BACKGROUND, *manifest["classes"]]
    entries = [item for item in manifest["items"] if item["split"] == "test"]
    table = sum(segmentation.counts(said, true_map(entry), len(names)) for said, entry in zip(maps, entries, strict=True))
    figures = segmentation.figures(np.asarray(table), names)
    return {"miou": figures["miou"], "dice": figures["dice"]}


def by_ultralytics(folder: Path, manifest: dict[str, Any], minutes: float) -> dict[str, Any]:
    """Train YOLO nano for segmentation from its configuration; it ends itself when the time is over."""
    import cv2
    from ultralytics import YOLO

    from engine.data import shapes

    for item in manifest["items"]:
        for kind in ("images", "labels"):
            (folder / kind / item["split"]).mkdir(parents=True, exist_ok=True)
        (folder / "images" / item["split"] / item["name"]).symlink_to(item["path"])
        rows = []
        for mark in item["marks"]:
            rings, _ = cv2.findContours(shapes.mask_of(mark).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            ring = max(rings, key=cv2.contourArea)[:, 0] / (item["width"], item["height"])
            if len(ring) >= 3:
                rows.append(f"{mark['class']} {' '.join(f'{value:.6f}' for value in ring.ravel())}")
        (folder / "labels" / item["split"] / f"{Path(item['name']).stem}.txt").write_text("\n".join(rows))
    names = "".join(f"  {place}: {name}\n" for place, name in enumerate(manifest["classes"]))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\ntest: images/test\nnames:\n{names}")
    YOLO("yolo11n-seg.yaml").train(
        data=str(folder / "data.yaml"), time=minutes / 60, imgsz=320, device="cpu", workers=2, pretrained=False, plots=False, verbose=False,
        project=str(folder / "out"), name="run",
    )  # fmt: skip
    best, maps = YOLO(folder / "out" / "run" / "weights" / "best.pt"), []
    for item in manifest["items"]:
        if item["split"] == "test":
            found = best.predict(item["path"], imgsz=320, conf=0.25, retina_masks=True, verbose=False, device="cpu")[0]
            said = np.zeros((item["height"], item["width"]), np.int64)
            for place in reversed(range(len(found.boxes))):
                said[found.masks.data[place].numpy() > 0.5] = int(found.boxes.cls[place]) + 1
            maps.append(said)
    return {**judged(manifest, maps), "epochs": "by time", "ended": "finished"}


def by_torchvision(manifest: dict[str, Any], minutes: float) -> dict[str, Any]:
    """Train by the recipe of torchvision's references, its schedule laid over the time there is."""
    import torch
    from torchvision import tv_tensors
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large
    from torchvision.transforms import v2

    from engine.evaluation.drawn import true_map

    began = time.perf_counter()
    torch.manual_seed(0)
    train, test = ([item for item in manifest["items"] if item["split"] == split] for split in ("train", "test"))
    normal = v2.Compose([v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    vary = v2.Compose([
        v2.RandomResize(_SIZE // 2, 2 * _SIZE), v2.RandomHorizontalFlip(), v2.RandomCrop(_SIZE, pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}),
        normal,
    ])  # fmt: skip
    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=len(manifest["classes"]) + 1).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    pictures = [(tv_tensors.Image(Image.open(item["path"]).convert("RGB")), tv_tensors.Mask(torch.from_numpy(true_map(item)))) for item in train]
    epoch = 0
    while (done := (time.perf_counter() - began) / (60 * minutes)) < 1:
        order = torch.randperm(len(pictures)).tolist()
        for first in range(0, len(order) - _BATCH + 1, _BATCH):
            optimizer.param_groups[0]["lr"] = 0.01 * max(0.0, 1 - done) ** 0.9
            images, masks = zip(*(vary(*pictures[place]) for place in order[first : first + _BATCH]), strict=True)
            loss = torch.nn.functional.cross_entropy(model(torch.stack(images))["out"], torch.stack(masks).long(), ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done = (time.perf_counter() - began) / (60 * minutes)
            if done >= 1:
                break
        epoch += 1
    model.eval()
    with torch.no_grad():
        maps = [model(normal(tv_tensors.Image(Image.open(item["path"]).convert("RGB")))[None])["out"][0].argmax(0).numpy() for item in test]
    return {**judged(manifest, maps), "epochs": epoch, "ended": "finished"}


def alone(contender: str, start: str, minutes: float, counts: tuple[int, int, int]) -> dict[str, Any]:
    """Run one contender in this process."""
    with photographs.workspace_of_its_own() as folder:
        manifest = scenes.manifest(folder / "pictures", TASK, counts)
        began = time.time()
        if contender == "ultralytics":
            found = by_ultralytics(folder, manifest, minutes)
        elif contender == "torchvision":
            found = by_torchvision(manifest, minutes)
        else:
            found = detect.by_graft(folder, manifest, start, minutes, scratch=contender == "scratch")
        return {"contender": contender, "start": start, **found, "seconds": round(time.time() - began, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    detect.options(parser, STARTS)
    given = parser.parse_args()
    given.minutes = 0.5 if given.quick else given.minutes
    if given.alone:
        print(json.dumps(alone(given.alone, given.starts[0], given.minutes, (24, 8, 8) if given.quick else (120, 40, 60))))
        return 0
    return detect.contest("benchmarks.segment", given, {"miou": "mIoU", "dice": "Dice"})


if __name__ == "__main__":
    sys.exit(main())
