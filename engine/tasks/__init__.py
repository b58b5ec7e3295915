"""Tasks: what a model learns to do. To add one, write `engine/tasks/<task>.py` and add its row to `TASKS`."""

from __future__ import annotations

from engine.tasks.base import Task
from engine.tasks.classification import Classification
from engine.tasks.detection import Detection
from engine.tasks.instance_segmentation import InstanceSegmentation
from engine.tasks.multilabel import MultiLabel
from engine.tasks.segmentation import SemanticSegmentation

__all__ = ["TASKS", "Task"]

_ROWS: list[Task] = [Classification(), MultiLabel(), Detection(), SemanticSegmentation(), InstanceSegmentation()]

TASKS = {task.name: task for task in _ROWS}
