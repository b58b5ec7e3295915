"""Lets a network answer on pictures, batch by batch: for validation while it learns, and at the end on those it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.data.cache import DecodedSet
from engine.models.build import ModelSpec
from engine.tasks import Task
from engine.training.augment import normalised
from engine.training.features import LAYOUTS

__all__ = ["BATCH", "Answering"]

BATCH = 16


class _Decoded(nn.Module):
    """A network whose outputs are decoded at once, so that all of it runs with the weights that are lent to it."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network, self._task = network, task

    def forward(self, images_BCHW: Tensor) -> Any:
        return self._task.decode(self.network, self.network(images_BCHW))


@dataclass
class Answering:
    """Answers of a network on a set of pictures, each seen as the exported model will see it."""

    network: nn.Module
    task: Task
    spec: ModelSpec
    data: DecodedSet
    device: torch.device
    leave: Callable[[], bool] = lambda: False

    @torch.no_grad()
    def __call__(
        self, rows: NDArray[Any], batch_size: int = BATCH, layout: str = "channels_last", precision: str = "fp32", weights: Mapping[str, Tensor] | None = None
    ) -> Iterator[Any]:
        """Yield the predictions on some rows, a batch at a time; ends early if told to leave.

        Args:
            weights: to answer with, in place of the network's own.
        """
        self.network.eval()
        decoded = _Decoded(self.network, self.task)
        lent = {f"network.{name}": tensor for name, tensor in (self.network.state_dict() if weights is None else weights).items()}
        for first in range(0, len(rows), batch_size):
            if self.leave():
                return
            some = rows[first : first + batch_size]
            self.data.wait(some)
            images_BCHW = normalised(self.data.evaluation_view(some), self.spec, self.device).contiguous(memory_format=LAYOUTS[layout])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
                yield torch.func.functional_call(decoded, lent, (images_BCHW,))
