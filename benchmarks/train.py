"""What the training loop costs: its pictures a second over those of the bare step.

    python -m benchmarks.train [--quick] [--json] [MODEL ...]

The bare step is forward, backward, clipping and optimiser on tensors that lie in memory, same network, batch, precision, layout, threads and
allocator. Loop epochs and bare blocks alternate in one process; each epoch is divided by the mean of the blocks before and after it, and figures are
medians over the epochs in which other processes took less than 0.08 of a core (`benchmarks.quietness`). The first epoch includes decoding the JPEG files.
Before the clock begins both take two steps that do not count, since the first one of each shape prepares its kernels.
Both count the training part of an epoch; looking at validation pictures is reported apart. Bars: 0.95 after the first epoch, 0.80 in it.

Models written ARCHITECTURE/BACKBONE (fcos/efficientnet_lite0) learn detection on the blood cells: their bar is 0.90, and matching and metrics may take
0.10 of the time that answering on the validation pictures takes.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks import blood_cells, photographs
from benchmarks.quietness import Others, undisturbed_median
from engine.models.dense.table import ARCHITECTURES

MODELS = ("resnet18", "mobilenetv3_small_100", "efficientnet_lite0")
BARS = {"first": 0.80, "later": 0.95}
DENSE_BARS = {"later": 0.90}
EVALUATION_BAR = 0.10
BLOCK = 8
EPOCHS = {"resnet18": 5, "mobilenetv3_small_100": 12, "efficientnet_lite0": 3}


@dataclass
class Clock:
    """Hears the loop's events, times its epochs' training parts, and runs the bare step in between."""

    bare: Any
    images_per_s: list[float] = field(default_factory=list)
    bare_images_per_s: list[float] = field(default_factory=list)
    validation_s: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    watch: Others = field(default_factory=Others)
    began: float = 0.0
    stepped: float = 0.0
    steps: int = 0

    def __call__(self, event: Any) -> None:
        """Hear one event."""
        now = time.perf_counter()
        if event.kind == "step":
            self.stepped, self.steps = now, self.steps + 1
        if event.kind == "epoch":
            self.images_per_s.append(self.steps * self.bare.batch_size / (self.stepped - self.began))
            self.validation_s.append(now - self.stepped)
            self.begin()

    def begin(self) -> None:
        """Time the bare step, then the next epoch."""
        self.bare_images_per_s.append(self.bare.speed(self.steps or BLOCK))
        if self.steps:
            self.others.append(self.watch.took())
        else:
            self.watch.took()
        self.steps, self.began = 0, time.perf_counter()

    def ratios(self) -> list[float]:
        """Return each epoch's speed over that of the bare blocks on both sides of it."""
        pairs = zip(self.bare_images_per_s, self.bare_images_per_s[1:], strict=False)
        return [ours / ((before + after) / 2) for ours, (before, after) in zip(self.images_per_s, pairs, strict=True)]


class Bare:
    """The bare step on a copy of the network."""

    def __init__(self, loop: Any, batch_size: int) -> None:
        import torch

        from engine.training import optim

        self.batch_size, self._loop, self._optim = batch_size, loop, optim
        self._network = copy.deepcopy(loop.network)
        self._optimizer = optim.make(self._network, loop.recipe)
        optim.set_learning_rate(self._optimizer, 1e-3)
        classes = len(loop.spec.classes)
        from engine.training.features import LAYOUTS

        self._images = torch.randn(batch_size, 3, *loop.spec.input_hw).contiguous(memory_format=LAYOUTS[loop.plan.layout])
        self._targets = torch.randint(0, classes, (batch_size,))
        if loop.task.family == "dense":
            self._targets = loop.task.batch(loop.targets, loop.data.rows["train"][:batch_size], torch.device("cpu"))

    def warm_up(self, loop: Any) -> None:
        """Take two steps, and let the loop take two on the same tensors: forward and backward only, so that its weights stay."""
        from engine.training import tune
        from engine.training.feed import Batch
        from engine.training.fit import Position

        self.speed(2)
        self._optim.training_mode(loop.network, keep_statistics=loop.keep_statistics)
        loop.replicas.follow()
        with tune.fewer_threads(loop.crew.threads_each):
            for _ in range(2):
                loop._backward(Batch(self._images, self._targets, None), Position())
        loop.optimizer.zero_grad(set_to_none=True)

    def speed(self, steps: int) -> float:
        """Return pictures a second over some steps, with all threads inside every operation."""
        import torch
        from torch import nn

        loop, before = self._loop, torch.get_num_threads()
        torch.set_num_threads(loop.plan.threads)
        self._optim.training_mode(self._network, keep_statistics=loop.keep_statistics)
        began = time.perf_counter()
        for _ in range(steps):
            self._optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=loop.plan.precision == "bf16"):
                outputs = self._network(self._images)
                loss = loop.task.loss(self._network, outputs, self._targets, smoothing=loop.recipe.label_smoothing)
            loss.backward()
            nn.utils.clip_grad_norm_(self._optim.trainable(self._network), loop.recipe.clip_norm)
            self._optimizer.step()
        seconds = time.perf_counter() - began
        torch.set_num_threads(before)
        return steps * self.batch_size / seconds


def _unheard(*_: object) -> None:
    pass


def evaluation_share(loop: Any) -> float:
    """Return what matching and metrics take of the time that answering takes, on the validation pictures: the median of three."""
    from engine.training.answering import Answering

    rows, shares = loop.data.rows["val"], []
    loop.data.wait(rows)
    for _ in range(3):
        began = time.perf_counter()
        parts = list(Answering(loop.network, loop.task, loop.spec, loop.data, loop.device)(rows, loop.plan.batch_size, loop.plan.layout, loop.plan.precision))
        answered = time.perf_counter()
        loop.task.metrics(loop.targets, rows, loop.task.joined(loop.targets, rows, parts))
        shares.append((time.perf_counter() - answered) / (answered - began))
    return median(shares)


def measured(model: str, manifest: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Train one model and return its figures."""
    import torch

    from engine.data import cache, geometry
    from engine.models import build, catalogue
    from engine.recipe import recipe_from
    from engine.tasks import TASKS
    from engine.training import plan, tune
    from engine.training.estimate import sampler, trial_loss
    from engine.training.fit import Loop, Position

    dense = manifest["task"] != "image-classification"
    recipe = recipe_from(
        {"task": manifest["task"], "start": model, "epochs": epochs, **({} if dense else {"batch_size": 32, "image_size": 224, "freeze_depth": 0.0})}
    )
    tune.prepare(threads := tune.usable_cores())
    device, task = torch.device("cpu"), TASKS[recipe.task]
    network, spec, origin = build.from_start(catalogue.resolve(model, recipe.task), recipe, manifest["classes"], geometry.usual_aspect(manifest["items"]))
    some = {**manifest, "items": manifest["items"][:32]}
    with cache.filling(some, asdict(spec)) as sample:
        loss = trial_loss(task, task.targets(some, spec), sample, device)
        trial = plan.Trial(network, spec, recipe, device, threads, sampler(sample, spec, device), lambda: False, origin != "scratch", loss)
        chosen = plan.for_training(trial, plan.for_features(trial), len(manifest["items"]))

    def looped(data: Any) -> Loop:
        nothing: dict[str, Any] = {"emit": _unheard, "wish": lambda: None, "keep_best": _unheard, "keep_last": _unheard}
        return Loop(network, spec, task, task.targets(manifest, spec), data, recipe, chosen, device, **nothing, keep_statistics=origin != "scratch")

    bare = Bare(looped(sample), chosen.batch_size)
    clock = Clock(bare)
    with cache.filling(manifest, asdict(spec), ahead=False) as data:
        loop = looped(data)
        bare.warm_up(loop)
        clock.begin()
        evaluation = evaluation_share(loop) if dense else 0.0
        loop.emit = clock
        clock.began = time.perf_counter()
        loop.run(Position())
    ratios = clock.ratios()
    later, counted = undisturbed_median(ratios[1:], clock.others[1:])
    return {
        "model": model,
        "precision": chosen.precision,
        "layout": chosen.layout,
        "bare": round(median(clock.bare_images_per_s), 1),
        "loop": round(median(clock.images_per_s[1:]), 1),
        "first": round(ratios[0], 3),
        "later": round(later, 3),
        "counted": counted,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "others": [round(took, 2) for took in clock.others],
        "validation_s": round(median(clock.validation_s), 2),
        "evaluation": round(evaluation, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="96 pictures, two epochs: does it run?")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    photographs.like_a_worker("benchmarks.train")
    rows = []
    for model in given.models:
        with photographs.workspace_of_its_own() as folder:
            if model.partition("/")[0] in ARCHITECTURES:
                manifest = blood_cells.manifest(folder / "pictures", 48 if given.quick else None)
            else:
                _, manifest = photographs.project(96 if given.quick else None)
            rows.append(measured(model, manifest, 2 if given.quick else EPOCHS.get(model, 5)))
        if not given.json:
            row = rows[-1]
            print(f"{model:24} {row['precision']}+{row['layout']:14} bare {row['bare']:7.1f}/s  loop {row['loop']:7.1f}/s  ", end="")
            print(
                f"first epoch {row['first']:.2f}  later {row['later']:.3f} of {row['counted']} epochs  evaluation {row['evaluation']:.3f}  {row['ratios']}",
                flush=True,
            )
    met = all(row[key] >= bar for row in rows for key, bar in (DENSE_BARS if "/" in row["model"] else BARS).items())
    met &= all(row["evaluation"] <= EVALUATION_BAR for row in rows)
    if given.json:
        print(json.dumps({"rows": rows, "met": met}))
    return 0 if met or given.quick else 1


if __name__ == "__main__":
    sys.exit(main())
