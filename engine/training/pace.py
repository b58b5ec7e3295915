"""Keeps training fast beside a busy neighbour, without changing what it computes.

Two threads that wait for each other at the end of every small operation lose most of their speed when another process takes one of their cores: one waits,
spinning, for the other, which waits for its turn. With fewer threads sums are added in another order, and the weights would depend on how busy the machine
was (measured: other last bits after three steps). So the number of threads stays, and only where they run changes: crowded onto the cores that are left,
they wait asleep and take turns. MobileNetV3-small on 2 cores beside one busy process: 0.20 of the idle speed spread out, 0.44 crowded.

`Pace` decides from the seconds of each step; `Crowd` does it (Linux only).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from statistics import median

import torch

__all__ = ["Crowd", "Pace"]

_THREADS = Path("/proc/self/task")


class Pace:
    """Tells from step times whether to crowd the threads. It tries what it does not know, and keeps what is faster.

    Attributes:
        crowded: whether the threads should be crowded now.
    """

    WINDOW = 5
    """Steps that a judgement is made from."""
    SLOWER = 1.4
    """A median step slower than the fastest known by this factor is worth a try."""
    GAIN = 0.9
    """A way of running is kept if its median step takes at most this share of the other's."""
    REST = 40
    """Steps after a try until the next; twice as many after each try in a row that gained nothing."""

    def __init__(self, usual_s: float | None = None) -> None:
        """Begin spread out. `usual_s` is what a step took in the dry run, where that is known."""
        self.crowded = False
        self._usual = usual_s
        self._before: float | None = None
        self._recent: deque[float] = deque(maxlen=self.WINDOW)
        self._rest, self._next_rest = 0, self.REST

    def heard(self, seconds: float) -> bool:
        """Take in how long a step took; return whether to crowd the threads for the next one."""
        self._recent.append(seconds)
        if len(self._recent) < self.WINDOW:
            return self.crowded
        now = median(self._recent)
        if self._before is not None:
            self._judge(now, self._before)
        elif self._rest > 0:
            self._rest -= 1
        elif self.crowded or (self._usual is not None and now > self._usual * self.SLOWER):
            self._try(now)
        if not self.crowded:
            self._usual = min(now, self._usual or now)
        return self.crowded

    def _try(self, now: float) -> None:
        """Change over, to see."""
        self._before, self.crowded = now, not self.crowded
        self._recent.clear()

    def _judge(self, now: float, before: float) -> None:
        """Stay, or go back to how it was before."""
        gained = now <= before * self.GAIN
        if not gained:
            self.crowded = not self.crowded
        self._next_rest = self.REST if gained else self._next_rest * 2
        self._before, self._rest = None, self._next_rest
        self._recent.clear()


class Crowd:
    """Crowds this process's threads onto all of its cores but one, or lets them spread out again. Does nothing where the system cannot."""

    def __init__(self) -> None:
        self.possible = hasattr(os, "sched_setaffinity") and _THREADS.is_dir() and torch.get_num_threads() > 1
        self._all = os.sched_getaffinity(0) if self.possible else set()
        self.possible = self.possible and 1 < len(self._all) <= torch.get_num_threads()
        self._sleeper: _Sleeper | None = None

    def arrange(self, crowded: bool) -> None:
        """Crowd, or spread out."""
        if not self.possible or crowded is (self._sleeper is not None):
            return
        if crowded:
            self._sleeper = _Sleeper()
            self._run_on(set(sorted(self._all)[:-1]))
        else:
            self._run_on(self._all)
            assert self._sleeper is not None
            self._sleeper.end()
            self._sleeper = None

    def _run_on(self, cores: set[int]) -> None:
        for thread in _THREADS.iterdir():
            try:
                os.sched_setaffinity(int(thread.name), cores)
            except ProcessLookupError:  # it ended meanwhile
                continue


class _Sleeper(threading.Thread):
    """Holds idle OpenMP threads. While there are more of them than cores, GNU OpenMP waits asleep rather than spinning, which no call can ask for."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="sleeper")
        self._ready, self._over = threading.Event(), threading.Event()
        self.start()
        self._ready.wait()

    def run(self) -> None:
        """Make a team of threads and let it lie."""
        torch.ones(2**20).add_(1.0)  # as many as torch is set to; torch.set_num_threads here would change them for MKL everywhere
        self._ready.set()
        self._over.wait()

    def end(self) -> None:
        """Let the team go."""
        self._over.set()
        self.join()
