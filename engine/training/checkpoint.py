"""Saves training so that a kill at any moment loses at most half a minute, and nothing that was once the best.

A checkpoint is one safetensors file: tensors, and in its metadata the position as JSON and a checksum over both. The one before is
kept beside it (`last.1.safetensors`) for the day the newer one turns out to be damaged. `last.json` repeats the position for readers.
Files are written by a thread, from copies, while training goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from engine import workspace

__all__ = ["Keeper", "copied", "load", "pack", "save", "unpack"]


def _checksum(tensors: Mapping[str, Tensor], position: str) -> str:
    found = hashlib.sha256(position.encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def save(path: Path, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
    """Replace the checkpoint at `path`, keeping the one before.

    Raises:
        StudioError: if the disk is full; the old checkpoint is then untouched.
    """
    content = {name: tensor.contiguous() for name, tensor in tensors.items()}
    text = json.dumps(position, allow_nan=False)
    metadata = {"position": text, "sha256": _checksum(content, text)}
    with workspace.replacing(path) as beside:
        beside.write_bytes(safetensors.torch.save(content, metadata))
        with contextlib.suppress(FileNotFoundError):
            path.replace(_before(path))
    workspace.write_json(path.with_suffix(".json"), position)


def _before(path: Path) -> Path:
    return path.with_name(f"{path.stem}.1{path.suffix}")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read one checkpoint; None if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = safetensors.torch.load_file(path)
        if metadata["sha256"] != _checksum(tensors, metadata["position"]):
            return None
        return tensors, json.loads(metadata["position"])
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError):
        return None


def load(path: Path) -> tuple[dict[str, Tensor] | None, dict[str, Any], bool]:
    """Read the newest sound checkpoint.

    Returns:
        Its tensors (None where there is no sound one), its position, and whether a newer one was found damaged.
    """
    damaged = False
    for candidate in (path, _before(path)):
        if not candidate.exists():
            continue
        found = _read(candidate)
        if found is not None:
            return *found, damaged
        damaged = True
    return None, {}, damaged


def pack(network: nn.Module, optimizer: torch.optim.Optimizer, average: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Copy all that training changes into one flat table of tensors on the CPU."""
    found = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    found.update({f"average.{name}": tensor for name, tensor in (average or {}).items()})
    for number, state in optimizer.state_dict()["state"].items():
        found.update({f"optimizer.{number}.{name}": value for name, value in state.items() if isinstance(value, Tensor)})
    return {name: copied(tensor) for name, tensor in found.items()}


def copied(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU, made by the thread that trains.

    Were it made contiguous by the thread that writes, that thread would keep a team of OpenMP threads of its own; with more of them than cores
    none spins any more while it waits, and training itself took up to a fifth longer (MobileNetV3-small, 2 cores).
    """
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def unpack(tensors: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None) -> None:
    """Put a packed table back. Memory layouts stay as they are, which the fused optimisers rely on."""
    network.load_state_dict(_below(tensors, "model."))
    for name, tensor in _below(tensors, "average.").items():
        if average is not None:
            average[name].copy_(tensor)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, tensor in _below(tensors, "optimizer.").items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        like = parameter if tensor.shape == parameter.shape and tensor.ndim else tensor.to(parameter.device)
        optimizer.state[parameter][name] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class Keeper:
    """Writes files in order, one after the other, in a thread. An error shows at the next call, or when it is closed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown(wait=True)

    def put(self, write: Callable[..., None], *arguments: Any) -> None:
        """Have something written; waits only if two writes are pending already.

        Raises:
            StudioError: if an earlier write failed.
        """
        while len(self._pending) >= 2 or (self._pending and self._pending[0].done()):
            self._pending.pop(0).result()
        self._pending.append(self._pool.submit(write, *arguments))

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            StudioError: if a write failed.
        """
        while self._pending:
            self._pending.pop(0).result()
