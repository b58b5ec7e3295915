"""Run a Graft ONNX file on pictures: what Try, explanations and parity checks use. Torch-free; ONNX Runtime only.

Files that Graft did not make are refused with a sentence.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from engine.data.geometry import placed
from engine.data.images import for_model, opened
from engine.errors import StudioError
from engine.evaluation.answers import Answer, from_class_map, from_things
from engine.export import metadata
from engine.export.metadata import SORTING, TAGGING, WHOLE, Preprocessing

__all__ = ["OUTPUTS", "Predictor"]

MOST_THREADS = 4
"""Past four threads one picture gets hardly faster, and training runs beside."""

MOST_SESSIONS = 6
"""Sessions kept open: enough for several models side by side, each costs about the file's size in memory."""

BATCH = 32

OUTPUTS = {
    SORTING: ("probabilities",),
    TAGGING: ("probabilities",),
    "object-detection": ("detections",),
    "instance-segmentation": ("detections", "masks"),
    "semantic-segmentation": ("probabilities",),
}
"""What the file of each task gives."""

_sessions: OrderedDict[tuple[str, int, int], tuple[onnxruntime.InferenceSession, metadata.About]] = OrderedDict()
_guard = threading.Lock()


def _threads() -> int:
    return max(1, min(MOST_THREADS, (os.cpu_count() or 2) // 2 + 1, os.cpu_count() or 1))


def _open(path: Path) -> tuple[onnxruntime.InferenceSession, metadata.About]:
    """Return the session and description of the file, kept by path, time and size; safe from several threads."""
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise StudioError(f"there is no model file at {path}", "Let the run finish, or export it again.") from error
    key = (str(path.absolute()), stat.st_mtime_ns, stat.st_size)
    with _guard:
        if key not in _sessions:
            for stale in [other for other in _sessions if other[0] == key[0]]:
                del _sessions[stale]
            _sessions[key] = _load(path)
            while len(_sessions) > MOST_SESSIONS:
                _sessions.popitem(last=False)
        _sessions.move_to_end(key)
        return _sessions[key]


def _load(path: Path) -> tuple[onnxruntime.InferenceSession, metadata.About]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves a training beside it
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _BROKEN as error:
        raise StudioError(f"{path.name} cannot be read as an ONNX model", "Choose a model that Graft exported, or export the run again.") from error
    about = metadata.parse(session.get_modelmeta().custom_metadata_map)
    if about is None or not _fits(session, about):
        raise StudioError(
            f"{path.name} was not made by Graft: it does not say its labels and preprocessing",
            "Choose a model that Graft exported. To retrain a model of your own, use 'My ONNX model' on the Start page.",
        )
    return session, about


_STATES = onnxruntime.capi.onnxruntime_pybind11_state
_BROKEN = (_STATES.Fail, _STATES.InvalidProtobuf, _STATES.InvalidGraph, _STATES.InvalidArgument, _STATES.NotImplemented, _STATES.NoSuchFile, RuntimeError)


def _fits(session: onnxruntime.InferenceSession, about: metadata.About) -> bool:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return (
        [row.name for row in inputs] == ["images"]
        and tuple(row.name for row in outputs) == OUTPUTS.get(about.task)
        and inputs[0].shape[1:] == [3, *about.preprocessing.input_hw]
        and (about.task not in WHOLE or outputs[0].shape[-1] in (len(about.labels), None))
    )


def _rgb(picture: Image.Image) -> Image.Image:
    """Pictures from files come as RGB already; one made otherwise may have transparent places, which become white."""
    if picture.mode == "RGB":
        return picture
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


class Predictor:
    """One ONNX file, ready to answer. Making a second one of the same file costs nothing; safe from several threads.

    Raises:
        StudioError: if the file is missing, broken, or was not made by Graft.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._session, self._about = _open(self.path)

    @property
    def about(self) -> metadata.About:
        """Labels, preprocessing and origin."""
        return self._about

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self._about.labels

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The probability from which on each class counts as shown, of a model that tags; empty for others."""
        return self._about.thresholds

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are prepared."""
        return self._about.preprocessing

    @property
    def origin(self) -> dict[str, Any]:
        """Where the model comes from: starting_point, licence, version_id, run_id, graft_version, created."""
        return dict(self._about.origin)

    def view(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Return what the model sees of a picture: uint8 [H, W, 3]."""
        return for_model(_rgb(picture), asdict(self.preprocessing))

    def open(self, source: Path | BinaryIO) -> Image.Image:
        """Open a picture, a file's path or an open binary file, exactly as evaluation did.

        Raises:
            StudioError: if it is gone, damaged or no picture.
        """
        return opened(source, asdict(self.preprocessing))

    @property
    def task(self) -> str:
        """What the model does: the name of a task."""
        return self._about.task

    def answers(self, pictures: Sequence[Image.Image]) -> list[Answer]:
        """Return what it finds in pictures, in their own pixels, the surest first; for models that find or outline things or name pixels.

        Raises:
            StudioError: if the model sorts or tags whole pictures.
        """
        if self.task in WHOLE:
            raise StudioError("this model sorts or tags whole pictures: it finds no things in them", "Ask it for its classes instead.")
        return [self._answer(picture) for picture in pictures]

    def _answer(self, picture: Image.Image) -> Answer:
        where = placed(*picture.size, self.preprocessing.input_hw)
        view_1CHW = np.ascontiguousarray(self.view(picture).transpose(2, 0, 1)[None], np.float32)
        found = [output[0] for output in self._session.run(list(OUTPUTS[self.task]), {"images": view_1CHW})]
        if OUTPUTS[self.task] == ("probabilities",):
            return from_class_map(where.mask_to_picture(found[0].argmax(0)), where.mask_to_picture(found[0].max(0)))
        return from_things(found[0], where, found[1] > 0.5 if len(found) > 1 else None)

    def run(self, views_NHWC: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probabilities [N, C] of prepared pictures [N, H, W, 3] with values 0..255."""
        parts = [views_NHWC[i : i + BATCH] for i in range(0, len(views_NHWC), BATCH)]
        answers = [self._session.run(["probabilities"], {"images": np.ascontiguousarray(part.transpose(0, 3, 1, 2), np.float32)})[0] for part in parts]
        return np.concatenate(answers) if answers else np.zeros((0, len(self.labels)), np.float32)

    def probabilities(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the probabilities [N, C] of pictures."""
        parts = [self.run(np.stack([self.view(picture) for picture in pictures[i : i + BATCH]])) for i in range(0, len(pictures), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), np.float32)

    def tags(self, pictures: Sequence[Image.Image]) -> list[list[tuple[str, float]]]:
        """Return for each picture every label that reaches its threshold with its probability, the most probable first; for models that tag."""
        assert self.task == TAGGING, self.task
        rows = self.probabilities(pictures)
        said = rows >= np.array(self.thresholds)
        return [[(self.labels[i], float(row[i])) for i in np.argsort(-row, kind="stable") if shown[i]] for row, shown in zip(rows, said, strict=True)]

    def predict(self, pictures: Sequence[Image.Image], top: int = 5) -> list[list[tuple[str, float]]]:
        """Return for each picture its `top` most probable labels with their probabilities, the most probable first."""
        rows = self.probabilities(pictures)
        return [[(self.labels[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]] for row in rows]
