"""What a finished run knows about its mistakes: report.json and predictions.npz, and the way from a cell back to its pictures.

The figures themselves come from `engine.evaluation.metrics`; comparing runs is left to `engine.evaluation.compare`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import workspace
from engine.errors import StudioError
from engine.evaluation import metrics
from engine.evaluation.metrics import Floats, Ints

__all__ = ["Predictions", "cell", "make_report", "mistakes", "read_arrays", "read_predictions", "write_arrays", "write_predictions"]

MOST_MISTAKES = 200


@dataclass(frozen=True)
class Predictions:
    """What a model answered on N held-out pictures: item ids [N], true class indices [N], probabilities [N, C]."""

    item_ids: Ints
    labels: Ints
    probabilities: Floats

    @property
    def predicted(self) -> Ints:
        """The most probable class of each picture [N]."""
        return self.probabilities.argmax(1)

    def __len__(self) -> int:
        return len(self.item_ids)


def write_predictions(path: Path, item_ids_N: Ints, labels_N: Ints, probabilities_NC: Floats) -> None:
    """Write predictions.npz, atomically."""
    write_arrays(
        path,
        item_ids=np.asarray(item_ids_N, np.int64),
        labels=np.asarray(labels_N, np.int64),
        probabilities=np.asarray(probabilities_NC, np.float32),
    )


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write the arrays of a predictions.npz, atomically."""
    with workspace.replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_predictions(path: Path) -> Predictions:
    """Read predictions.npz.

    Raises:
        StudioError: if it is missing or damaged.
    """
    return Predictions(*read_arrays(path, "item_ids", "labels", "probabilities"))


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Read these arrays of a predictions.npz.

    Raises:
        StudioError: if it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except FileNotFoundError as error:
        raise StudioError(f"'{path.parent.name}' has no answers on held-out pictures yet", "Let the run finish, then look again.") from error
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StudioError(f"{path.name} of '{path.parent.name}' is damaged", "Train again to make it anew.") from error


def make_report(
    manifest: Mapping[str, Any],
    item_ids_N: Ints,
    labels_N: Ints,
    probabilities_NC: Floats,
    split: str,
    *,
    val: tuple[Ints, Floats] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Return report.json as plain JSON.

    Args:
        manifest: the data-set version, for its task and class names.
        split: the held-out split these answers are on, 'test' or 'val'.
        val: labels_N and probabilities_NC of the validation pictures. The temperature is fitted on them, so that the
            held-out pictures stay untouched; without them it is fitted on the held-out ones.
        extra: what else the run knows: start, plan, seconds, best_phase.
    """
    classes = list(manifest["classes"])
    predictions = Predictions(np.asarray(item_ids_N, np.int64), np.asarray(labels_N, np.int64), np.asarray(probabilities_NC))
    table = metrics.confusion(predictions.labels, predictions.predicted, len(classes))
    bins = metrics.reliability(predictions.labels, predictions.probabilities)
    temperature = metrics.fit_temperature(*(val if val and len(val[0]) else (predictions.labels, predictions.probabilities)))
    scores = metrics.per_class(table)
    return {
        "task": manifest.get("task", "image-classification"),
        "classes": classes,
        "split": split,
        "n": len(predictions),
        "metrics": metrics.headline(predictions.labels, predictions.probabilities),
        "val_metrics": metrics.headline(*val) if val and len(val[0]) else {},
        "accuracy_interval": list(metrics.wilson(int(np.trace(table)), len(predictions))),
        "per_class": [{"name": name, **asdict(score)} for name, score in zip(classes, scores, strict=True)],
        "confusion": table.tolist(),
        "calibration": {"bins": [asdict(row) for row in bins], "ece": metrics.calibration_error(bins), "temperature": temperature},
        "mistakes": mistakes(predictions)[:MOST_MISTAKES],
        **extra,
    }


def cell(predictions: Predictions, true: int, predicted: int) -> list[int]:
    """Return the item ids in one cell of the confusion matrix, the most confident answer first."""
    inside = np.flatnonzero((predictions.labels == true) & (predictions.predicted == predicted))
    order = np.argsort(-predictions.probabilities[inside, predicted], kind="stable")
    return predictions.item_ids[inside[order]].tolist()


def mistakes(predictions: Predictions) -> list[dict[str, Any]]:
    """Return every wrong answer, the worst first: the lowest probability of the truth, then the highest confidence."""
    rows = np.arange(len(predictions))
    confidence_N = predictions.probabilities[rows, predictions.predicted]
    truth_N = predictions.probabilities[rows, predictions.labels]
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    order = wrong[np.lexsort((-confidence_N[wrong], truth_N[wrong]))]
    return [
        {
            "item": int(predictions.item_ids[i]),
            "true": int(predictions.labels[i]),
            "predicted": int(predictions.predicted[i]),
            "confidence": float(confidence_N[i]),
            "true_probability": float(truth_N[i]),
        }
        for i in order
    ]
