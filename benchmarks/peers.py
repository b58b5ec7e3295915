"""Training speed and memory against the peers: ultralytics classify, fastai and a torchvision reference loop.

    python -m benchmarks.peers [--quick] [--json] [--models resnet18 ...] [--pictures 160 --epochs 3 --rounds 1]

Peers get an environment of their own, .bench-env, made here with pip, which shares Graft's torch, torchvision and timm, so that all compute with the
same kernels. Every one trains the same architecture from random weights on the same photographs, 224 px, batch 32, with its own defaults for the rest
(two loader workers, no mixed precision on the CPU). One process each, in turn, for several rounds; the figure is the median epoch after the first,
validation left out. Memory is the peak of the process and its children together. Bars: 2x the best peer; 0.8x the torchvision loop's memory on ResNet-18.
"""

from __future__ import annotations

import argparse
import json
import os
import site
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import photographs
from benchmarks.quietness import Others

PEERS = ("graft", "torchvision", "fastai", "ultralytics")
MODELS = {"resnet18": "resnet18", "mobilenetv3_small_100": "mobilenet_v3_small", "efficientnet_lite0": "tf_efficientnet_lite0"}
"""Graft's name -> torchvision's, or timm's where torchvision has none."""
_REPOSITORY = Path(__file__).resolve().parent.parent
_ENVIRONMENT = _REPOSITORY / ".bench-env"
_BATCH, _SIZE, _WORKERS = 32, 224, 2
_ULTRALYTICS = "yolo11n-cls.yaml"


def environment() -> Path:
    """Make the peers' environment where it is missing; return its python."""
    python = _ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (_ENVIRONMENT / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], check=True)
        theirs = subprocess.run([python, "-c", "import site; print(site.getsitepackages()[-1])"], capture_output=True, text=True, check=True).stdout.strip()
        (Path(theirs) / "graft.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[-1]!r})\n")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "ultralytics", "fastai", "opencv-python-headless"], check=True)
        (_ENVIRONMENT / "ready").touch()
    return python


def network(name: str, classes: int) -> Any:
    """Build the architecture with random weights, as torchvision or timm has it."""
    import timm
    import torchvision

    if name.startswith("tf_"):
        return timm.create_model(name, num_classes=classes)
    return torchvision.models.get_model(name, num_classes=classes)


def by_torchvision(data: Path, name: str, epochs: int) -> list[float]:
    """Train as torchvision's reference scripts do; return each epoch's pictures a second."""
    import torch
    from torchvision import datasets, transforms

    steps = [transforms.RandomResizedCrop(_SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    pictures = datasets.ImageFolder(data / "train", transforms.Compose([*steps, transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]))
    loader = torch.utils.data.DataLoader(pictures, _BATCH, shuffle=True, num_workers=_WORKERS, drop_last=True)
    model = network(name, len(pictures.classes)).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    speeds = []
    for _ in range(epochs):
        began, seen = time.perf_counter(), 0
        for images, targets in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), targets).backward()
            optimizer.step()
            seen += len(images)
        speeds.append(seen / (time.perf_counter() - began))
    return speeds


def by_fastai(data: Path, name: str, epochs: int) -> list[float]:
    """Train with fastai's Learner."""
    from fastai.vision.all import Callback, CrossEntropyLossFlat, ImageDataLoaders, Learner, Normalize, RandomResizedCrop, aug_transforms, imagenet_stats

    speeds: list[float] = []

    class Clock(Callback):
        def before_train(self) -> None:
            self.began, self.count = time.perf_counter(), 0

        def after_batch(self) -> None:
            self.count += self.training * len(self.yb[0])

        def after_train(self) -> None:
            speeds.append(self.count / (time.perf_counter() - self.began))

    batch_tfms = [*aug_transforms(), Normalize.from_stats(*imagenet_stats)]
    loaders = ImageDataLoaders.from_folder(
        data, train="train", valid="val", item_tfms=RandomResizedCrop(_SIZE), batch_tfms=batch_tfms, bs=_BATCH, num_workers=_WORKERS
    )
    learner = Learner(loaders, network(name, loaders.c), loss_func=CrossEntropyLossFlat(), cbs=[Clock()])
    with learner.no_bar(), learner.no_logging():
        learner.fit(epochs, 1e-3)
    return speeds


def by_ultralytics(data: Path, name: str, epochs: int) -> list[float]:
    """Train with ultralytics' classification trainer, its own network replaced by the one that is compared."""
    import torch
    from ultralytics.models.yolo.classify import ClassificationTrainer
    from ultralytics.nn.tasks import ClassificationModel

    speeds: list[float] = []
    state = {"began": 0.0}
    options: dict[str, Any] = {
        "model": _ULTRALYTICS, "data": str(data), "epochs": epochs, "batch": _BATCH, "imgsz": _SIZE, "device": "cpu", "workers": _WORKERS,
        "pretrained": False, "amp": False, "val": False, "plots": False, "save": False, "verbose": False, "project": str(data / "out"),
    }  # fmt: skip

    class Trainer(ClassificationTrainer):
        def setup_model(self) -> None:
            whole, inner = ClassificationModel(_ULTRALYTICS, nc=self.data["nc"], verbose=False), network(name, self.data["nc"])
            inner.f, inner.i, inner.type = -1, 0, name
            whole.model, whole.save = torch.nn.Sequential(inner), []
            self.model = whole

    trainer = Trainer(overrides=options)
    pictures = sum(1 for path in (data / "train").rglob("*") if path.is_file())
    trainer.add_callback("on_train_epoch_start", lambda _: state.update(began=time.perf_counter()))
    trainer.add_callback("on_train_epoch_end", lambda _: speeds.append(pictures / (time.perf_counter() - state["began"])))
    trainer.train()
    return speeds


def by_graft(data: Path, name: str, epochs: int) -> list[float]:
    """Train with Graft's loop, fine-tuning everything from the first step, as a run does."""
    from engine import runs
    from engine.models import catalogue
    from engine.recipe import recipe_from
    from engine.training import session

    manifest = json.loads((data / "manifest.json").read_bytes())
    recipe = recipe_from({"start": name, "phases": "all", "epochs": epochs, "batch_size": _BATCH, "image_size": _SIZE, "freeze_depth": 0.0})
    speeds: list[float] = []
    state = {"began": 0.0, "steps": 0, "stepped": 0.0}
    assert os.environ.get("GOMP_SPINCOUNT") == runs.worker_environment()["GOMP_SPINCOUNT"], "run as a worker would be"

    def emit(event: Any) -> None:
        now = time.perf_counter()
        if event.kind == "phase" and event.name == "finetune":
            state["began"] = now
        if event.kind == "step":
            state.update(stepped=now, steps=state["steps"] + 1)
        if event.kind == "epoch":
            speeds.append(state["steps"] * _BATCH / (state["stepped"] - state["began"]))
            state.update(began=now, steps=0)

    with tempfile.TemporaryDirectory() as folder:  # one that held an earlier run would be gone on with
        files, start = session.Files(Path(folder)), catalogue.resolve(name)
        session.train(recipe=recipe, manifest=manifest, start=start, files=files, emit=emit, wish=lambda: None, pressed_t=time.time())
    return speeds


_BY = {"graft": by_graft, "torchvision": by_torchvision, "fastai": by_fastai, "ultralytics": by_ultralytics}


class Peak(threading.Thread):
    """Watches the memory of a process and its children; shared pages count once (PSS where the system tells it)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.mb = pid, 0.0
        self.start()

    def run(self) -> None:
        """Look ten times a second, until it is gone."""
        import psutil

        while True:
            try:
                top = psutil.Process(self._pid)
                family = [top, *top.children(recursive=True)]
                now = sum(getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss for process in family)
            except psutil.Error:
                if not psutil.pid_exists(self._pid):
                    return
                continue
            self.mb = max(self.mb, now / 2**20)
            time.sleep(0.1)


def child(peer: str, model: str, data: Path, epochs: int) -> dict[str, Any]:
    """Run one peer in a process of its own."""
    from engine import runs

    python = sys.executable if peer == "graft" else str(environment())
    name = model if peer == "graft" else MODELS[model]
    command = [python, "-m", "benchmarks.peers", "--child", peer, name, str(data), str(epochs)]
    environ = runs.worker_environment() if peer == "graft" else {**os.environ, "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(data / "config")}
    others = Others()
    process = subprocess.Popen(command, cwd=_REPOSITORY, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = Peak(process.pid)
    out, errors = process.communicate()
    if process.returncode:
        return {"peer": peer, "model": model, "error": errors.strip().splitlines()[-1][:200] if errors.strip() else "failed"}
    speeds = json.loads(out.strip().splitlines()[-1])
    speed = round(median(speeds[1:] or speeds), 1)
    return {"peer": peer, "model": model, "images_per_s": speed, "first": round(speeds[0], 1), "peak_mb": round(peak.mb), "others": round(others.took(), 2)}


def laid_out(folder: Path, most: int | None) -> Path:
    """Unpack the photographs as peers want them, train/ and val/, and as Graft does, with its manifest; at most so many of each split."""
    raw, data = folder / "raw", folder / "data"
    zipfile.ZipFile(photographs.archive()).extractall(raw)
    for theirs, ours in (("train", "train"), ("validation", "val")):
        for path in sorted(raw.rglob(f"{theirs}/*/*")):
            target = data / ours / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    _, manifest = photographs.project(most)
    if most is not None:
        for split in ("train", "val"):
            paths = sorted((data / split).rglob("*.jpg"))
            for path in set(paths) - set(photographs.evenly(paths, most)):
                path.unlink()
    (data / "manifest.json").write_text(json.dumps(manifest))
    return data


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        peer, name, data, epochs = sys.argv[2:]
        print(json.dumps(_BY[peer](Path(data), name, int(epochs))))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pictures", type=int, help="at most so many of each split; by default all")
    parser.add_argument("--quick", action="store_true", help="120 pictures, two epochs, one round: does it run?")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with photographs.workspace_of_its_own(), tempfile.TemporaryDirectory() as folder:
        data = laid_out(Path(folder), 120 if given.quick else given.pictures)
        for _ in range(1 if given.quick else given.rounds):
            for model in given.models:
                for peer in given.peers:
                    rows.append(child(peer, model, data, 2 if given.quick else given.epochs))
                    print(rows[-1], file=sys.stderr, flush=True)
    found, met = summary(rows)
    if given.json:
        print(json.dumps({"rows": rows, "summary": found, "met": met}))
    else:
        for model, row in found.items():
            print(f"{model:24} {row}")
    return 0 if met or given.quick else 1


def summary(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return for each model the median of each peer, and Graft over the best of them; and whether the bars are met."""
    found: dict[str, Any] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model and "error" not in row]
        speeds = {peer: median(row["images_per_s"] for row in mine if row["peer"] == peer) for peer in dict.fromkeys(row["peer"] for row in mine)}
        memory = {peer: median(row["peak_mb"] for row in mine if row["peer"] == peer) for peer in speeds}
        best = max((speed for peer, speed in speeds.items() if peer != "graft"), default=0.0)
        found[model] = {"images_per_s": speeds, "peak_mb": memory}
        if best and "graft" in speeds:
            found[model]["over_best_peer"] = round(speeds["graft"] / best, 2)
        if {"graft", "torchvision"} <= set(memory):
            found[model]["memory_over_torchvision"] = round(memory["graft"] / memory["torchvision"], 2)
    lean = found.get("resnet18", {}).get("memory_over_torchvision", 0.0) <= 0.8
    return found, lean and all(row.get("over_best_peer", 0.0) >= 2 for row in found.values())


if __name__ == "__main__":
    sys.exit(main())
