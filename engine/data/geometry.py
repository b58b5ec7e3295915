"""How a whole picture, with its labels, is brought to a network and back: resized into a frame, the rest of it a margin. Torch-free.

The picture stands in the frame's upper left corner, as large as fits; the margin is grey. Everything is linear: a point of the picture
times `Placed.scale` is a point of the frame, so boxes and outlines go there and back exactly. Masks go by the pixel's centre.

Central squares, as classification sees pictures, are `engine.data.images`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["FILL", "STEP_PX", "Placed", "frame_of", "placed", "resized_mask", "shown_whole", "usual_aspect", "warped_map", "warped_points"]

FILL = 114
"""Grey of the margin, 0..255 in each colour: the mean of photographs, so that normalised it is nearly nothing."""

STEP_PX = 32
"""Sides of a frame are multiples of this: what the deepest layers of most networks reduce to one cell."""

_MOST_ASPECT = 4.0


@dataclass(frozen=True)
class Placed:
    """Where a picture of width x height pixels lies in a frame: its upper left `content_width` x `content_height` pixels."""

    width: int
    height: int
    content_width: int
    content_height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels a picture pixel, across and down. The two differ by the rounding of the content to whole pixels."""
        return self.content_width / self.width, self.content_height / self.height

    def to_frame(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Return points [..., 2], or boxes [..., 4] as x1 y1 x2 y2, of the picture in pixels of the frame."""
        return np.asarray(xy, np.float64) * np.tile(self.scale, np.shape(xy)[-1] // 2)

    def to_picture(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Return points or boxes of the frame in pixels of the picture; what lies in the margin is drawn to the picture's edge."""
        back = np.asarray(xy, np.float64) / np.tile(self.scale, np.shape(xy)[-1] // 2)
        return back.clip(0.0, np.tile((float(self.width), float(self.height)), np.shape(xy)[-1] // 2))

    def mask_to_frame(self, pixels_HW: NDArray[Any], frame_hw: tuple[int, int]) -> NDArray[Any]:
        """Return a map of the picture's pixels (a mask, classes) as one of the frame's, 0 in the margin."""
        found = np.zeros(frame_hw, np.asarray(pixels_HW).dtype)
        found[: self.content_height, : self.content_width] = resized_mask(pixels_HW, self.content_height, self.content_width)
        return found

    def mask_to_picture(self, pixels_HW: NDArray[Any]) -> NDArray[Any]:
        """Return a map of the frame's pixels as one of the picture's."""
        return resized_mask(np.asarray(pixels_HW)[: self.content_height, : self.content_width], self.height, self.width)


def placed(width: int, height: int, frame_hw: tuple[int, int]) -> Placed:
    """Return where a picture of width x height pixels lies in a frame of (height, width) pixels.

    >>> placed(640, 480, (320, 320))
    Placed(width=640, height=480, content_width=320, content_height=240)
    """
    scale = min(frame_hw[1] / width, frame_hw[0] / height)
    return Placed(width, height, *(min(most, max(1, round(side * scale))) for side, most in ((width, frame_hw[1]), (height, frame_hw[0]))))


def resized_mask(pixels_HW: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return a map resized to height x width: each pixel takes the one under its centre, so that no value is made that was not there."""
    rows = ((np.arange(height) + 0.5) * (pixels_HW.shape[0] / height)).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * (pixels_HW.shape[1] / width)).astype(np.int64)
    return np.asarray(pixels_HW)[rows[:, None], columns[None, :]]


def shown_whole(picture: Image.Image, where: Placed, frame_hw: tuple[int, int], resampling: Image.Resampling) -> NDArray[np.uint8]:
    """Return the frame [height, width, 3] with an RGB picture in it, resized with antialiasing."""
    frame_HW3 = np.full((*frame_hw, 3), FILL, np.uint8)
    frame_HW3[: where.content_height, : where.content_width] = np.asarray(picture.resize((where.content_width, where.content_height), resampling))
    return frame_HW3


def usual_aspect(items: Iterable[Mapping[str, Any]]) -> float:
    """Return the width over the height that pictures usually have; 1 where most are not wide and not tall, or their sizes are not known."""
    found = [item["width"] / item["height"] for item in items if item.get("width") and item.get("height")]
    return float(median(found)) if found else 1.0


def frame_of(longer_px: int, aspect: float, step_px: int = STEP_PX) -> tuple[int, int]:
    """Return (height, width) of the frame for pictures of this width over height whose longer side becomes about longer_px; multiples of step_px.

    >>> frame_of(320, 640 / 480)
    (256, 320)
    """
    aspect = min(_MOST_ASPECT, max(1 / _MOST_ASPECT, aspect))
    height, width = longer_px / max(1.0, aspect), longer_px * min(1.0, aspect)
    return tuple(max(step_px, step_px * round(side / step_px + 0.24)) for side in (height, width))  # type: ignore[return-value]


def warped_points(xy_P2: NDArray[np.float64], affine_23: NDArray[np.float64], hw: tuple[int, int]) -> NDArray[np.float64]:
    """Return where points of a frame come to lie in its varied view, both of (height, width) pixels.

    Args:
        xy_P2: in pixels; affine_23: as pictures are sampled: from a point (x, y, 1) of the view to one of the frame, in shares of the sides.
    """
    sides = np.array((hw[1], hw[0]), np.float64)
    return np.linalg.solve(affine_23[:, :2], (xy_P2 / sides - affine_23[:, 2]).T).T * sides


def warped_map(pixels_HW: NDArray[Any], affine_23: NDArray[np.float64], beyond: int = 0) -> NDArray[Any]:
    """Return a frame's map in its varied view: each pixel takes the one under its centre, `beyond` outside the frame."""
    height, width = pixels_HW.shape
    (a, b, x), (c, d, y) = affine_23
    across_W, down_H = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    if b == 0 and c == 0:  # not turned: rows and columns are taken each by themselves
        columns_W, rows_H = np.floor((a * across_W + x) * width).astype(np.int64), np.floor((d * down_H + y) * height).astype(np.int64)
        found = pixels_HW[rows_H.clip(0, height - 1)[:, None], columns_W.clip(0, width - 1)[None, :]]
        outside = ((rows_H < 0) | (rows_H >= height))[:, None] | ((columns_W < 0) | (columns_W >= width))[None, :]
    else:
        columns_HW = np.floor((a * across_W[None, :] + b * down_H[:, None] + x) * width).astype(np.int64)
        rows_HW = np.floor((c * across_W[None, :] + d * down_H[:, None] + y) * height).astype(np.int64)
        found = pixels_HW[rows_HW.clip(0, height - 1), columns_HW.clip(0, width - 1)]
        outside = (rows_HW < 0) | (rows_HW >= height) | (columns_HW < 0) | (columns_HW >= width)
    return np.where(outside, np.asarray(beyond, pixels_HW.dtype), found)
