"""Looks at every picture once: is the file there, whole and what was imported, and how does it look: fingerprint, brightness, sharpness.

What was seen is kept (cache/check/PROJECT-looks.npz) with the file's size and time, so that looking again costs nothing for files that did
not change. Fingerprints also go to the database, where splits use them.
"""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import bindparam, update

from engine import workspace
from engine.data import images, store
from engine.data.check import duplicates
from engine.data.check.facts import Facts, Picture
from engine.errors import StudioError

__all__ = ["Look", "look_at"]

_FORM = 1  # raise it when the same file would be measured differently
_SIDE_PX = 128
_BLOCK = 1 << 20
_SAVED_EVERY_S = 20.0
_STATS = ("mean", "contrast", "light", "sharpness")


@dataclass(frozen=True)
class Look:
    """How one picture looks.

    Attributes:
        fingerprint: see `duplicates.fingerprint`.
        grey_SS: see `duplicates.grey`.
        mean: grey value, 0..255.
        contrast: standard deviation of the grey values.
        light: the grey value that 95% of the pixels are below.
        sharpness: variance of the Laplacian over the variance of the grey values, at a short side of 128 pixels at most, as its decimal logarithm.
    """

    fingerprint: str
    grey_SS: NDArray[np.uint8]
    mean: float
    contrast: float
    light: float
    sharpness: float


@dataclass(frozen=True)
class _Seen:
    """A look, and the file it was taken of."""

    size: int
    mtime_ns: int
    look: Look


def _measured(picture: Image.Image) -> Look:
    """Look at a picture in grey."""
    small_SS = duplicates.grey(picture)
    share = min(1.0, _SIDE_PX / min(picture.size))
    size = max(3, round(picture.width * share)), max(3, round(picture.height * share))
    grey_HW = np.asarray(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0), np.float32)
    inner_HW = grey_HW[1:-1, 1:-1]
    laplace_HW = 4 * inner_HW - grey_HW[:-2, 1:-1] - grey_HW[2:, 1:-1] - grey_HW[1:-1, :-2] - grey_HW[1:-1, 2:]
    sharpness = np.log10(float(laplace_HW.var()) / (float(grey_HW.var()) + 1.0) + 1e-6)
    light = float(np.percentile(grey_HW, 95))
    return Look(duplicates.fingerprint_of(small_SS), small_SS, float(grey_HW.mean()), float(grey_HW.std()), light, float(sharpness))


def _sha256(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
    return content.hexdigest()


def _look(picture: Picture, known: _Seen | None) -> _Seen | str:
    """Look at one file; return what is wrong with it in words where it cannot be used."""
    try:
        found = picture.path.stat()
        if known is not None and (known.size, known.mtime_ns) == (found.st_size, found.st_mtime_ns):
            return known
        changed = _sha256(picture.path) != picture.sha256
        look = _measured(images.check_and_shade(picture.path, duplicates.OPEN_PX, "the file")[1])
    except FileNotFoundError:
        return "the file is gone"
    except OSError as error:
        return f"the file cannot be read ({error.strerror or type(error).__name__})"
    except StudioError as error:
        return error.problem
    return "the file was changed since the import" if changed else _Seen(found.st_size, found.st_mtime_ns, look)


def look_at(
    facts: Facts, report: Callable[[int, int], None] = lambda *_: None, should_stop: Callable[[], bool] = lambda: False
) -> tuple[dict[int, Look], dict[int, str]] | None:
    """Look at every picture of a project.

    Returns:
        How each readable picture looks, and what is wrong with each other one; None if told to stop (what was seen is kept).
    """
    path = workspace.cache("check") / f"{facts.project_id}-looks.npz"
    known = _load(path)
    seen: dict[str, _Seen] = {}
    looks: dict[int, Look] = {}
    faults: dict[int, str] = {}
    saved = time.monotonic()
    pictures = list(facts.pictures.values())
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)), thread_name_prefix="look") as pool:
        done = 0
        for some in _batches(pictures, 64):
            for picture, result in zip(some, pool.map(lambda one: _look(one, known.get(one.sha256)), some), strict=True):
                if isinstance(result, str):
                    faults[picture.id] = result
                else:
                    seen[picture.sha256] = result
                    looks[picture.id] = result.look
            done += len(some)
            report(done, len(pictures))
            stopping = should_stop()
            if stopping or time.monotonic() - saved > _SAVED_EVERY_S:
                _save(path, {**known, **seen})
                saved = time.monotonic()
            if stopping:
                return None
    _save(path, seen)
    _keep_fingerprints(facts, looks)
    return looks, faults


def _batches(pictures: list[Picture], size: int) -> list[list[Picture]]:
    return [pictures[start : start + size] for start in range(0, len(pictures), size)]


def _keep_fingerprints(facts: Facts, looks: Mapping[int, Look]) -> None:
    """Write fingerprints that are new to the database. That is no edit: it follows from the picture's content."""
    fresh = [{"item": one, "found": look.fingerprint} for one, look in looks.items() if facts.pictures[one].fingerprint != look.fingerprint]
    if fresh:
        with store.session() as connection:
            connection.execute(update(store.items).where(store.items.c.id == bindparam("item")).values(fingerprint=bindparam("found")), fresh)


def _save(path: Path, seen: Mapping[str, _Seen]) -> None:
    rows = list(seen.values())
    with workspace.replacing(path) as beside, beside.open("wb") as file:
        np.savez(
            file,
            form=np.array(_FORM),
            names=np.frombuffer(b"".join(bytes.fromhex(sha256) for sha256 in seen), np.uint8).reshape(-1, 32),
            files=np.array([(row.size, row.mtime_ns) for row in rows], np.int64).reshape(-1, 2),
            fingerprints=np.array([int(row.look.fingerprint, 16) for row in rows], np.uint64),
            grey=np.array([row.look.grey_SS for row in rows], np.uint8).reshape(-1, duplicates.GREY_PX, duplicates.GREY_PX),
            stats=np.array([[getattr(row.look, name) for name in _STATS] for row in rows], np.float32).reshape(-1, len(_STATS)),
        )


def _load(path: Path) -> dict[str, _Seen]:
    """Read what was seen before; nothing where there is none, or it is damaged or of another form."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["form"]) != _FORM:
                return {}
            columns = [file[name] for name in ("names", "files", "fingerprints", "grey", "stats")]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}
    return {
        bytes(name).hex(): _Seen(int(size), int(mtime_ns), Look(f"{int(fingerprint):016x}", grey, *(float(value) for value in stats)))
        for name, (size, mtime_ns), fingerprint, grey, stats in zip(*columns, strict=True)
    }
