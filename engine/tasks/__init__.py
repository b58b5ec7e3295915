"""Tasks: what a model learns to do. To add one, write `engine/tasks/<task>.py` and add its row to `TASKS`."""

from __future__ import annotations

from engine.tasks.base import Task
from engine.tasks.classification import Classification

__all__ = ["TASKS", "Task"]

TASKS: dict[str, Task] = {task.name: task for task in (Classification(),)}
