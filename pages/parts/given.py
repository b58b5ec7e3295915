"""A picture somebody asks a model about: as it came, since each model reads it in its own way, and as it is shown."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from engine.data import images
from engine.data.items import Item
from pages.parts.why import digest_of

if TYPE_CHECKING:  # it brings ONNX Runtime, which a page without a question need not wait for
    from engine.export.predictor import Predictor

__all__ = ["Given", "from_file", "from_upload"]

SHOWN_PX = 1600


@dataclass(frozen=True)
class Given:
    """`source` is the picture as it came, `picture` as it is shown; `labels` are its classes, None where they are not known."""

    source: Path | bytes
    picture: Image.Image
    name: str
    digest: str
    labels: tuple[str, ...] | None = None

    def opened_by(self, predictor: Predictor) -> Image.Image:
        """Return the picture read as this model's report read its own, so that both give the same answer."""
        return predictor.open(self.source if isinstance(self.source, Path) else io.BytesIO(self.source))


def from_upload(content: bytes, name: str) -> Given:
    """Return a picture that was dropped, pasted or taken.

    Raises:
        StudioError: if it is damaged or no picture.
    """
    picture = images.open_rgb(io.BytesIO(content), SHOWN_PX, name)
    picture.thumbnail((SHOWN_PX, SHOWN_PX))
    return Given(content, picture, name, digest_of(content))


def from_file(item: Item) -> Given:
    """Return a picture of a project."""
    picture = images.open_rgb(item.path, SHOWN_PX)
    picture.thumbnail((SHOWN_PX, SHOWN_PX))
    return Given(item.path, picture, item.name, item.sha256[:16], item.labels if item.labels or item.reviewed else None)
