"""One training from its starting point to its report: read -> features -> head -> fine-tune -> evaluate.

It joins the parts of this package and writes only the files it is given. Exporting the model is the worker's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import devices, events, workspace
from engine.data import cache, geometry
from engine.events import Event, Message, Phase, Usable
from engine.models import build
from engine.models.build import Network
from engine.recipe import Recipe
from engine.tasks import TASKS
from engine.training import checkpoint, head, maps, tune
from engine.training.answering import Answering
from engine.training.crew import Crew, size_for
from engine.training.estimate import estimate, sampler, trial_loss
from engine.training.features import BATCH, Extractor
from engine.training.fit import Loop, Position, out_of_memory
from engine.training.ignored import Circumstances, ignored
from engine.training.plan import Plan, Trial, Unfinished, as_values, default_batch, for_features, for_training
from engine.training.settled import for_network, settled

if TYPE_CHECKING:
    from engine.models.catalogue import Start

__all__ = ["Files", "Outcome", "estimate", "train"]

Wish = Callable[[], str | None]
Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Files:
    """Where a training writes."""

    folder: Path

    @property
    def best(self) -> Path:
        """The weights that are kept."""
        return self.folder / "best.safetensors"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.safetensors"

    @property
    def plan(self) -> Path:
        """What the dry run chose."""
        return self.folder / "plan.json"

    @property
    def predictions(self) -> Path:
        """Answers on held-out pictures."""
        return self.folder / "predictions.npz"

    @property
    def report(self) -> Path:
        """What the answers amount to."""
        return self.folder / "report.json"


@dataclass(frozen=True)
class Outcome:
    """How a training ended, after how many steps, and its headline figures."""

    kind: Literal["finished", "stopped", "paused"]
    step: int = 0
    metrics: dict[str, float | None] = field(default_factory=dict)


class _Left(Exception):  # noqa: N818 (not an error: the user asked to leave before there was anything to keep)
    pass


def train(*, recipe: Recipe, manifest: Mapping[str, Any], start: Start, files: Files, emit: Callable[[Event], None], wish: Wish, pressed_t: float) -> Outcome:
    """Train, or go on training where `files` hold a checkpoint.

    Args:
        recipe: what the user set.
        manifest: the data-set version (see `engine.data.versions`).
        start: the resolved starting point.
        files: where to write, and to go on from.
        emit: hears events.
        wish: asked between steps; 'stop' keeps the best, 'pause' saves and leaves.
        pressed_t: when the user pressed Train, in seconds since the epoch.

    Raises:
        StudioError: if data, starting point or settings make it impossible, or the disk is full.
    """
    with checkpoint.Keeper() as keeper:
        session = _Session(settled(recipe, manifest), manifest, start, files, emit, wish, pressed_t, keeper)
        try:
            return session.run()
        except (_Left, Unfinished):
            return Outcome("stopped" if wish() == "stop" else "paused", session.at.step)
        finally:
            session.close()


class _Session:
    """The phases, in order, and what they hand on to each other."""

    def __init__(
        self,
        recipe: Recipe,
        manifest: Mapping[str, Any],
        start: Start,
        files: Files,
        emit: Callable[[Event], None],
        wish: Wish,
        pressed_t: float,
        keeper: checkpoint.Keeper,
    ) -> None:
        self.recipe, self.manifest, self.start, self.files = recipe, manifest, start, files
        self.emit, self.wish, self.pressed_t, self.keeper = emit, wish, pressed_t, keeper
        self.task = TASKS[recipe.task]
        self.seconds: dict[str, float] = {}
        self.at = Position()
        self.tensors, position, damaged = checkpoint.load(files.last)
        if self.tensors is not None:
            self.at = Position(**position)
        if damaged:
            emit(Message(level="warning", text="The newest checkpoint is damaged; going on from the one before it."))
            emit(events.Started(pid=os.getpid(), device=devices.choose(recipe.device), step=self.at.step))
        self.plan = Plan.from_json(workspace.read_json(files.plan)) if files.plan.exists() else None
        threads = self.plan.threads if self.plan else recipe.threads or tune.usable_cores()
        tune.prepare(threads)
        self.device = torch.device(devices.choose(recipe.device))
        self.crew = Crew(size_for(threads, BATCH) if self.device.type == "cpu" else 1, threads)
        self.network, self.spec, self.origin = build.from_start(start, recipe, manifest["classes"], geometry.usual_aspect(manifest["items"]))
        self.targets = self.task.targets(manifest, self.spec)
        self.data = cache.filling(manifest, asdict(self.spec), ahead=self.device.type != "cpu")
        self.trial = Trial(
            self.network,
            self.spec,
            recipe,
            self.device,
            threads,
            sampler(self.data, self.spec, self.device),
            self.leave,
            self.origin != "scratch",
            trial_loss(self.task, self.targets, self.data, self.device),
        )

    def leave(self) -> bool:
        """Tell whether the user wants it to leave."""
        return bool(self.wish())

    def close(self) -> None:
        """Let go of pictures and threads."""
        self.data.close()
        self.crew.close()

    def run(self) -> Outcome:
        """Go through the phases that are still to be done."""
        if self.wish() == "stop" and self.files.best.exists():  # launched only to finish what an earlier worker left
            return Outcome("stopped", self.at.step, self._evaluate())
        if self.origin == "scratch" and self.tensors is None:
            self.emit(
                Message(level="warning", text=f"There are no pretrained weights of {self.start.title} here: it starts from scratch and needs many pictures.")
            )
        if self.tensors is None:  # one that goes on has said it already
            self._check_settings()
        asked = self.recipe
        self.recipe = for_network(asked, self.network.backbone, scratch=self.origin == "scratch", pooled=self.task.family == "pooled")
        if self.recipe.phases == "head" != asked.phases:
            self.emit(Message(level="info", text="This network cannot learn itself (its X-ray says why), so only the new last layers do."))
        if self.recipe.phases != "all" and self.tensors is None:
            self._learn_head()
        ended: str = "done"
        if self.recipe.phases != "head":
            ended = self._finetune()
        if ended == "pause":
            return Outcome("paused", self.at.step)
        return Outcome("stopped" if ended == "stop" else "finished", self.at.step, self._evaluate())

    def _check_settings(self) -> None:
        """Say which settings have no effect."""
        rows, network = self.data.rows, self.network
        met = Circumstances(
            door=self.start.door,
            device=self.device.type,
            train=len(rows["train"]),
            val=len(rows["val"]),
            solved=head.is_solved(network.head),
            blends=self.task.blends,
            pooled=self.task.family == "pooled",
            head=self.spec.head,
            drops_paths=any(getattr(module, "drop_prob", 0) for module in network.backbone.modules()),
            stride=max(getattr(network.backbone, "strides", ()), default=0),
        )
        for text in ignored(self.recipe, met):
            self.emit(Message(level="info", text=text))
        if self.start.run_id and self.origin == "run" and self.recipe.reuse_depth == 1:
            self.emit(Message(level="info", text="The classes or the task differ from the earlier run's, so the last layers are new."))

    def _phase(self, name: str, title: str) -> None:
        self.emit(Phase(name=name, title=title, step=self.at.step))
        self.seconds[name] = time.monotonic()

    def _over(self, name: str) -> None:
        self.seconds[name] = time.monotonic() - self.seconds[name]

    def _planned(self, plan: Plan) -> Plan:
        """Keep the plan with the run, so that it goes on exactly so after an interruption."""
        if plan != self.plan:
            workspace.write_json(self.files.plan, as_values(plan))
            self.emit(events.Plan(values=as_values(plan)))
        self.plan = plan
        return plan

    def _extractor(self) -> Extractor:
        return Extractor(self.network.backbone, self.spec, self.data, self.manifest, self.device, self.emit, self.leave, self.crew)

    def _features(self, extractor: Extractor, rows: NDArray[Any], precision: str, layout: str) -> Tensor:
        found = extractor(rows, precision, layout)
        if found is None:
            raise _Left
        return found

    def _learn_head(self) -> None:
        """Read, compute features, learn the head; from here on there is a model worth keeping."""
        self._phase("read", "Reading pictures")
        plan = self.plan or self._planned(for_features(self.trial))
        self._over("read")
        steps, metrics = self._head_of_vectors(plan) if self.task.family == "pooled" else self._head_on_maps(plan)
        self.at = Position(step=steps, best=list(head.score(metrics, self.task)) if len(self.data.rows["val"]) else [])
        build.save(self.network.state_dict(), self.spec, self.files.best)
        self._over("head")
        shown: dict[str, float | None] = {**metrics}
        self.emit(Usable(seconds=time.time() - self.pressed_t, metrics=shown))

    def _head_of_vectors(self, plan: Plan) -> tuple[int, dict[str, float]]:
        """Learn a head on one vector a picture."""
        self._phase("features", "Looking at every picture once")
        rows, extractor = self.data.rows, self._extractor()
        both_NF = self._features(extractor, np.concatenate([rows["train"], rows["val"]]), plan.frozen_precision, plan.frozen_layout)
        train_NF, val_NF = both_NF[: len(rows["train"])], both_NF[len(rows["train"]) :]
        self._over("features")
        self._phase("head", "Learning the new last layers")
        later = 0 if self.recipe.phases == "head" else self.recipe.epochs * max(1, len(train_NF) // (self.recipe.batch_size or 32))
        lesson = head.Lesson(
            self.task, self.targets, len(self.spec.classes), self.recipe, rows["train"], train_NF, rows["val"], val_NF, self.emit, self.leave, later
        )
        steps = head.learn(self.network.head, lesson)
        if steps is None:
            raise _Left
        return steps, lesson.metrics(self.network.head)

    def _head_on_maps(self, plan: Plan) -> tuple[int, dict[str, float]]:
        """Learn a head on maps of features, computed once where they can be kept."""
        self.network.to(self.device)
        found, rows = maps.Maps(self.network.backbone, self.spec.input_hw), self.data.rows
        both, vectors_NF = np.concatenate([rows["train"], rows["val"]]), None
        if maps.fits(found, len(both)):
            self._phase("features", "Looking at every picture once")
            extractor = Extractor(found, self.spec, self.data, self.manifest, self.device, self.emit, self.leave, self.crew)
            vectors_NF = self._features(extractor, both, plan.frozen_precision, plan.frozen_layout)
            self._over("features")
        self._phase("head", "Learning the new last layers")
        size = self.recipe.batch_size or default_batch(self.device, len(rows["train"]), self.recipe.task)
        later = 0 if self.recipe.phases == "head" else self.recipe.epochs * max(1, len(rows["train"]) // size)
        lesson = maps.MapLesson(
            self.network, self.task, self.targets, self.spec, self.recipe, plan, self.data, self.device, found, vectors_NF, self.emit, self.leave, later
        )
        learnt = maps.learn(lesson, size)
        if learnt is None:
            raise _Left
        return learnt

    def _finetune(self) -> str:
        """Train everything that is not frozen, gently, from the head on."""
        if self.leave() and self.files.best.exists():
            return "stop" if self.wish() == "stop" else self._pause()
        plan = self._training_plan()
        if self.origin == "scratch" and self.tensors is None:  # the head was learnt on features that the first steps will overturn
            self.network.head = build.build(self.spec, seed=self.recipe.seed).head
        if not self.at.done:
            self._phase("finetune", "Fine-tuning")
        loop = Loop(
            self.network,
            self.spec,
            self.task,
            self.targets,
            self.data,
            self.recipe,
            plan,
            self.device,
            emit=self._emit,
            wish=self.wish,
            keep_best=self._keep_best,
            keep_last=self._keep_last,
            keep_statistics=self.trial.keep_statistics,
        )
        if self.tensors is not None:
            loop.restore(self.tensors)
            self.tensors = None
        elif not self.at.update:
            self.at.accumulate = plan.accumulate
        try:
            ended = loop.run(self.at)
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise _too_little_memory() from error
            raise
        finally:
            loop.close()
            if "finetune" in self.seconds:
                self._over("finetune")
        self.keeper.wait()
        return ended

    def _pause(self) -> str:
        return "pause"

    def _emit(self, event: Event) -> None:
        """Pass an event on; the first finished epoch of a run without a head phase makes it usable."""
        self.emit(event)
        if isinstance(event, events.Epoch) and event.epoch == 1 and self.recipe.phases == "all":
            self.keeper.wait()
            self.emit(Usable(seconds=time.time() - self.pressed_t, metrics=event.metrics))

    def _training_plan(self) -> Plan:
        plan = self.plan
        if plan is None or not plan.precision:
            plan = self._planned(for_training(self.trial, plan or for_features(self.trial), len(self.data.rows["train"])))
        return plan

    def _keep_best(self, weights: dict[str, Tensor]) -> None:
        self.keeper.put(build.save, weights, self.spec, self.files.best)

    def _keep_last(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        self.keeper.put(checkpoint.save, self.files.last, tensors, position)

    def _evaluate(self) -> dict[str, float | None]:
        """Let the kept model answer on held-out pictures, in full precision, as it will be shipped."""
        if not self.files.best.exists():
            return {}
        self._phase("evaluate", "Answering on pictures it has never seen")
        best, _ = build.from_checkpoint(self.files.best)
        self.network = best.to(self.device)
        rows = self.data.rows
        split: Split = next(name for name in ("test", "val", "train") if len(rows[name]))  # type: ignore[assignment]
        wish = self.wish
        self.wish = lambda: "pause" if wish() == "pause" else None  # one who stops keeps the best, and wants to know how good it is
        answers_on = self._vector_answers if self.task.family == "pooled" else self._map_answers
        answers = {name: answers_on(best, rows[name]) for name in {split, "val"} if len(rows[name])}
        self.wish = wish
        self._over("evaluate")
        found = self._report(split, answers)
        self.task.keep(self.files.predictions, self.manifest, rows[split], answers[split])
        workspace.write_json(self.files.report, found)
        return self.task.last_word(found)

    def _vector_answers(self, network: Network, rows: NDArray[Any]) -> Any:
        features_NF = self._features(self._extractor(), rows, "fp32", "channels_last")
        return head.predict(network.head, features_NF.to(self.device), self.task)

    def _map_answers(self, network: Network, rows: NDArray[Any]) -> Any:
        parts = list(Answering(network, self.task, self.spec, self.data, self.device, self.leave, self.crew)(rows))
        if self.leave():
            raise _Left
        return self.task.joined(self.targets, rows, parts)

    def _report(self, split: Split, answers: Mapping[Any, Any]) -> dict[str, Any]:
        start = {key: getattr(self.start, key) for key in ("door", "key", "title", "licence", "origin")}
        return self.task.report(
            self.manifest,
            self.targets,
            self.data.rows,
            split,
            answers,
            start={**start, "weights": self.origin},
            plan=as_values(self.plan) if self.plan else {},
            seconds={**{key: round(value, 3) for key, value in self.seconds.items()}, "total": round(time.time() - self.pressed_t, 3)},
            best_phase="finetune" if self.at.best_epoch else "head",
        )


def _too_little_memory() -> Exception:
    from engine.errors import StudioError

    return StudioError("the machine ran out of memory even with a single picture at a time", "Choose smaller pictures or a smaller backbone.")
