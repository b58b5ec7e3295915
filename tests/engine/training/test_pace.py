"""When threads are crowded is decided from numbers alone; that crowding changes no bit is seen in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from engine.training.pace import Pace

IDLE, BESIDE, CROWDED = 0.16, 0.83, 0.37
"""Seconds of a step: alone, beside a busy neighbour, and beside one with the threads crowded (measured)."""


def _told(pace: Pace, steps: int, seconds: Callable[[bool], float]) -> list[bool]:
    """Let it hear steps that take what `seconds(crowded)` says; return what it decided after each."""
    return [pace.heard(seconds(pace.crowded)) for _ in range(steps)]


def _beside(crowded: bool) -> float:
    return CROWDED if crowded else BESIDE


def _alone(crowded: bool) -> float:
    return 2 * IDLE if crowded else IDLE


def test_an_idle_machine_is_left_alone() -> None:
    assert not any(_told(Pace(), 500, _alone))
    assert not any(_told(Pace(IDLE), 500, _alone))


def test_beside_a_neighbour_the_threads_crowd_and_spread_out_when_it_has_gone() -> None:
    pace = Pace()
    _told(pace, 20, _alone)
    decided = _told(pace, 300, _beside)
    assert decided[2 * Pace.WINDOW]
    assert sum(decided) > 0.8 * len(decided)
    decided = _told(pace, 300, _alone)
    assert not decided[-1]
    assert sum(decided) <= Pace.REST + 2 * Pace.WINDOW


def test_a_neighbour_that_was_there_first_is_known_by_the_dry_run() -> None:
    assert _told(Pace(IDLE), 100, _beside)[-1]
    assert not any(_told(Pace(), 100, _beside))  # without one nothing tells it from a slow machine


def test_what_gains_nothing_is_given_up_and_tried_ever_more_rarely() -> None:
    pace = Pace(IDLE)
    decided = _told(pace, 2000, lambda crowded: BESIDE)
    tries = [step for step in range(1, len(decided)) if decided[step] and not decided[step - 1]]
    gaps = [later - earlier for earlier, later in zip(tries, tries[1:], strict=False)]
    assert len(tries) >= 3
    assert all(later > earlier * 1.5 for earlier, later in zip(gaps, gaps[1:], strict=False))
    assert sum(decided) == len(tries) * Pace.WINDOW


def test_one_slow_step_is_no_neighbour() -> None:
    pace = Pace(IDLE)
    assert not any(_told(pace, 3, _alone) + _told(pace, 2, lambda _: 9.0) + _told(pace, 50, _alone))


STEPS = """
import hashlib, os, torch
from engine.training.pace import Crowd
torch.set_num_threads(len(os.sched_getaffinity(0)))
cores = os.sched_getaffinity(0)
def weights(crowds):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3), torch.nn.Flatten(), torch.nn.Linear(32 * 28 * 28, 10))
    optimizer, crowd = torch.optim.AdamW(network.parameters(), fused=True), Crowd()
    images = torch.randn(16, 3, 32, 32)
    for crowded in crowds:
        crowd.arrange(crowded)
        assert (os.sched_getaffinity(0) < cores) is crowded, crowded
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()
    crowd.arrange(False)
    assert os.sched_getaffinity(0) == cores
    return hashlib.sha256(b"".join(parameter.detach().numpy().tobytes() for parameter in network.parameters())).hexdigest()
print(weights([False] * 6) == weights([False, True, True, False, True, False]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="threads can be crowded on Linux with two cores")
def test_crowding_moves_threads_and_changes_no_bit() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stderr
