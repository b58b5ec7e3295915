"""Help with drawing: a project's own model looks at the pictures nobody has drawn on, and what it finds is kept as proposals.

It runs the exported file, as Try does, so that no torch is needed (unless the file is still to be made), and training beside it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from engine import runs
from engine.data import items, marks, projects
from engine.data.items import Item
from engine.data.marks import TASK_KINDS, Mark
from engine.errors import StudioError
from engine.events import Event, Phase
from engine.runs import Run

if TYPE_CHECKING:
    from PIL import Image

    from engine.evaluation.answers import Answer
    from engine.export.predictor import Predictor

__all__ = ["MOST_SHAPES", "latest", "propose", "usual_confidence"]

MOST_SHAPES = 200
"""Shapes proposed in one picture, the surest: more than a person would look through."""

_AHEAD = 4
_NAMED = 5


def latest(project_id: str) -> Run | None:
    """Return the newest run of a project that has a report and a model, or None."""
    return next((run for run in runs.list_runs(project_id) if run.path("report.json").exists() and run.path("best.safetensors").exists()), None)


def usual_confidence(run: Run, goal: str = "balanced") -> float:
    """Return the confidence that serves a goal of `evaluation.operating.GOALS` best, as the run's report has it; a half where it names pixels."""
    points = (runs.read_report(run) or {}).get("points")
    return float(points[goal]["confidence"]) if points else 0.5


def propose(asked: Mapping[str, Any], emit: Callable[[Event], None], report: Callable[[int, int], None], leave: Callable[[], bool]) -> dict[str, Any] | None:
    """Propose shapes in every picture nobody has drawn on, in the place of earlier proposals.

    Args:
        asked: project_id; run_id (the latest where it is absent); confidence in 0..1 from which a found thing is proposed (the run's balanced one
            where it is absent).
        emit: takes the events.
        report: told how many pictures are done, of how many.
        leave: whether to leave: what was proposed until then stays.

    Returns:
        Which run was asked, how many pictures it looked at, how many shapes it proposed in how many of them, and what was passed over; None if it was
        told to leave.

    Raises:
        StudioError: if the project's labels are not drawn, it has no finished run, or its classes are not those that the run knows.
    """
    began = time.monotonic()
    project = projects.get(asked["project_id"])
    if "class" in TASK_KINDS[project.task]:
        raise StudioError(f"'{project.name}' sorts whole pictures: nothing is drawn in them", "Ask for suggested classes instead.")
    run = runs.find(asked["run_id"]) if asked.get("run_id") else latest(project.id)
    if run is None:
        raise StudioError(f"no run of '{project.name}' has finished, so no model can propose anything", "Draw in some pictures, train, then ask again.")
    confidence = float(asked["confidence"]) if asked.get("confidence") is not None else usual_confidence(run)
    predictor = _predictor(run, emit)
    known = _known_labels(predictor.labels, project.id, run)
    emit(Phase(name="propose", title="Looking at the pictures"))
    open_items = items.get_items(items.list_ids(project.id, unlabelled=True, limit=10**9))
    shapes = pictures = 0
    unread: list[str] = []
    for done, (item, picture) in enumerate(_opened(open_items, predictor), 1):
        if leave():
            return None
        if picture is None or picture.size != (item.width, item.height):
            unread.append(item.name)
        else:
            kept = marks.propose(item.id, _marks(predictor.answers([picture])[0].above(confidence), predictor.labels, known))
            shapes, pictures = shapes + kept, pictures + bool(kept)
        report(done, len(open_items))
    return {
        "run": run.id,
        "name": run.name,
        "confidence": confidence,
        "looked_at": len(open_items),
        "pictures": pictures,
        "shapes": shapes,
        "passed_over": {"count": len(unread), "names": unread[:_NAMED], "labels": [label for label in predictor.labels if label not in known]},
        "seconds": time.monotonic() - began,
    }


def _predictor(run: Run, emit: Callable[[Event], None]) -> Predictor:
    """Open a run's exported file, made first where a run was finished without."""
    from engine.export.predictor import Predictor

    path = run.path("model.onnx")
    if not path.exists():
        from engine.export import models

        emit(Phase(name="export", title="Writing the model's file"))
        models.export_run(run)
    return Predictor(path)


def _known_labels(labels: Sequence[str], project_id: str, run: Run) -> set[str]:
    """Return those of a model's labels that are classes of the project now: what was renamed or removed since must not come back."""
    known = set(labels) & set(items.classes(project_id))
    if not known:
        raise StudioError(f"'{run.name}' knows {', '.join(labels[:3])}, and none of it is a class of this project now", "Train again, then ask again.")
    return known


def _opened(wanted: Sequence[Item], predictor: Predictor) -> Iterator[tuple[Item, Image.Image | None]]:
    """Yield pictures, decoded a few ahead; None for one that cannot be read."""
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="decode") as pool:
        for start in range(0, len(wanted), _AHEAD):
            some = wanted[start : start + _AHEAD]
            yield from zip(some, pool.map(lambda item: _picture(item, predictor), some), strict=True)


def _picture(item: Item, predictor: Predictor) -> Image.Image | None:
    try:
        return predictor.open(item.path)
    except StudioError:
        return None


def _marks(answer: Answer, labels: Sequence[str], known: set[str]) -> list[Mark]:
    """Return what was found as marks, the surest first: masks where the model outlines, else boxes."""
    found = []
    for place in range(len(answer)):
        label, score = labels[int(answer.classes_D[place])], float(answer.scores_D[place])
        if label in known and answer.masks is not None:
            found.append(Mark(label, "mask", answer.masks[place], "model", score))
        elif label in known:
            found.append(Mark(label, "box", {"box": [float(edge) for edge in answer.boxes_D4[place]]}, "model", score))
    return found[:MOST_SHAPES]
