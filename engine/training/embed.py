"""What a general backbone sees in pictures, or in parts of them, kept picture by picture: adding ten pictures costs ten.

Unlike the shards of `engine.training.features`, which serve one data-set version, rows here are found by the content of each picture.
The whole picture (or part) is squeezed into the square, so that nothing at its edges is missed.

cache/features/look-KEY/NNNNNN.safetensors: 'keys' uint8 [N, 32], 'features' float16 [N, F]
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError

from engine import workspace
from engine.data import images
from engine.errors import StudioError
from engine.models import build, catalogue
from engine.models.build import ModelSpec
from engine.training import tune
from engine.training.augment import normalised
from engine.training.features import DTYPES, frozen_copy

__all__ = ["Part", "embedded"]

_BACKBONE = "efficientnet_lite0"
_BATCH = 32
_FORM = 1
_SAVED_EVERY_S = 10.0
_MARGIN = 0.1


@dataclass(frozen=True)
class Part:
    """A picture, or with a box (x1, y1, x2, y2 in pixels) a part of it with a little round it."""

    path: Path
    sha256: str
    box: tuple[float, float, float, float] | None = None

    @property
    def key(self) -> bytes:
        """What its features are found by, 32 bytes."""
        edges = "" if self.box is None else ",".join(f"{edge:.1f}" for edge in self.box)
        return hashlib.sha256(f"{self.sha256} {edges}".encode()).digest()


def embedded(
    parts: Sequence[Part],
    device: str = "cpu",
    size_px: int = 224,
    report: Callable[[int, int], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[NDArray[np.float16], NDArray[np.bool_]] | None:
    """Return what the packaged EfficientNet-Lite0 sees in each part, computing only what is new.

    Args:
        parts: best in the order of their pictures, so that each is opened once.
        device: as `engine.devices.choose` returns it.
        size_px: side of the square each part is brought to.
        report: hears (done, total) of those that are new.
        should_stop: asked between batches.

    Returns:
        Features [N, F], and which rows hold any: a picture that is gone or damaged has none. None if told to stop; what was computed is kept.
    """
    tune.prepare(tune.usable_cores())
    row = catalogue.backbone(_BACKBONE)
    spec = ModelSpec(_BACKBONE, image_size=size_px, crop_share=1.0, mean=row.mean, std=row.std, interpolation=row.interpolation)
    network = build.build(spec, pretrained=True).backbone.eval()
    precision = "bf16" if device.startswith("cuda") or (device == "cpu" and tune.has_bf16()) else "fp32"
    name = hashlib.sha256(f"{_FORM} {build.digest(network)} {size_px} {precision} {device.split(':')[0]}".encode()).hexdigest()[:16]
    folder = workspace.cache("features") / f"look-{name}"
    known = _load(folder)
    missing = [part for part in dict.fromkeys(parts) if part.key not in known]
    frozen = frozen_copy(network, precision, "channels_last").to(device)
    fresh: dict[bytes, NDArray[np.float16]] = {}
    saved, done = time.monotonic(), 0
    for some, pixels in _squares(missing, size_px):
        readable = [place for place, picture in enumerate(pixels) if picture is not None]
        if readable:
            with torch.inference_mode():
                images_BCHW = normalised(np.stack([picture for picture in pixels if picture is not None]), spec, torch.device(device))
                found_BF = frozen(images_BCHW.to(DTYPES[precision]).contiguous(memory_format=torch.channels_last)).float().cpu().numpy()
            fresh.update((some[place].key, vector.astype(np.float16)) for place, vector in zip(readable, found_BF, strict=True))
        done += len(some)
        report(done, len(missing))
        if should_stop() or time.monotonic() - saved > _SAVED_EVERY_S:
            _save(folder, fresh)
            known.update(fresh)
            fresh, saved = {}, time.monotonic()
            if should_stop():
                return None
    _save(folder, fresh)
    known.update(fresh)
    return _gathered(parts, known)


def _gathered(parts: Sequence[Part], known: dict[bytes, NDArray[np.float16]]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    there_N = np.array([part.key in known for part in parts], bool)
    width = len(next(iter(known.values()))) if known else 1
    features_NF = np.zeros((len(parts), width), np.float16)
    for place in np.flatnonzero(there_N).tolist():
        features_NF[place] = known[parts[place].key]
    return features_NF, there_N


def _squares(parts: Sequence[Part], size_px: int) -> Iterator[tuple[Sequence[Part], list[NDArray[np.uint8] | None]]]:
    """Yield batches with their pixels; threads open the next batch while one is computed on."""
    batches = [parts[start : start + _BATCH] for start in range(0, len(parts), _BATCH)]
    opener = _Opener(size_px)
    with ThreadPoolExecutor(2, thread_name_prefix="open") as pool:
        waiting: list[Future[list[NDArray[np.uint8] | None]]] = [pool.submit(opener, some) for some in batches[:2]]
        for place, some in enumerate(batches):
            pixels = waiting.pop(0).result()
            if place + 2 < len(batches):
                waiting.append(pool.submit(opener, batches[place + 2]))
            yield some, pixels


class _Opener:
    """Brings parts to squares of pixels, opening a picture once for all its parts in a batch."""

    def __init__(self, size_px: int) -> None:
        self._size_px = size_px

    def __call__(self, parts: Sequence[Part]) -> list[NDArray[np.uint8] | None]:
        path: Path | None = None
        picture: Image.Image | None = None
        squares: list[NDArray[np.uint8] | None] = []
        for part in parts:
            if part.path != path:
                path, picture = part.path, self._open(part)
            squares.append(None if picture is None else self._square(picture, part))
        return squares

    def _open(self, part: Part) -> Image.Image | None:
        try:
            return images.open_rgb(part.path, None if part.box else self._size_px)
        except (StudioError, OSError):  # what is wrong with it is for the check of files to say
            return None

    def _square(self, picture: Image.Image, part: Part) -> NDArray[np.uint8]:
        size = (self._size_px, self._size_px)
        if part.box is None:
            return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))
        x1, y1, x2, y2 = part.box
        across, down = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
        left, upper = max(0.0, min(x1 - across, picture.width - 1.0)), max(0.0, min(y1 - down, picture.height - 1.0))
        edges = (left, upper, max(left + 1, min(picture.width, x2 + across)), max(upper + 1, min(picture.height, y2 + down)))
        return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, box=edges, reducing_gap=3.0))


def _load(folder: Path) -> dict[bytes, NDArray[np.float16]]:
    """Read all that was kept; a damaged file counts as not there."""
    known: dict[bytes, NDArray[np.float16]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            tensors = safetensors.numpy.load_file(path)
            known.update((bytes(key), vector) for key, vector in zip(tensors["keys"], tensors["features"], strict=True))
        except (SafetensorError, KeyError, OSError, ValueError):
            path.unlink(missing_ok=True)
    return known


def _save(folder: Path, fresh: dict[bytes, NDArray[np.float16]]) -> None:
    """Write what is new beside what is there."""
    if not fresh:
        return
    tensors: dict[str, NDArray[Any]] = {"keys": np.frombuffer(b"".join(fresh), np.uint8).reshape(-1, 32), "features": np.stack(list(fresh.values()))}
    with workspace.replacing(folder / f"{time.time_ns():020d}.safetensors") as beside:
        beside.write_bytes(safetensors.numpy.save(tensors))
