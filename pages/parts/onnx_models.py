"""Models that can answer right now: the exported ONNX files of finished runs and of the ready models, made by a job where absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from engine import workspace
from engine.models import catalogue
from engine.models.published import Published
from engine.runs import Run
from pages.parts.jobs import Outcome, drop_job, job_for, outcome
from pages.parts.run_picker import label_of, summary

__all__ = ["Model", "of_ready", "of_run", "prepare", "show_making"]


@dataclass(frozen=True)
class Model:
    """A model one can ask. `file` is where its ONNX lies or will lie, `request` the export job that makes it."""

    key: str
    title: str
    file: Path
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """Whether it can answer now."""
        return self.file.exists()


def of_run(run: Run) -> Model:
    """Return a finished run as a model."""
    return Model(run.id, label_of(summary(run)), run.path("model.onnx"), {"run_id": run.id, "format": "onnx", "options": {}})


def of_ready(row: catalogue.Optimized | Published) -> Model:
    """Return a ready model of the catalogue, usable before any training."""
    file = workspace.cache("onnx") / f"{row.key}.onnx"
    return Model(f"ready/{row.key}", f"{row.title} (ready-made)", file, {"run_id": f"ready/{row.key}", "format": "onnx", "options": {}})


def _purpose(model: Model) -> str:
    return f"onnx-{model.key}"


def prepare(model: Model) -> Outcome | None:
    """Start or follow the job that makes the file; None once it is there."""
    if model.here:
        return None
    return outcome(job_for(_purpose(model), "export", model.request))


def show_making(model: Model, now: Outcome) -> None:
    """Say how far the making of a model's file has come, or why it failed."""
    if now.active:
        st.progress(now.share or 0.0, text=f"Making the file of {model.title}: {now.words}. This happens once.")
        return
    words = f"{now.problem}. {now.remedy}" if now.problem else "The job ended without leaving a file."
    st.error(f"{model.title} could not be exported: {words}", icon=":material/error:")
    if st.button("Try again", key=f"again-{model.key}"):
        drop_job(_purpose(model))
        st.rerun()
