"""Entering pictures in a thread of its own while others are still read: the database works where Python need not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue

from engine.data import store
from engine.data.entering import BATCH, Entered, Entry, Mapping_
from engine.data.fitting import Fit
from engine.data.formats import DataSet
from engine.data.reading import Taken

__all__ = ["Alongside"]

_AHEAD_S = 1.0
"""How long before the last picture is read, as it seems, entering begins."""

_PATIENCE_S = 3.0
"""How long a transaction waits for the next pictures. Whoever else wants to write waits for `store.BUSY_MS`, far longer."""


class _StalledError(Exception):
    """Pictures came too slowly for everybody else to wait for them."""


class Alongside:
    """Enters the pictures it is given, in one transaction.

    As long as a transaction is open nobody else can write. So it is begun when the rest should be read within a second; and if pictures stop
    coming after all, it is taken back, and all are entered at the end.
    """

    def __init__(self, project_id: str, data: DataSet, fit: Fit, mapping: Mapping_) -> None:
        self.taken: list[Taken] = []
        self._what = project_id, data, fit, mapping
        self._began = time.monotonic()
        self._given = 0
        self._batches: SimpleQueue[list[Taken] | None] = SimpleQueue()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="enter")
        self._work: Future[Entered | None] | None = None

    def __enter__(self) -> Alongside:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.put(None)  # without `end` this takes all back
        self._pool.shutdown()

    def take(self, some: Sequence[Taken], done: int, total: int) -> None:
        """Take pictures over, when `done` of `total` were read.

        Raises:
            StudioError: if the database could not be written.
        """
        self.taken += some
        if len(self.taken) - self._given < BATCH:
            return
        if self._work is None and (time.monotonic() - self._began) * (total - done) <= _AHEAD_S * done:
            self._work = self._pool.submit(self._while_read)
        if self._work is not None:
            if self._work.done():
                self._work.result()
            self._give()

    def _give(self) -> None:
        self._batches.put(self.taken[self._given :])
        self._given = len(self.taken)

    def end(self) -> Entered:
        """Say that all were taken, and return what came into the database. All of it is kept then.

        Raises:
            StudioError: if the database could not be written; nothing was entered then.
        """
        entered = None
        if self._work is not None:
            self._give()
            self._batches.put([])
            entered = self._work.result()
        return entered or self._entered([self.taken])

    def _while_read(self) -> Entered | None:
        """Enter what comes until an empty batch, and return None if that takes too long."""
        try:
            return self._entered(self._coming())
        except _StalledError:
            return None

    def _coming(self) -> Iterator[list[Taken]]:
        while True:
            try:
                batch = self._batches.get(timeout=_PATIENCE_S)
            except Empty:
                raise _StalledError from None
            if batch is None:
                raise _StalledError
            if not batch:
                return
            yield batch

    def _entered(self, batches: Iterable[Sequence[Taken]]) -> Entered:
        with store.session() as connection:
            entry = Entry(connection, *self._what)
            for batch in batches:
                entry.add(batch)
            return entry.end()
