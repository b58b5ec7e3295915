"""Data sets in memory: a name and a content for each file."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from engine.data import formats, placing
from engine.data.formats.base import Tally
from engine.data.measured import Checked

WIDTH, HEIGHT = 40, 30


@cache
def picture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT, turn: int = 1, suffix: str = "PNG") -> bytes:
    """A picture of noise; another seed gives another one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    made, file = Image.fromarray(pixels), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    made.save(file, suffix, **({"exif": exif} if turn > 1 else {}))
    return file.getvalue()


def png(values: np.ndarray, palette: list[int] | None = None) -> bytes:
    """A picture with these very values."""
    made, file = Image.fromarray(values, "P" if palette else None), io.BytesIO()
    if palette:
        made.putpalette(palette)
    made.save(file, "PNG")
    return file.getvalue()


def read(files: Mapping[str, bytes | str], only: str | None = None, task: str | None = None) -> formats.DataSet:
    """Read a data set."""
    content = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    return formats.read(list(content), lambda name: contextlib.nullcontext(io.BytesIO(content[name])), only, task)


def placed(data: formats.DataSet, width: int = WIDTH, height: int = HEIGHT, turn: int = 1) -> tuple[dict[str, list[Any]], list[str]]:
    """Return name -> marks fitted to pictures of one size, and what did not fit, in words."""
    tally = Tally()
    checked = Checked(".png", width, height, turn)
    marks = {found.name: placing.place(found.marks, found.size, checked, found.name, tally) for found in data.pictures}
    return {name: [(label, kind, json.loads(shape)) for label, kind, shape in some] for name, some in marks.items()}, tally.sentences()
