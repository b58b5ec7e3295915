"""The deploy folder: one zip with the model, its card, and a script that runs it with onnxruntime, numpy and Pillow alone."""

from __future__ import annotations

import json
import zipfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from engine import workspace
from engine.errors import StudioError
from engine.export import card, card_drawn, card_tags
from engine.export.metadata import TAGGING, WHOLE, About
from engine.export.predictor import Predictor
from engine.models.own_onnx.beside import data_path
from engine.runs import Run, read_report

__all__ = ["NEEDED", "deploy_folder", "model_card"]

NEEDED = ("numpy", "onnxruntime", "pillow")
"""What predict.py needs."""


def deploy_folder(run: Run, out_zip: Path, *, project_name: str = "") -> Path:
    """Write the deploy folder of a finished run as a zip with one folder in it.

    Raises:
        StudioError: if the run has no exported model or no report yet.
    """
    model = run.path("model.onnx")
    about = _about(run)
    texts = {
        "README.md": _words(about).readme(_title(run, project_name), about),
        "MODEL_CARD.md": model_card(run, project_name=project_name),
        "labels.txt": "\n".join(label.replace("\n", " ") for label in about.labels) + "\n",
        "predict.py": (card.TEMPLATES / ("predict.py" if about.task in WHOLE else "predict_drawn.py")).read_text().replace("# ruff: noqa: T201\n", ""),
        "requirements.txt": "".join(f"{name}=={installed(name)}\n" for name in NEEDED),
        "recipe.json": json.dumps(run.recipe.model_dump(), indent=1, ensure_ascii=False) + "\n",
    }
    top = f"graft-{run.id}"
    with workspace.replacing(out_zip) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
        for part in (model, data_path(model)):  # a large model's weights lie beside it
            if part.exists():
                file.write(part, f"{top}/{part.name}", zipfile.ZIP_STORED)  # weights do not shrink
        for name, text in texts.items():
            file.writestr(f"{top}/{name}", text)
    return out_zip


def model_card(run: Run, *, project_name: str = "") -> str:
    """Return a finished run's model card as Markdown.

    Raises:
        StudioError: if the run has no exported model or no report yet.
    """
    about, report = _about(run), read_report(run)
    assert report is not None
    parity, version = workspace.read_json(run.path("parity.json")), workspace.read_json(run.path("version.json"))
    return _words(about).model_card(_title(run, project_name), about, report, version, run.recipe, parity, project_name or run.project_id)


def _words(about: About) -> Any:
    """Return the module that words this task's papers."""
    return card_tags if about.task == TAGGING else card if about.task in WHOLE else card_drawn


def _about(run: Run) -> About:
    if read_report(run) is None or not run.path("model.onnx").exists():
        raise StudioError(f"'{run.name}' has no finished model to pack", "Let the run finish, then try again.")
    return Predictor(run.path("model.onnx")).about


def _title(run: Run, project_name: str) -> str:
    return run.name if run.recipe.name else f"{project_name} ({run.id})" if project_name else run.id
