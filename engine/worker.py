"""One process, one run: holds the run's lock, waits for the device, does what is asked, has the last word.

    python -m engine.worker FOLDER [--lock FD]

It waits without torch, so that a waiting run costs next to nothing. The warm worker (`engine.zygote`) calls the
same `work` in a forked child. What is done for each kind of job is in `engine.jobs`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engine import devices, events, jobs, locks, runs, workspace
from engine.errors import StudioError
from engine.work import LastWord, Work

__all__ = ["JOBS", "Job", "main", "work"]

_RESERVE_BYTES = 65536
"""Room kept on the disk for the last word: a full disk must be able to say that it is full."""


@dataclass(frozen=True)
class Job:
    """One kind of work: the function that does it, and whether it must have the device to itself."""

    function: Callable[[Work], LastWord]
    on_device: bool


JOBS = {
    "train": Job(jobs.train, on_device=True),
    "estimate": Job(jobs.estimate, on_device=True),
    "import": Job(jobs.import_pictures, on_device=False),
    "look": Job(jobs.look, on_device=False),
    "export": Job(jobs.export, on_device=False),
    "data-export": Job(jobs.export_data, on_device=False),
    "download": Job(jobs.download, on_device=False),
    "check": Job(jobs.check, on_device=False),  # only a part of it needs the device, and waits for it there
    "suggest": Job(jobs.suggest, on_device=False),
    "propose": Job(jobs.propose, on_device=False),
    "xray": Job(jobs.xray, on_device=False),
}


def work(run: runs.Run, lock: IO[bytes]) -> int:
    """Do what a run or job asks, whose lock is held; return the process's exit code: 1 if it failed.

    This is the one place of the worker that catches everything: a fault of ours becomes a traceback in the log
    and a sentence in the events.
    """
    with lock, _reserve(run) as give_way:
        try:
            last_word = _answer(run)
        except StudioError as error:
            last_word = events.Ended(outcome="failed", problem=error.problem, remedy=error.remedy)
        except Exception as error:  # noqa: BLE001 (the worker's main is one of the two places)
            traceback.print_exc()
            problem, remedy = _sentence(error, run)
            last_word = events.Ended(outcome="failed", problem=problem, remedy=remedy)
        give_way()
        if last_word is not None:
            _say(run, last_word)
    return int(isinstance(last_word, events.Ended) and last_word.outcome == "failed")


def _answer(run: runs.Run) -> LastWord:
    job = Work(run, runs.request_of(run))
    signal.signal(signal.SIGTERM, lambda *_: setattr(job, "told_to_go", True))
    kind = JOBS.get(job.request["kind"])
    if kind is None:
        raise StudioError(f"no worker knows the job '{job.request['kind']}'", f"This Graft knows {', '.join(JOBS)}; it may be older than what asked.")
    if not kind.on_device:
        job.emit(events.Started(pid=os.getpid(), device="cpu"))
        return kind.function(job)
    job.device, job.step = devices.choose(jobs.device_wanted(job)), jobs.step_reached(job)
    job.emit(events.Queued(device=job.device))
    pressed = runs.pressed_of(run)
    device = devices.wait(job.device, name=run.id, since=pressed.get("t", 0.0), leave=job.should_stop)
    if device is None and not jobs.has_something_to_keep(job):
        return job.left()
    with device or contextlib.nullcontext():  # keeping what is there takes seconds: it need not wait for the device
        job.started = time.monotonic()
        job.emit(events.Started(pid=os.getpid(), device=job.device, step=job.step, attempt=pressed.get("attempt", 1)))
        return kind.function(job)


def _sentence(error: Exception, run: runs.Run) -> tuple[str, str]:
    """Say a fault that is not the user's in two sentences, as far as it is known."""
    short = " ".join(str(error).split())[:160]
    known = "".join(traceback.format_exception(error))
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in known or "disk is full" in known:
        full_disk = workspace.disk_error(OSError(errno.ENOSPC, ""), run.path("checkpoint"))
        assert isinstance(full_disk, StudioError)
        return "the disk is full", full_disk.remedy
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in short or "not enough memory" in short:
        return "the machine ran out of memory", "Choose a smaller batch, smaller pictures or a smaller backbone, or close other programs, then press Resume."
    return f"something in Graft went wrong: {type(error).__name__}: {short}", "The run's log says where. What was saved is safe: Resume goes on from there."


def _say(run: runs.Run, last_word: events.Event) -> None:
    """Append the last word. Where even that does not fit, the run reads interrupted, which is true."""
    try:
        events.append(run.events_path, last_word)
    except OSError:
        traceback.print_exc()


@contextlib.contextmanager
def _reserve(run: runs.Run) -> Iterator[Callable[[], None]]:
    """Keep a little room on the disk; what is given gives it back."""
    path = run.path(".reserve")
    with contextlib.suppress(OSError):
        path.write_bytes(os.urandom(_RESERVE_BYTES))  # random: some file systems store zeros as nothing

    def give_way() -> None:
        path.unlink(missing_ok=True)

    try:
        yield give_way
    finally:
        give_way()


def main(arguments: list[str] | None = None) -> int:
    """Take over a run from the launcher, or by hand, and work on it."""
    parser = argparse.ArgumentParser(prog="python -m engine.worker", description="Work on one run or job.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lock", type=int, default=None, help="file descriptor of the run's lock, already held")
    given = parser.parse_args(arguments)
    run = runs.Run(given.folder.absolute())
    lock = locks.adopt(given.lock) if given.lock is not None else locks.hold(run.path("lock"), blocking=False)
    if lock is None:
        sys.stderr.write(f"{run.id} is being worked on already\n")
        return 2
    return work(run, lock)


if __name__ == "__main__":
    sys.exit(main())
