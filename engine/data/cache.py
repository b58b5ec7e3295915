"""Decode once: a version's pictures as one uint8 memory map, so that later epochs never touch a JPEG.

Each picture is kept as the square from whose centre the model's input is cut (see `engine.data.images.stored_square`): evaluation
takes that centre and gets exactly what `for_model` gives; training cuts random crops from the whole square. Where a model sees pictures
whole (`engine.data.geometry`), its input itself is kept.

A set can be used while background threads still fill it (`filling`). Beside a GPU they decode all the time. Beside a computation on these same
cores they decode only while somebody waits for pictures: a thread that decodes during a step holds the whole step up.

Files are named by their content: cache/decoded/<form>-<hash>.u8 holds the pixels, the .json beside it is written last and says
which pictures they are. Everything here may be deleted at any time.

Legend: N pictures, H x W pixels stored (a square of store_px where the centre is looked at), C = 3.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from engine import workspace
from engine.data import decoding, geometry, images, versions
from engine.errors import StudioError

__all__ = ["FORM", "DecodedSet", "decoded", "filling"]

LIMIT_BYTES = 40 * 2**30
"""The oldest sets are removed when all of them together take more than this."""

FORM = 2
"""Raised when the same file decodes to other pixels."""

_DONORS = 3
_FREE, _CLAIMED, _READY = 0, 1, 2


class DecodedSet:
    """The pictures of one version, decoded or being decoded.

    Attributes:
        images_NHWC: uint8 memory map; a row holds pixels once `wait` has returned for it.
        labels_N: int64, the class index of each row; -1 where labels are drawn.
        item_ids_N: int64, the item of each row. Rows stand in the manifest's order.
        rows: the row numbers (int64) of each split: 'train', 'val', 'test'.
        input_hw: height and width, in pixels, of the model's input.
        store_px: height, in pixels, of what is stored: the side of a square; aspect: its width over its height.
        content_N2: the share of the stored width and height that each picture fills: 1 but where pictures are shown whole.
    """

    def __init__(self, manifest: Mapping[str, Any], preprocessing: Mapping[str, Any], pixels: np.ndarray, filler: _Filler | None) -> None:
        entries = manifest["items"]
        splits = np.array([entry["split"] for entry in entries])
        self.images_NHWC = pixels
        self.labels_N = np.array([entry.get("label", -1) for entry in entries], dtype=np.int64)
        self.item_ids_N = np.array([entry["id"] for entry in entries], dtype=np.int64)
        self.rows: dict[str, np.ndarray] = {name: np.flatnonzero(splits == name) for name in ("train", "val", "test")}
        whole = images.fit_of(preprocessing) == "whole"
        self.input_hw = images.stored_hw(preprocessing) if whole else (int(preprocessing["image_size"]),) * 2
        self.store_px = int(pixels.shape[1])
        self.aspect = pixels.shape[2] / pixels.shape[1]
        self.content_N2 = np.ones((len(entries), 2))
        if whole:
            spots = [geometry.placed(entry["width"], entry["height"], self.input_hw) for entry in entries]
            self.content_N2 = np.array([(spot.content_width, spot.content_height) for spot in spots]).reshape(-1, 2) / self.input_hw[::-1]
        self._filler = filler

    def __len__(self) -> int:
        return len(self.images_NHWC)

    def __enter__(self) -> DecodedSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def done(self) -> int:
        """How many pictures are decoded."""
        return len(self) if self._filler is None else self._filler.done

    @property
    def complete(self) -> bool:
        """Whether all pictures are decoded."""
        return self.done == len(self)

    def wait(self, rows: Iterable[int] | None = None) -> None:
        """Return when these rows (or all) are decoded; the calling thread helps.

        Raises:
            StudioError: if a picture is gone, damaged, or no longer the one that was imported.
        """
        if self._filler is not None:
            self._filler.wait(range(len(self)) if rows is None else rows)

    def evaluation_view(self, rows: Any) -> np.ndarray:
        """Return the model's input of these rows: exactly what `for_model` gives. A copy, uint8 NHWC."""
        height, width = self.input_hw
        top, left = (self.images_NHWC.shape[1] - height) // 2, (self.images_NHWC.shape[2] - width) // 2
        return self.images_NHWC[rows, top : top + height, left : left + width]

    def close(self) -> None:
        """Stop filling. What was decoded of an incomplete set is dropped; a complete one stays on disk."""
        if self._filler is not None:
            self._filler.close()


class _Filler:
    """Threads that decode pictures into the map, and the one place that knows which rows are ready.

    Threads, since Pillow and hashlib let go of the interpreter's lock while they work.
    """

    def __init__(
        self, manifest: Mapping[str, Any], pixels: np.memmap, part: Path, path: Path, form: Mapping[str, Any], order: Iterable[int], threads: int, ahead: bool
    ) -> None:
        self._entries = manifest["items"]
        self._pixels, self._part, self._path = pixels, part, path
        self._form = form
        self._donors = _donors(path, pixels.shape[1:3], {entry["sha256"] for entry in self._entries})
        self._state = bytearray(len(self._entries))
        self._queue = itertools.chain(order, range(len(self._entries)))  # the second part catches what `order` leaves out
        self._changed = threading.Condition()
        self._closing = False
        self._ahead = ahead
        self._asked: deque[int] = deque()
        self.done = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._workers: list[Future[None]] = [self._pool.submit(self._work) for _ in range(threads)]
        for worker in self._workers:
            worker.add_done_callback(self._notify)

    def _notify(self, _worker: Future[None]) -> None:
        with self._changed:
            self._changed.notify_all()

    def _next(self) -> int | None:
        """Claim a row that is waited for, else any if they are decoded ahead. Sleeps where there is none; None at the end."""
        with self._changed:
            while not self._closing and self.done < len(self._entries):
                while self._asked:
                    if self._claimed(row := self._asked.popleft()):
                        return row
                if self._ahead:
                    return next((row for row in self._queue if self._claimed(row)), None)
                self._changed.wait()
        return None

    def _claimed(self, row: int) -> bool:
        """Claim a row, with the lock held; False if somebody has it."""
        if self._state[row] != _FREE:
            return False
        self._state[row] = _CLAIMED
        return True

    def _work(self) -> None:
        while (row := self._next()) is not None:
            self._fill(row)

    def _fill(self, row: int) -> None:
        entry = self._entries[row]
        donor = self._donors.get(entry["sha256"])
        try:
            self._pixels[row] = donor if donor is not None else _decode(entry, self._form)
        except StudioError:
            with self._changed:
                self._state[row] = _FREE  # whoever waits for it next tries again, and is told too
            raise
        with self._changed:
            self._state[row] = _READY
            self.done += 1
            if self.done == len(self._entries):
                self._pool.submit(self._finish)  # flushing takes its time, and who waits for pixels need not wait for that
            self._changed.notify_all()

    def wait(self, rows: Iterable[int]) -> None:
        wanted = [int(row) for row in rows if self._state[row] != _READY]
        with self._changed:
            self._asked.extend(wanted)
            self._changed.notify_all()
        for row in wanted:
            with self._changed:
                mine = self._claimed(row)
            if mine:
                self._fill(row)
        with self._changed:
            while any(self._state[row] != _READY for row in wanted):
                for worker in self._workers:
                    if worker.done():
                        worker.result()  # raises what stopped it
                assert not self._closing, "waiting for a set that was closed"
                self._changed.wait(1.0)

    def _finish(self) -> None:
        self._pixels.flush()
        try:
            self._part.replace(self._path)
        except PermissionError:  # Windows cannot rename a mapped file: this set serves this run and is decoded again for the next
            return
        workspace.write_json(self._path.with_suffix(".json"), {"sha256": [entry["sha256"] for entry in self._entries]})

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._pool.shutdown(wait=True)
        self._part.unlink(missing_ok=True)


def _decode(entry: Mapping[str, Any], form: Mapping[str, Any]) -> np.ndarray:
    """Read one picture, make sure it is still the one that was imported, and bring it into its stored form."""
    path = versions.absolute(entry["path"])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StudioError(
            f"the picture {entry['name']} cannot be read from {path} ({error.strerror})", "Put it back, or remove it from the project."
        ) from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise StudioError(f"the picture {entry['name']} has changed since it was imported ({path})", "Put the old file back, or import it again.")
    return decoding.stored(content, form, entry["name"])


def _path_of(manifest: Mapping[str, Any], hw: tuple[int, int], form: Mapping[str, Any]) -> Path:
    shape = {"crop": f"{hw[0]}", "stretch": f"{hw[0]}s"}.get(images.fit_of(form), f"{hw[0]}x{hw[1]}")
    content = hashlib.sha256()
    for entry in manifest["items"]:
        content.update(bytes.fromhex(entry["sha256"]))
    return workspace.cache("decoded") / f"{shape}-{form['interpolation']}-{FORM}-{content.hexdigest()[:32]}.u8"


def _donors(path: Path, hw: tuple[int, int], wanted: set[str]) -> dict[str, np.ndarray]:
    """Find pictures that earlier sets of the same geometry hold already, so that adding ten pictures decodes ten."""
    geometry = path.name.rsplit("-", 1)[0]
    found: dict[str, np.ndarray] = {}
    known = sorted(path.parent.glob(f"{geometry}-*.json"), key=_age, reverse=True)
    for record in known[:_DONORS]:
        try:
            hashes = workspace.read_json(record)["sha256"]
            pixels = _mapped(record.with_suffix(".u8"), len(hashes), hw)
        except (StudioError, OSError, ValueError):  # removed meanwhile, or damaged: a donor is only a shortcut
            continue
        for row, sha256 in enumerate(hashes):
            if sha256 in wanted:
                found.setdefault(sha256, pixels[row])
    return found


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _mapped(path: Path, count: int, hw: tuple[int, int]) -> np.memmap:
    """Map a complete file. Copy-on-write: nobody can change the cache, and torch takes the array without a warning."""
    if path.stat().st_size != count * hw[0] * hw[1] * 3:
        raise ValueError(f"{path.name} has the wrong length")
    return np.memmap(path, np.uint8, "c", shape=(count, *hw, 3))


def _existing(path: Path, count: int, hw: tuple[int, int]) -> np.memmap | None:
    if not path.with_suffix(".json").exists():
        return None
    try:
        found = _mapped(path, count, hw)
    except (OSError, ValueError):
        return None
    os.utime(path.with_suffix(".json"))  # used just now: the last to be removed
    return found


def _make_room(folder: Path, needed: int) -> None:
    """Remove the oldest sets until the new one fits below LIMIT_BYTES and on the disk.

    Raises:
        StudioError: if it does not fit on the disk at all.
    """
    for part in folder.glob("*.part"):
        if time.time() - _age(part) > 86_400:  # left by a killed worker; a living one touches its file all the time
            part.unlink(missing_ok=True)
    sets = sorted(folder.glob("*.u8"), key=lambda path: _age(path.with_suffix(".json")))
    total = sum(path.stat().st_size for path in sets)
    while sets and (total + needed > LIMIT_BYTES or shutil.disk_usage(folder).free < needed):
        oldest = sets.pop(0)
        total -= oldest.stat().st_size
        oldest.with_suffix(".json").unlink(missing_ok=True)
        oldest.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StudioError(
            f"the disk is full: the decoded pictures need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            "Free some space, or choose a smaller picture size.",
        )


def _new_part(path: Path, needed: int) -> Path:
    """Make the file that is filled and then moved to `path`, all its space taken now: a full disk found later would kill the process."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}.part")
    try:
        with part.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, needed)
            else:
                file.truncate(needed)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise workspace.disk_error(error, path) from error
    return part


def filling(
    manifest: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    *,
    order: Iterable[int] | None = None,
    threads: int | None = None,
    ahead: bool = True,
) -> DecodedSet:
    """Return a version's pictures at once; threads decode those that no earlier set holds. Call `wait` before using rows.

    Args:
        manifest: a version, as `engine.data.versions.freeze` gives it.
        preprocessing: image_size, crop_share, interpolation, and fit, height, width of the model (see `engine.data.images.for_model`).
        order: rows in the order in which they will be needed; by default training, validation, test.
        threads: how many decode beside whoever waits; by default one a processor, and one less where they do not decode ahead.
        ahead: whether they decode while nobody waits. False where the caller computes on these cores itself.

    Raises:
        StudioError: if the disk is too full.
    """
    hw = images.stored_hw(preprocessing)
    count = len(manifest["items"])
    path = _path_of(manifest, hw, preprocessing)
    pixels = _existing(path, count, hw)
    if pixels is not None:
        return DecodedSet(manifest, preprocessing, pixels, None)
    needed = count * hw[0] * hw[1] * 3
    _make_room(path.parent, needed)
    part = _new_part(path, needed)
    fresh = np.memmap(part, np.uint8, "r+", shape=(count, *hw, 3))
    if order is None:
        places = {"train": 0, "val": 1, "test": 2}
        order = sorted(range(count), key=lambda row: places[manifest["items"][row]["split"]])
    threads = threads or max(1, _processors() - (not ahead))
    return DecodedSet(manifest, preprocessing, fresh, _Filler(manifest, fresh, part, path, preprocessing, order, threads, ahead))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded(
    manifest: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    *,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
    threads: int | None = None,
) -> DecodedSet:
    """Return a version's pictures, all decoded. `report` hears (done, total) several times a second.

    Where `should_stop` says so, an incomplete and closed set comes back: ask its `complete`.

    Raises:
        StudioError: if the disk is too full, or a picture is gone, damaged or changed.
    """
    found = filling(manifest, preprocessing, threads=threads)
    try:
        for start in range(0, len(found), 32):
            if should_stop():
                found.close()
                return found
            report(found.done, len(found))
            found.wait(range(start, min(start + 32, len(found))))
    except StudioError:
        found.close()
        raise
    report(found.done, len(found))
    return found
