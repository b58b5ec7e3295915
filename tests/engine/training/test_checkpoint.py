"""Checkpoints: whole or not at all, and one to fall back on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from engine.errors import StudioError
from engine.training import checkpoint


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model.a": torch.full((3, 4), value), "optimizer.0.step": torch.tensor(value)}


def test_what_is_saved_is_loaded(tmp_path):
    checkpoint.save(tmp_path / "last.safetensors", tensors(1), {"step": 7})
    found, position, damaged = checkpoint.load(tmp_path / "last.safetensors")
    assert (position, damaged) == ({"step": 7}, False)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors(1).items())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)


def flip_position(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'\\"step\\": 2', b'\\"step\\": 3'))


@pytest.mark.parametrize("harm", [truncate, flip, flip_position, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_file_gives_way_to_the_one_before(tmp_path, harm):
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, tensors(1), {"step": 1})
    checkpoint.save(path, tensors(2), {"step": 2})
    before = path.read_bytes()
    harm(path)
    assert not path.exists() or path.read_bytes() != before
    found, position, damaged = checkpoint.load(path)
    assert position == {"step": 1}
    assert float(found["model.a"][0, 0]) == 1
    assert damaged is (harm is not Path.unlink)


def test_two_damaged_files_are_no_checkpoint(tmp_path):
    path = tmp_path / "last.safetensors"
    for step in (1, 2):
        checkpoint.save(path, tensors(step), {"step": step})
    flip(path)
    flip(tmp_path / "last.1.safetensors")
    assert checkpoint.load(path) == (None, {}, True)


@pytest.mark.parametrize("make", [lambda p: torch.optim.AdamW(p, fused=True), lambda p: torch.optim.SGD(p, momentum=0.9), torch.optim.RMSprop])
def test_an_optimiser_goes_on_as_if_nothing_had_happened(make):
    def network() -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)

    def step(module: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        optimizer.zero_grad()
        module(torch.randn(2, 3, 8, 8)).square().sum().backward()
        optimizer.step()

    one, two = network(), network()
    first, second = make(one.parameters()), make(two.parameters())
    step(one, first, 1)
    packed = checkpoint.pack(one, first, None)
    step(one, first, 2)
    checkpoint.unpack(packed, two, second, None)
    step(two, second, 2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_the_keeper_writes_in_order_and_tells_of_faults():
    gate, written = threading.Event(), []

    def slow(value: int) -> None:
        gate.wait(5)
        written.append(value)

    with checkpoint.Keeper() as keeper:
        keeper.put(slow, 1)
        keeper.put(written.append, 2)
        assert written == []
        gate.set()
    assert written == [1, 2]

    def full() -> None:
        raise StudioError("the disk is full", "Free some space.")

    with pytest.raises(StudioError, match="disk is full"), checkpoint.Keeper() as keeper:
        keeper.put(full)
