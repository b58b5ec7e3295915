"""The dry run: a few steps in each precision and memory layout; the fastest that computes the same answer is taken.

What it finds depends on network, picture size, processor and torch alone, so it is kept in cache/estimates and measured once. A run keeps its plan
in its own directory, so that it goes on after an interruption exactly as it began.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from engine import workspace
from engine.models.build import ModelSpec, Network
from engine.recipe import Recipe
from engine.tasks import TASKS
from engine.training import optim, tune
from engine.training.crew import Crew, Replicas, couples_pictures, lookalikes, size_for
from engine.training.features import DTYPES, LAYOUTS, frozen_copy

__all__ = [
    "DEFAULT_BATCH",
    "DENSE_BATCH",
    "FEATURES_TOLERANCE",
    "GRADIENT_TOLERANCE",
    "Plan",
    "Trial",
    "Unfinished",
    "as_values",
    "default_batch",
    "for_features",
    "for_training",
]

DEFAULT_BATCH = {"cpu": 32, "mps": 32, "cuda": 64}
DENSE_BATCH = {"cpu": 8, "mps": 8, "cuda": 16}
_STEPS_A_PASS, _SMALL_BATCH = 24, 8
"""A pass over some hundred pictures should still be so many steps, unless its batches were smaller than this: with few steps little is learnt."""
_TRIAL_BATCH = 8
_FROZEN_BATCH = 16
_BUDGET_S = 8.0
_HOPELESS = 1.6
"""A first step slower than the best by this factor ends a trial: later steps gain less."""

FEATURES_TOLERANCE = 0.05
"""Largest relative difference of bf16 features from fp32 ones, in the Euclidean norm. One rounding is 0.004; some fifty layers make 0.01-0.03."""
GRADIENT_TOLERANCE = 0.3
"""The same for gradients; that of two halves of one batch differs by far more."""
_MEMORY_SHARE = 0.6
_SHORT_S = 0.028
"""Processor seconds a picture below which a crew learns: operations are so short that threads inside them mostly wait for each other. MobileNetV3-small
takes 0.019 and its crew is faster than threads inside; ResNet-18 takes 0.037 and EfficientNet-Lite0 0.043, whose crews are 3 and 7 percent slower."""
_MB = 2**20


class Unfinished(Exception):  # noqa: N818 (not an error: the user asked to leave)
    """The dry run was told to leave."""


@dataclass(frozen=True)
class Plan:
    """How a run computes. The second half is 0 until training itself was tried; a head-only run never needs it.

    Attributes:
        accumulate: parts that each member's share of a batch is cut into, so that it fits into memory.
        shares: members of the crew that learns from a batch (`engine.training.crew`).
    """

    device: str
    threads: int
    frozen_precision: str
    frozen_layout: str
    frozen_images_per_s: float
    precision: str = ""
    layout: str = ""
    batch_size: int = 0
    accumulate: int = 1
    shares: int = 1
    images_per_s: float = 0.0
    memory_mb: float = 0.0
    table: tuple[dict[str, Any], ...] = ()

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Plan:
        """Read it back."""
        return cls(**{**row, "table": tuple(row.get("table", ()))})


@dataclass
class Trial:
    """What is tried: a network on a device.

    Attributes:
        pictures: gives some of the real pictures, normalised [B, 3, H, W]; on made-up ones bf16 errs far more.
        leave: asked between candidates.
        loss: of the network's outputs on those pictures; None takes a stand-in, where the loss itself costs next to nothing.
    """

    network: Network
    spec: ModelSpec
    recipe: Recipe
    device: torch.device
    threads: int
    pictures: Callable[[int], Tensor]
    leave: Callable[[], bool]
    keep_statistics: bool = True
    loss: Callable[[nn.Module, Any, int], Tensor] | None = None

    def key(self, *more: object) -> str:
        """Name the result by all that it depends on."""
        spec, recipe = self.spec, self.recipe
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else tune.cpu_name()
        parts = (
            spec.backbone,
            spec.head,
            spec.image_size if spec.fit == "crop" else spec.input_hw,
            spec.task,
            self.device.type,
            name,
            self.threads,
            torch.__version__,
            recipe.precision,
            recipe.layout,
            *(sorted(row for row in spec.options.items() if row[0] != "config")),
            *more,
        )
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]

    def candidates(self) -> Iterator[tuple[str, str]]:
        """Yield (precision, layout), the likeliest winner first, as far as recipe and device allow."""
        bf16 = tune.has_bf16() if self.device.type == "cpu" else self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        for layout in ("channels_last", "contiguous"):
            for precision in ("fp32", "bf16"):
                asked = self.recipe.precision in ("auto", precision) and self.recipe.layout in ("auto", layout)
                if asked and (precision == "fp32" or bf16 or self.recipe.precision == "bf16"):
                    yield precision, layout


def _kept(kind: str, key: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a result from the cache, or find it and keep it."""
    path = workspace.cache("estimates") / f"{kind}-{key}.json"
    if path.exists():
        return dict(workspace.read_json(path))
    found = find()
    workspace.write_json(path, found)
    return found


def for_features(trial: Trial, base: Plan | None = None) -> Plan:
    """Choose precision and layout of the frozen forward.

    Raises:
        Unfinished: if told to leave.
    """
    found = _kept("features", trial.key(), lambda: _try_features(trial))
    plan = base or Plan(device=str(trial.device), threads=trial.threads, frozen_precision="", frozen_layout="", frozen_images_per_s=0.0)
    return replace(plan, frozen_precision=found["precision"], frozen_layout=found["layout"], frozen_images_per_s=found["images_per_s"])


def _try_features(trial: Trial) -> dict[str, Any]:
    with torch.inference_mode(), Crew(size_for(trial.threads, _FROZEN_BATCH) if trial.device.type == "cpu" else 1, trial.threads) as crew:
        return _compared(trial, crew)


def _compared(trial: Trial, crew: Crew) -> dict[str, Any]:
    """Let the frozen backbone look at some pictures in each precision; return the fastest row that agrees."""
    images = trial.pictures(_FROZEN_BATCH)
    rows: list[dict[str, Any]] = []
    reference: Tensor | None = None
    for precision, layout in trial.candidates():
        if layout == "contiguous" and trial.recipe.layout == "auto" and trial.device.type != "mps":
            continue  # a frozen forward was never slower with channels last
        if trial.leave():
            raise Unfinished
        networks = lookalikes(frozen_copy(trial.network.backbone, precision, layout).to(trial.device), crew.size)
        shown = images.to(DTYPES[precision]).contiguous(memory_format=LAYOUTS[layout])
        features = _flat(networks[0](shown))  # also warms up
        parts = shown.chunk(crew.size)
        began = time.perf_counter()
        crew.each(partial(_look, networks, parts))
        _finish(trial.device)
        seconds = time.perf_counter() - began
        reference = features if reference is None else reference
        difference = float((features - reference).norm() / reference.norm().clamp_min(1e-12))
        rows.append({"precision": precision, "layout": layout, "images_per_s": len(images) / seconds, "max_difference": difference})
    agreeing = [row for row in rows if row["max_difference"] <= FEATURES_TOLERANCE] or rows[:1]
    return max(agreeing, key=lambda row: row["images_per_s"])


@torch.inference_mode()
def _look(networks: Sequence[nn.Module], parts: Sequence[Tensor], member: int) -> None:
    networks[member](parts[member])


def _flat(outputs: Any) -> Tensor:
    """Return what a network or backbone gives as one tensor."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    rows = outputs.values() if isinstance(outputs, dict) else outputs
    return torch.cat([_flat(row).flatten() for row in rows if isinstance(row, Tensor | dict | list | tuple)])


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def for_training(trial: Trial, base: Plan, pictures: int) -> Plan:
    """Choose precision, layout and batch size of training.

    Args:
        trial: what to try.
        base: a plan that already says how features are computed.
        pictures: how many there are to train on; a batch is at most a quarter of them.

    Raises:
        Unfinished: if told to leave.
    """
    recipe = trial.recipe
    found = _kept("training-by-crew", trial.key(recipe.freeze_depth, recipe.optimizer, bool(recipe.ema), trial.keep_statistics), lambda: _try_training(trial))
    chosen = next(row for row in found["table"] if row["chosen"])
    wanted = recipe.batch_size or default_batch(trial.device, pictures, trial.spec.task)
    accumulate = 1
    while accumulate < wanted and found["fixed_mb"] + found["picture_mb"] * wanted / accumulate > _free_mb(trial.device) * _MEMORY_SHARE:
        accumulate *= 2
    return replace(
        base,
        precision=chosen["precision"],
        layout=chosen["layout"],
        batch_size=wanted,
        accumulate=accumulate,
        shares=size_for(trial.threads, wanted, coupled=found["coupled"]) if found["apart"] and trial.threads / chosen["images_per_s"] < _SHORT_S else 1,
        images_per_s=chosen["images_per_s"],
        memory_mb=round(found["fixed_mb"] + found["picture_mb"] * -(-wanted // accumulate), 1),
        table=tuple(found["table"]),
    )


def default_batch(device: torch.device, pictures: int, task: str = "image-classification") -> int:
    """Return how many of the training pictures make a batch: what a device likes, and less of few pictures, so that a pass has some steps.

    Drawn tasks learn from many places of each picture.
    """
    if TASKS[task].family == "dense":
        return max(2, min(DENSE_BATCH[device.type], pictures // 8))
    return max(4, min(DEFAULT_BATCH[device.type], pictures // 4, max(_SMALL_BATCH, pictures // _STEPS_A_PASS // 4 * 4)))


def _free_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / _MB
    return psutil.virtual_memory().available / _MB


def _try_training(trial: Trial) -> dict[str, Any]:
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    reference: Tensor | None = None
    saved_bytes = 0
    apart = coupled = False
    images = trial.pictures(_TRIAL_BATCH)
    for precision, layout in trial.candidates():
        if trial.leave():
            raise Unfinished
        if rows and time.perf_counter() - began > _BUDGET_S:
            break
        subject = _Subject(trial, precision, layout, images)
        first_s, gradient = subject.step()
        reference = gradient if reference is None else reference
        saved_bytes, apart, coupled = max(saved_bytes, subject.saved_bytes), subject.apart, subject.coupled
        best_s = min((_TRIAL_BATCH / row["images_per_s"] for row in rows), default=float("inf"))
        seconds = min(subject.again() for _ in range(2)) if first_s < best_s * _HOPELESS else first_s
        difference = float((gradient - reference).norm() / reference.norm().clamp_min(1e-12))
        rows.append({"precision": precision, "layout": layout, "images_per_s": round(_TRIAL_BATCH / seconds, 2), "max_difference": difference})
    agreeing = [row for row in rows if row["max_difference"] <= GRADIENT_TOLERANCE] or rows[:1]
    chosen = max(agreeing, key=lambda row: row["images_per_s"])
    for row in rows:
        row["chosen"] = row is chosen
    top = "" if TASKS[trial.spec.task].family == "pooled" else f"{trial.spec.head}-"  # an architecture takes far longer than a backbone alone
    speed = workspace.cache("estimates") / f"speed-{top}{trial.spec.backbone}.json"
    workspace.write_json(speed, {"images_per_s": chosen["images_per_s"]})
    weights_mb = sum(parameter.nbytes for parameter in trial.network.parameters()) / _MB
    gradients = size_for(trial.threads, _TRIAL_BATCH) if apart else 1
    copies = 3 + gradients + bool(trial.recipe.ema)  # weights, gradients, two moments, the average
    base_mb = psutil.Process().memory_info().rss / _MB if trial.device.type == "cpu" else 0.0
    return {"table": rows, "apart": apart, "coupled": coupled, "fixed_mb": base_mb + copies * weights_mb, "picture_mb": 1.5 * saved_bytes / _TRIAL_BATCH / _MB}


class _Subject:
    """A copy of the network that takes real steps without touching the original."""

    def __init__(self, trial: Trial, precision: str, layout: str, images: Tensor) -> None:
        self._network: Network = copy.deepcopy(trial.network).to(trial.device, memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
        if trial.loss is None:
            _fill_zeros(self._network.head)
        optim.freeze(self._network, trial.recipe.freeze_depth)
        optim.training_mode(self._network, keep_statistics=trial.keep_statistics)
        self._optimizer = optim.make(self._network, trial.recipe)
        optim.set_learning_rate(self._optimizer, 1e-6)
        self._images = images.contiguous(memory_format=LAYOUTS[layout])
        self._precision, self._device, self._loss = precision, trial.device, trial.loss
        self.saved_bytes, self.apart, self.coupled = 0, False, couples_pictures(self._network)

    def step(self) -> tuple[float, Tensor]:
        """Take the first step; return its seconds and its gradients, flat. From here on it is known whether a crew can learn."""
        began = time.perf_counter()
        torch.manual_seed(0)
        Replicas(self._network, 1).begin(0)
        drawn = torch.get_rng_state()
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            outputs = self._counted()
        self._learn(outputs)
        gradient = torch.cat([parameter.grad.flatten() for parameter in optim.trainable(self._network) if parameter.grad is not None])
        self.apart = self._device.type == "cpu" and bool(torch.equal(drawn, torch.get_rng_state()))
        return time.perf_counter() - began, gradient

    def again(self) -> float:
        """Take another step, of which nothing is counted; return its seconds."""
        began = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            outputs = self._network(self._images)
        self._learn(outputs)
        return time.perf_counter() - began

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")

    def _learn(self, outputs: Any) -> None:
        with self._autocast():
            loss = self._loss(self._network, outputs, len(self._images)) if self._loss else None
        loss = outputs.float().square().mean() if loss is None else loss  # speed does not depend on the loss, and this needs to know no task
        loss.backward()
        self._optimizer.step()
        _finish(self._device)

    def _counted(self) -> Any:
        """Run forward and count the bytes that backward will need."""
        seen: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs = self._network(self._images)
        self.saved_bytes = max(1, sum(seen.values()) - sum(parameter.nbytes for parameter in self._network.parameters()))
        return outputs


@torch.no_grad()
def _fill_zeros(head: nn.Module) -> None:
    """Give a head that starts at zero some values: through zeros no gradient reaches the backbone."""
    torch.manual_seed(0)
    for parameter in head.parameters():
        if not parameter.any():
            parameter.normal_(std=0.02)


def as_values(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON."""
    return asdict(plan)
