"""What a model says of a whole picture, as bars: the likeliest classes, or all its tags with the probability from which each counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from engine.data.items import Item
from engine.data.marks import TAGGING
from pages.parts import charts

if TYPE_CHECKING:  # it brings ONNX Runtime, which a page without a question need not wait for
    from engine.export.predictor import Predictor

__all__ = ["answers_of", "asked_about", "bars", "spoken", "truth_of"]

FEWEST, MOST = 5, 12
"""Tags that are shown: all that count, and of the rest the likeliest."""


def answers_of(predictor: Predictor, picture: Image.Image) -> list[tuple[str, float]]:
    """Return labels and probabilities worth showing, the likeliest first."""
    answers: list[tuple[str, float]] = predictor.predict([picture], top=len(predictor.labels) if predictor.thresholds else FEWEST)[0]
    if predictor.thresholds:
        edges = dict(zip(predictor.labels, predictor.thresholds, strict=True))
        counted = [pair for pair in answers if pair[1] >= edges[pair[0]]]
        rest = [pair for pair in answers if pair[1] < edges[pair[0]]]
        chosen = counted + rest[: max(0, MOST - len(counted))]
        answers = [pair for pair in answers if pair in chosen]
    return answers


def bars(predictor: Predictor, answers: Sequence[tuple[str, float]], *, key: str) -> None:
    """Draw the answers."""
    thresholds = dict(zip(predictor.labels, predictor.thresholds, strict=True)) if predictor.thresholds else {}
    figure = charts.tag_bars(answers, thresholds) if thresholds else charts.probability_bars(answers)
    st.plotly_chart(figure, config={"displayModeBar": False}, key=key, alt=spoken(answers))
    if thresholds:
        st.caption("A tag counts from its orange mark on; green ones do. The marks were chosen on the validation pictures.")


def asked_about(predictor: Predictor, answers: Sequence[tuple[str, float]], *, key: str, label: str | None = None) -> str:
    """Return the class to explain: the likeliest, or of tags the one the user chooses, at first `label`."""
    first = label if label in predictor.labels else answers[0][0]
    if not predictor.thresholds:
        return first
    return str(st.selectbox("What speaks for", predictor.labels, index=predictor.labels.index(first), key=key))


def spoken(answers: Sequence[tuple[str, float]]) -> str:
    """Say answers in one line, for those who cannot see the bars."""
    return ", ".join(f"{label} {share:.0%}" for label, share in answers)


def truth_of(item: Item, task: str) -> str:
    """Say what a picture shows, as far as that is known.

    >>> from types import SimpleNamespace
    >>> pictures = [SimpleNamespace(labels=labels, reviewed=known) for labels, known in ((("cat", "dog"), True), ((), True), ((), False))]
    >>> [truth_of(picture, "multi-label-classification") for picture in pictures]
    ['shows cat, dog', 'shows none of the tags', 'is not labelled']
    """
    if not item.labels:
        return "shows none of the tags" if task == TAGGING and item.reviewed else "is not labelled"
    return f"{'shows' if task == TAGGING else 'is'} {', '.join(item.labels)}"
