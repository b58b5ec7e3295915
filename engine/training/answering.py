"""Lets a network answer on pictures, batch by batch: for validation while it learns, and at the end on those it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.data.cache import DecodedSet
from engine.models.build import ModelSpec
from engine.tasks import Task
from engine.training.augment import normalised
from engine.training.crew import ALONE, Crew, Replicas
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
    """Answers of a network on a set of pictures, each seen as the exported model will see it.

    Attributes:
        crew: shares every batch among its members.
        replicas: of the network, one a member; made where none are given.
    """

    network: nn.Module
    task: Task
    spec: ModelSpec
    data: DecodedSet
    device: torch.device
    leave: Callable[[], bool] = lambda: False
    crew: Crew = ALONE
    replicas: Replicas | None = None

    @torch.no_grad()
    def __call__(
        self, rows: NDArray[Any], batch_size: int = BATCH, layout: str = "channels_last", precision: str = "fp32", weights: Mapping[str, Tensor] | None = None
    ) -> Iterator[Any]:
        """Yield the predictions on some rows, a batch or a member's share of one at a time; ends early if told to leave.

        Args:
            weights: to answer with, in place of the network's own.
        """
        self.network.eval()
        replicas = self.replicas or Replicas(self.network, self.crew.size)
        replicas.follow()
        decoded = [_Decoded(one, self.task) for one in replicas.networks]
        lent = {f"network.{name}": tensor for name, tensor in (self.network.state_dict() if weights is None else weights).items()}

        def answer(member: int) -> Any:
            if member >= len(shares):
                return None
            self.data.wait(shares[member])
            images_BCHW = normalised(self.data.evaluation_view(shares[member]), self.spec, self.device).contiguous(memory_format=LAYOUTS[layout])
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
                return torch.func.functional_call(decoded[member], lent, (images_BCHW,))

        for first in range(0, len(rows), batch_size):
            if self.leave():
                return
            some = rows[first : first + batch_size]
            shares = np.array_split(some, min(self.crew.size, len(some)))
            yield from self.crew.each(answer)[: len(shares)]
