"""Looking through pictures that are in a project already: each is decoded once, so that damage is found and its fingerprint known.

An import enters pictures by their headers, which is fast, and then calls `finish`. Where that was stopped or killed, whoever needs the
rest calls it first: a version, a split, a check, the next import. A picture has no split of Graft's choice before it was looked at, since
near copies of it may be elsewhere. One that turns out to be damaged is taken out again, as if the import had left it out; one whose file is
gone, or was changed since, stays: that is for the check to say.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import bindparam, delete, func, select, update

from engine import locks, workspace
from engine.data import arrivals, images, store
from engine.data.check import duplicates
from engine.errors import StudioError

__all__ = ["TakenOut", "finish", "forget", "left", "taken_out"]

_CHUNK = 32
"""Pictures that a thread takes at a time."""

_KEPT_EVERY_S = 1.0
"""How often what was seen is written down: a kill costs at most this much, and a label waits for the database no longer."""

_OURS = 900  # below the 999 variables that old SQLite builds take in one query


@dataclass(frozen=True, slots=True)
class TakenOut:
    """A damaged picture that is in its project no more. `problem` is a sentence that begins with its name."""

    sha256: str
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A picture that nobody has looked at."""

    id: int
    name: str
    path: str
    sha256: str


def left(project_id: str) -> int:
    """Count the pictures that are still to be looked at, or could not be because their files are gone."""
    table = store.items
    with store.session() as connection:
        query = select(func.count()).select_from(table).where(table.c.project_id == project_id, table.c.fingerprint.is_(None))
        return int(connection.scalar(query) or 0)


def finish(project_id: str, report: Callable[[int, int], None] = lambda *_: None, should_stop: Callable[[], bool] = lambda: False) -> list[TakenOut] | None:
    """Look at every picture of a project that nobody has looked at yet. A second process that wants the same waits for the first.

    Args:
        project_id: the project.
        report: hears (done, total) pictures.
        should_stop: asked between pictures.

    Returns:
        The pictures that were damaged and taken out; None if it was told to stop. What was seen until then is kept.
    """
    waiting = left(project_id)
    found: list[TakenOut] | None = []
    if waiting:
        report(0, waiting)
        with _alone(project_id, should_stop) as mine:
            found = _look(project_id, _waiting(project_id), report, should_stop) if mine else None
    if found is not None:
        arrivals.finish_unless_importing(project_id)
    return found


@contextmanager
def _alone(project_id: str, should_stop: Callable[[], bool]) -> Iterator[bool]:
    """Wait until no other process looks; give False if told to stop meanwhile."""
    while (lock := locks.hold(workspace.project_folder(project_id) / "look.lock", blocking=False)) is None:
        if should_stop():
            yield False
            return
        time.sleep(0.1)
    with lock:
        yield True


def _waiting(project_id: str) -> list[_Waiting]:
    table = store.items
    query = select(table.c.id, table.c.name, table.c.path, table.c.sha256).where(table.c.project_id == project_id, table.c.fingerprint.is_(None))
    with store.session() as connection:
        return [_Waiting(*row) for row in connection.execute(query.order_by(table.c.id))]


def _look(project_id: str, waiting: Sequence[_Waiting], report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> list[TakenOut] | None:
    arrivals.bring_all(project_id, should_stop)
    seen: dict[int, str] = {}
    damaged: dict[int, TakenOut] = {}
    out: list[TakenOut] = []
    done, kept = 0, time.monotonic()
    chunks = [waiting[start : start + _CHUNK] for start in range(0, len(waiting), _CHUNK)]
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)), thread_name_prefix="look") as pool:
        try:
            for some, (fingerprints, faults) in zip(chunks, pool.map(_seen, chunks), strict=True):
                seen.update(fingerprints)
                damaged.update(faults)
                done += len(some)
                if (stopping := should_stop()) or time.monotonic() - kept > _KEPT_EVERY_S or done == len(waiting):
                    _keep(project_id, seen, damaged)
                    out += damaged.values()
                    seen, damaged, kept = {}, {}, time.monotonic()
                if stopping:
                    return None
                report(done, len(waiting))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return out


def _seen(some: Sequence[_Waiting]) -> tuple[dict[int, str], dict[int, TakenOut]]:
    """Return the fingerprints of pictures, and those that are damaged; files that are gone are in neither."""
    greys: dict[int, Any] = {}
    damaged: dict[int, TakenOut] = {}
    for one in some:
        path = workspace.home() / one.path
        try:
            greys[one.id] = duplicates.grey(images.check_and_shade(path, duplicates.OPEN_PX, one.name)[1])
        except StudioError as error:
            if _is_as_imported(path, one.sha256):
                damaged[one.id] = TakenOut(one.sha256, one.name, error.problem)
    fingerprints = duplicates.fingerprints_of(np.stack(list(greys.values()))) if greys else []
    return dict(zip(greys, fingerprints, strict=True)), damaged


def _is_as_imported(path: Path, sha256: str) -> bool:
    """Tell whether a file is there with the very content that was imported: else its damage is not the import's to find."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _keep(project_id: str, seen: dict[int, str], damaged: dict[int, TakenOut]) -> None:
    """Write down what was seen. That is no edit: it follows from a picture's content, so the revision stays."""
    table = store.items
    if seen:
        with store.session() as connection:
            fresh = update(table).where(table.c.id == bindparam("item"), table.c.fingerprint.is_(None)).values(fingerprint=bindparam("found"))
            connection.execute(fresh, [{"item": one, "found": fingerprint} for one, fingerprint in seen.items()])
    ids = list(damaged)
    if ids:
        _tell(project_id, list(damaged.values()))
    for start in range(0, len(ids), _OURS):
        _take_out(ids[start : start + _OURS])


def _take_out(ids: Sequence[int]) -> None:
    table, marks = store.items, store.marks
    with store.session() as connection:
        paths = list(connection.scalars(select(table.c.path).where(table.c.id.in_(ids))))
        connection.execute(delete(marks).where(marks.c.item_id.in_(ids)))
        connection.execute(delete(table).where(table.c.id.in_(ids)))
    for path in paths:
        if not Path(path).is_absolute():  # a copy of ours
            (workspace.home() / path).unlink(missing_ok=True)


# ---------------------------------------------------------------- what was taken out


def _list(project_id: str) -> Path:
    return workspace.project_folder(project_id) / "taken-out.jsonl"


def _tell(project_id: str, damaged: Sequence[TakenOut]) -> None:
    """Remember what is taken out, before it is: whatever ends this process, nothing vanishes without a word."""
    with _list(project_id).open("a", encoding="utf-8") as file:
        file.writelines(f"\n{json.dumps(asdict(one))}\n" for one in damaged)  # a line that a kill cut must not spoil the next one
        file.flush()
        os.fsync(file.fileno())


def taken_out(project_id: str) -> list[TakenOut]:
    """Return the pictures that were taken out since the last import began, by whichever process."""
    try:
        lines = _list(project_id).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, TakenOut] = {}
    for line in lines:
        try:
            one = TakenOut(**json.loads(line))
        except (ValueError, TypeError):  # empty, or the last line of a process that was killed while writing it
            continue
        found[one.sha256] = one
    return list(found.values())


def forget(project_id: str) -> None:
    """Begin the list of `taken_out` anew."""
    _list(project_id).unlink(missing_ok=True)
