"""Whether a measurement had the machine to itself: how much of the processors' time other processes took meanwhile.

Where the system does not tell (other than Linux), every measurement counts as undisturbed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

__all__ = ["DISTURBED", "Others", "undisturbed_median"]

DISTURBED = 0.08
"""Processors (1 = one whole core) that others may take before a measurement is passed over."""
_IDLE, _WAITING = 3, 4


def _busy_s() -> float:
    """Return the seconds that all processors together have been busy since the system began."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    columns = [int(word) for word in path.read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(columns) - columns[_IDLE] - columns[_WAITING]) / float(os.sysconf("SC_CLK_TCK"))


class Others:
    """Tells how many processors' worth of time others took since it was last asked. This process's children that have ended count as its own."""

    def __init__(self) -> None:
        self._last = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), _busy_s(), sum(os.times()[:4])

    def took(self) -> float:
        """Return processors taken by others since the last call: 0 none, 1 one whole core."""
        before, self._last = self._last, self._now()
        wall, busy, own = (now - then for now, then in zip(self._last, before, strict=True))
        return max(0.0, (busy - own) / max(wall, 1e-6)) if busy else 0.0


def undisturbed_median(values: Sequence[float], others: Sequence[float], fewest: int = 2) -> tuple[float, int]:
    """Return the median of the values that nobody disturbed, and how many they are; of the `fewest` least disturbed where they are too few."""
    ranked = sorted(zip(others, values, strict=True))
    kept = [value for took, value in ranked if took <= DISTURBED]
    return median(kept or [value for _, value in ranked[:fewest]]), len(kept)
