"""Why did it say that? A picture, its heat map and the answers, of one run or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from engine.data import images, items
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.answered import answers_of, asked_about, bars, truth_of
from pages.parts.onnx_models import Model, of_run, prepare, show_making

__all__ = ["digest_of", "explain", "heat_over", "why_dialog"]


@st.cache_data(max_entries=200, show_spinner="Hiding parts of the picture, one after another…")
def heat_over(file: str, mtime_ns: int, digest: str, label: str, _picture: Image.Image) -> NDArray[np.uint8]:  # noqa: ARG001 (the cache's key)
    """Return a picture as the model sees it, with the heat map of one label over it."""
    from engine.evaluation.explain import heat_map, overlay  # brings ONNX Runtime, which a page without a question need not wait for
    from engine.export.predictor import Predictor

    predictor = Predictor(Path(file))
    heat = heat_map(predictor, _picture, predictor.labels.index(label))
    return np.asarray(overlay(_picture, heat, predictor.preprocessing))


def why_dialog(run: Run, item_id: int, others: Sequence[Run] = (), label: str | None = None) -> None:
    """Explain one picture of the project, by one run or by several side by side; of tags the one of that label first."""
    width: Literal["medium", "large"] = "large" if others else "medium"
    st.dialog("What did it look at?", width=width, icon=":material/visibility:")(_explained)(run, item_id, others, label)


def _explained(run: Run, item_id: int, others: Sequence[Run], label: str | None) -> None:
    with ui.guard():
        item = items.get_item(item_id)
        picture = images.open_rgb(item.path)
        with st.grid("auto", min_column_width=300, gap="medium"):
            with st.container():
                st.image(picture, caption=f"{truth_of(item, run.recipe.task)} · {item.name}", width="stretch")
            for chosen in [run, *others]:
                with st.container():
                    explain(of_run(chosen), item.path, item.sha256, named=bool(others), label=label)
        st.caption(
            "Parts of the picture are hidden one after another; where hiding makes the model less sure, the map is bright (occlusion, Zeiler and Fergus 2014)."
        )


def explain(model: Model, path: Path, digest: str, *, named: bool, label: str | None = None) -> None:
    """Show one model's heat map and answers for a picture; make its file first where it is absent."""
    if named:
        st.markdown(f"**{model.title}**")
    if not model.here:
        _make(model)
        return
    from engine.export.predictor import Predictor

    predictor = Predictor(model.file)
    picture = predictor.open(path)
    answers = answers_of(predictor, picture)
    asked = asked_about(predictor, answers, key=f"why-label-{model.key}-{digest[:16]}", label=label)
    st.image(
        heat_over(str(model.file), model.file.stat().st_mtime_ns, digest, asked, picture),
        caption=f"what {'speaks for' if predictor.thresholds else 'made it say'} “{asked}”",
        width="stretch",
    )
    bars(predictor, answers, key=f"why-{model.key}")


def _make(model: Model) -> None:
    """Follow the export from inside the dialog."""

    def tick() -> None:
        with ui.guard():
            now = prepare(model)
            if now is None:
                st.success("The model's file is ready. Close this and click the picture again.", icon=":material/check:")
            else:
                show_making(model, now)

    st.fragment(tick, run_every=1.0)()


def digest_of(content: bytes) -> str:
    """Return a short name of a picture's content."""
    import hashlib

    return hashlib.sha256(content).hexdigest()[:16]
