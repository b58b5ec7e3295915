"""The X-ray as a job: looked at in a worker process, its result read by the page. Torch comes in inside the function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import events
from engine.models.own_onnx.dropped import Choices, file_of

__all__ = ["run_xray"]


def run_xray(request: Mapping[str, Any], emit: Callable[[events.Event], None], should_stop: Callable[[], bool]) -> dict[str, Any] | None:
    """X-ray the file that a job's request names, or try choices on it.

    Args:
        request: {"path": the dropped file}; with "choices" too (see `dropped.Choices`), only they are tried.

    Returns:
        The X-ray (see `engine.models.own_onnx.xray`), or what `start.try_choices` says; None if asked to stop.

    Raises:
        StudioError: if the file is refused.
    """
    from engine.models.own_onnx.library import looked_at
    from engine.models.own_onnx.xray import xray

    def report(_words: str, share: float) -> None:
        if should_stop():
            raise _StopError
        emit(events.Progress(done=round(100 * share), total=100))

    path = Path(str(request["path"]))
    with _bounded_memory(looked_at(file_of(path))):
        if "choices" in request:
            from engine.models.own_onnx.start import try_choices

            return try_choices(path, Choices.from_json(request["choices"]))
        try:
            return xray(path, checked=True, report=report)
        except _StopError:
            return None


@contextmanager
def _bounded_memory(held: int) -> Iterator[None]:
    """Keep a file that asks for all of the machine from taking it: meanwhile this process may grow by eight times the file's bytes, at least 6 GB.

    Files that are mapped count as well, a large network's weights once for each form it is looked at in.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    import psutil

    grown = psutil.Process().memory_info().vms + max(6 << 30, 8 * held)
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or grown < hard:
        resource.setrlimit(resource.RLIMIT_AS, (grown, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


class _StopError(Exception):
    """The user does not want to know any more."""
