"""Who may compute where, and when. The queue of a device is its lock: there is no scheduler to crash.

A waiting run holds a ticket: a file of its own, locked, whose name begins with the time of its press. The oldest
live ticket is next; a ticket whose process has died is free, and is swept away by whoever looks. Nothing here
imports torch, so a waiting run costs next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from engine import locks, workspace
from engine.errors import StudioError

__all__ = ["choose", "wait"]

POLL_S = 0.1
"""How often a waiting run looks whether its turn has come, or whether it is to leave."""


def choose(wanted: str) -> str:
    """Return the device a recipe's `device` setting means on this machine: 'cpu', 'cuda:0', 'mps' ...

    Raises:
        StudioError: if there is no such device.
    """
    named = re.fullmatch(r"auto|cpu|mps|cuda(?::(\d{1,3}))?", wanted)
    if named is None:
        raise StudioError(f"there is no device '{wanted}'", "Choose auto, cpu, cuda:0 or mps.")
    gpus = _nvidia_gpus()
    if wanted.startswith("cuda"):
        if int(named[1] or 0) >= gpus:
            has = f"has {gpus} that Graft can use" if gpus else "has none that Graft can use"
            raise StudioError(f"there is no NVIDIA GPU '{wanted}': this machine {has}", "Choose auto, which takes what is there, or cpu.")
        return f"cuda:{int(named[1] or 0)}"
    if wanted == "auto":
        return "cuda:0" if gpus else "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"
    return wanted


def _nvidia_gpus() -> int:
    """Count the NVIDIA GPUs this process may use, without torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    if sys.platform == "darwin" or (sys.platform == "linux" and not Path("/proc/driver/nvidia/version").exists() and not Path("/dev/dxg").exists()):
        return 0
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    return min(count, len(visible.split(","))) if visible else count


def wait(device: str, *, name: str, since: float, leave: Callable[[], bool]) -> IO[bytes] | None:
    """Wait for a device's lock, oldest first, and hold it until the returned file is closed.

    Args:
        device: as `choose` returns it.
        name: whose ticket it is; unique among the waiting.
        since: when it began to wait, in seconds since the epoch; only its order counts.
        leave: asked ten times a second; True gives up.

    Returns:
        The open lock, or None if `leave` said so.
    """
    folder = workspace.locks_folder()
    stem = device.replace(":", "-")
    tickets = folder / f"{stem}.queue"
    mine = tickets / f"{int(since * 1000):015d}-{name}"
    ticket = locks.hold(mine)
    assert ticket is not None
    with ticket:
        while _someone_before(mine) or (lock := locks.hold(folder / f"{stem}.lock", blocking=False)) is None:
            if leave():
                lock = None
                break
            time.sleep(POLL_S)
        mine.unlink(missing_ok=True)
    return lock


def _someone_before(mine: Path) -> bool:
    """Tell whether an older ticket's process lives; sweep those that do not."""
    for other in sorted(mine.parent.iterdir()):
        if other.name >= mine.name:
            return False
        if locks.is_held(other):
            return True
        with contextlib.suppress(FileNotFoundError):
            other.unlink()
    return False
