"""Compares the imported module with ONNX Runtime on the file itself: on random input and on a real picture."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto
from PIL import Image

from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.interface import Port
from engine.models.own_onnx.operators import OperatorError
from engine.models.own_onnx.operators.types import from_numpy
from engine.models.own_onnx.preparation import Preparation

__all__ = ["RUNTIME_FAULTS", "compare", "finite", "photographs", "real_picture", "real_pictures", "rounding", "run_session"]

RUN_SECONDS = 120
_PHOTOGRAPHS = (
    ("skimage", "data", ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
)
_STATES = onnxruntime.capi.onnxruntime_pybind11_state
RUNTIME_FAULTS = (
    _STATES.Fail,
    _STATES.InvalidArgument,
    _STATES.InvalidGraph,
    _STATES.InvalidProtobuf,
    _STATES.NotImplemented,
    _STATES.RuntimeException,
    _STATES.NoSuchFile,
    _STATES.EPFail,
    RuntimeError,
    ValueError,
)
"""What ONNX Runtime raises when it cannot load or run a file."""


def run_session(session: onnxruntime.InferenceSession, inputs: Sequence[np.ndarray], names: Sequence[str] | None = None) -> list[np.ndarray]:
    """Run a session, but not for ever."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    timer = threading.Timer(RUN_SECONDS, lambda: setattr(options, "terminate", True))
    timer.start()
    try:
        feed = {item.name: array for item, array in zip(session.get_inputs(), inputs, strict=True)}
        return session.run(names, feed, options)
    finally:
        timer.cancel()


def photographs() -> list[Path]:
    """Photographs that travel inside scikit-image and scikit-learn; fewer where these are not installed."""
    found = []
    for package, folder, names in _PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found += [Path(spec.submodule_search_locations[0]) / folder / name for name in names]
    return [path for path in found if path.exists()]


def real_picture(preparation: Preparation, port: Port, batch: int) -> np.ndarray | None:
    """A photograph as the network takes it, so many times over; None where no sample picture is installed."""
    paths = photographs()
    return np.ascontiguousarray(np.repeat(_as_fed(paths[0], preparation, port), batch, 0)) if paths else None


def real_pictures(preparation: Preparation, port: Port) -> list[np.ndarray]:
    """Every sample photograph as the network takes it, whole and in parts, a batch of one each."""
    parts = (None, (0.0, 0.0, 0.6, 0.6), (0.4, 0.4, 1.0, 1.0))
    return [_as_fed(path, preparation, port, part) for path in photographs() for part in parts]


def _as_fed(path: Path, preparation: Preparation, port: Port, part: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """A photograph, or a part of it (left, top, right, bottom as shares of its sides), in the network's size, layout and range."""
    height, width = port.size
    size = (width or preparation.image_size, height or preparation.image_size)
    with Image.open(path) as picture:
        across, down = picture.size
        box = (part[0] * across, part[1] * down, part[2] * across, part[3] * down) if part else None
        pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.float32) / 255
    values = (pixels - np.array(preparation.mean, np.float32)) / np.array(preparation.std, np.float32)
    if port.channels == 1:
        values = values.mean(2, keepdims=True)
    elif port.channels == 4:
        values = np.concatenate([values, values[..., :1]], 2)
    if port.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None])


def compare(module: Callable[..., Any], session: onnxruntime.InferenceSession, inputs: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the largest difference of any output, absolute and relative to the output's largest value.

    Infinite where the shapes differ, where the module is not finite and ONNX Runtime is, and where nothing finite could be compared at all
    (half precision that overflows).
    """
    wanted = [item.type.removeprefix("tensor(").removesuffix(")") for item in session.get_inputs()]
    kinds = {"float": "float32", "double": "float64", "float16": "float16", "uint8": "uint8", "int8": "int8"}
    inputs = [np.round(array) if kind in ("uint8", "int8") else array for kind, array in zip(wanted, inputs, strict=True)]
    fed = [array.astype(kinds[kind]) if kind in kinds else array for kind, array in zip(wanted, inputs, strict=True)]
    theirs = run_session(session, fed)
    with torch.no_grad():
        found = module(
            *[
                from_numpy(array.astype(np.float32) if array.dtype.kind in "fV" or (array.ndim == 4 and array.dtype.itemsize == 1) else array)
                for array in inputs
            ]
        )
    ours = found if isinstance(found, tuple) else (found,)
    worst, compared = {"max_abs": 0.0, "max_rel": 0.0}, False
    unlike = {"max_abs": float("inf"), "max_rel": float("inf")}
    for a, b in zip(ours, theirs, strict=True):
        if not isinstance(a, torch.Tensor) or not isinstance(b, np.ndarray) or b.size == 0:
            continue
        x, y = a.detach().double().cpu().numpy(), b.astype(np.float64)
        finite = np.isfinite(y)
        if x.shape != y.shape or not np.isfinite(x[finite]).all():
            return unlike
        if not finite.any():
            continue
        compared = True
        gap, scale = float(np.abs(x - y)[finite].max()), float(np.abs(y[finite]).max())
        worst = {"max_abs": max(worst["max_abs"], gap), "max_rel": max(worst["max_rel"], gap / max(scale, 1e-12))}
    return worst if compared else unlike


def rounding(model: ModelProto, feeds: Iterable[Sequence[np.ndarray]]) -> float:
    """Return how far single precision moves a network's own answers from those of double precision, relative to the largest; 0 where it cannot be told.

    Random or very deep networks can turn the last digit of a score into the third of an answer. Two correct programs then differ by about
    as much as each differs from this: no fault of the import, which would give the same wrong answer in both precisions.
    """
    single, double, worst = ImportedGraph(model), ImportedGraph(model).double(), 0.0
    for inputs in feeds:
        given = [from_numpy(array) for array in inputs]
        try:
            with torch.no_grad():
                ours = single.run([item.float() if item.is_floating_point() else item for item in given], single.output_names)
                exact = double.run([item.double() if item.is_floating_point() else item for item in given], double.output_names)
        except OperatorError:
            return 0.0
        for a, b in zip(ours, exact, strict=True):
            if isinstance(a, torch.Tensor) and a.is_floating_point() and a.numel():
                worst = max(worst, float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-12)))
    return worst if np.isfinite(worst) else 0.0


def finite(value: Any) -> Any:
    """Return a value for JSON, which knows no infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value if not isinstance(value, float) or np.isfinite(value) else None
