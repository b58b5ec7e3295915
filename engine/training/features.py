"""Frozen features, computed once: what the backbone says of each picture, kept on disk for this run and every later one.

The cache is keyed by the backbone's weights, the geometry, the precision and the pictures' content, in shards of pictures: a killed
extraction goes on where it was, and a version that adds pictures computes little more than those.

N pictures, F features.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from engine import workspace
from engine.data.cache import FORM, DecodedSet
from engine.events import Event, Progress
from engine.models.build import ModelSpec, digest
from engine.training.augment import normalised
from engine.training.crew import ALONE, Crew, lookalikes

__all__ = ["BATCH", "DTYPES", "LAYOUTS", "SHARD", "Extractor", "frozen_copy"]

BATCH = 32
SHARD = 512
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_REPORT_S = 0.25


def frozen_copy(module: nn.Module, precision: str, layout: str) -> nn.Module:
    """Return a copy for inference only, in that precision and memory layout."""
    frozen = copy.deepcopy(module).eval().requires_grad_(False)
    return frozen.to(DTYPES[precision]).to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]


@dataclass
class Extractor:
    """Computes features of one backbone on one set of pictures, or finds them in the cache.

    Attributes:
        emit: hears how far it has come.
        leave: asked between batches; True makes it return early.
        crew: shares every batch among its members.
    """

    backbone: nn.Module
    spec: ModelSpec
    data: DecodedSet
    manifest: Mapping[str, Any]
    device: torch.device
    emit: Callable[[Event], None]
    leave: Callable[[], bool]
    crew: Crew = ALONE

    def __post_init__(self) -> None:
        self._weights = digest(self.backbone)

    def __call__(self, rows: NDArray[Any], precision: str, layout: str) -> Tensor | None:
        """Return float32 features [N, F] of some rows, in their order; None if it was told to leave."""
        shards = [rows[first : first + SHARD] for first in range(0, len(rows), SHARD)]
        found: list[Tensor] = []
        frozen: list[nn.Module] = []
        progress = _Rate(self.emit, len(rows))
        for shard in shards:
            path = self._path(shard, precision)
            features_NF = _cached(path)
            if features_NF is None:
                frozen = frozen or lookalikes(frozen_copy(self.backbone, precision, layout).to(self.device), self.crew.size)
                parts = list(self._forward(frozen, shard, precision, layout, progress))
                if self.leave():
                    return None
                features_NF = torch.cat(parts)
                with workspace.replacing(path) as beside:
                    beside.write_bytes(safetensors.torch.save({"features": features_NF}))
            else:
                progress.add(len(shard))
            found.append(features_NF)
        return torch.cat(found) if found else torch.zeros(0, 0)

    def _forward(self, frozen: list[nn.Module], rows: NDArray[Any], precision: str, layout: str, progress: _Rate) -> Iterator[Tensor]:
        @torch.inference_mode()
        def look(member: int) -> Tensor | None:
            if member >= len(shares):
                return None
            self.data.wait(shares[member])
            images_BCHW = normalised(self.data.evaluation_view(shares[member]), self.spec, self.device)
            features_BF: Tensor = frozen[member](images_BCHW.to(DTYPES[precision]).contiguous(memory_format=LAYOUTS[layout]))
            return features_BF.float().cpu()

        for first in range(0, len(rows), BATCH):
            if self.leave():
                return
            some = rows[first : first + BATCH]
            shares = np.array_split(some, min(self.crew.size, len(some)))
            yield from (part for part in self.crew.each(look) if part is not None)
            progress.add(len(some))

    def _path(self, rows: NDArray[Any], precision: str) -> Path:
        """Name a shard by all that its features depend on."""
        spec = self.spec
        key = hashlib.sha256(
            f"{FORM} {self._weights} {spec.image_size} {spec.crop_share} {spec.interpolation} {spec.mean} {spec.std} {precision} {self.device.type}".encode()
        )
        if spec.fit != "crop":
            key.update(f"{spec.fit} {spec.input_hw} {getattr(self.backbone, 'shapes', '')}".encode())
        for row in rows:
            key.update(self.manifest["items"][row]["sha256"].encode())
        return workspace.cache("features") / f"{key.hexdigest()[:40]}.safetensors"


def _cached(path: Path) -> Tensor | None:
    """Read a shard; None where there is none, or a damaged one."""
    try:
        return safetensors.torch.load_file(path)["features"]
    except (SafetensorError, KeyError, OSError):
        return None


class _Rate:
    """Reports progress at most four times a second."""

    def __init__(self, emit: Callable[[Event], None], total: int) -> None:
        self._emit, self._total, self._done = emit, total, 0
        self._began = self._said = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if self._done >= self._total or now - self._said > _REPORT_S:
            self._said = now
            self._emit(Progress(done=self._done, total=self._total, rate=self._done / max(1e-6, now - self._began)))
