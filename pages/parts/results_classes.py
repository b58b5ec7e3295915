"""Results of a classifier: the headline, the worst mistakes, which class is taken for which, by class, and how honest its certainty is."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
import streamlit as st

from engine.evaluation.report import Predictions, cell, read_predictions
from engine.runs import Run
from pages.parts import charts
from pages.parts.lazy_tabs import lazy_tabs
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.scores import expected
from pages.parts.why import why_dialog
from pages.parts.wording import amount, duration, percent

__all__ = ["SPLIT_WORDS", "body", "wall"]

SPLIT_WORDS = {
    "test": "test pictures, which took no part in training",
    "val": "validation pictures (there are no test pictures). They also chose the best epoch, so the figures are a little too good",
    "train": "training pictures",
}
PER_WALL = 24


def body(run: Run, report: dict[str, Any]) -> None:
    """Show everything under the run picker."""
    _headline(report)
    predictions = _predictions(str(run.folder), run.path("predictions.npz").stat().st_mtime_ns, run)
    tabs = {
        "Mistakes": lambda: _mistakes(run, report),
        "Which is mistaken for which": lambda: _matrix(run, report, predictions),
        "By class": lambda: _classes(report),
        "How sure it is": lambda: _calibration(report),
    }
    lazy_tabs(tabs, key="results-classes")


@st.cache_data(max_entries=16, show_spinner=False)
def _predictions(folder: str, mtime_ns: int, _run: Run) -> Predictions:  # noqa: ARG001 (the cache's key)
    return read_predictions(_run.path("predictions.npz"))


def _headline(report: dict[str, Any]) -> None:
    metrics, n = report["metrics"], report["n"]
    right = round(metrics["accuracy"] * n)
    with st.container(border=True):
        st.markdown(f"## {percent(metrics['accuracy'])} right")
        st.markdown(
            f"It names **{right:,} of {n:,}** pictures correctly. {expected(report['accuracy_interval'])}",
            help="A 95 % Wilson interval: the true share lies in such a range 95 times out of 100. More held-out pictures make it narrower.",
        )
        st.caption(f"Measured on {n:,} {SPLIT_WORDS.get(report['split'], report['split'])}.")
    with st.grid("auto", min_column_width=150, gap="small"):
        st.metric(
            "Macro F1",
            percent(metrics.get("macro_f1")),
            border=True,
            help="Every class counts the same here, however rare. Far below the accuracy means that rare classes do badly.",
        )
        if metrics.get("top5_accuracy") is not None and len(report["classes"]) > 5:
            st.metric("In the first five", percent(metrics["top5_accuracy"]), border=True, help="How often the right class is among its first five answers.")
        st.metric("Loss", f"{metrics['loss']:.3f}", border=True, help="Cross-entropy: low when it is right and sure, high when it is wrong and sure.")
        st.metric(
            "Calibration error",
            percent(metrics.get("ece")),
            border=True,
            help="By how much its stated certainty is off, on average (expected calibration error).",
        )
        total = (report.get("seconds") or {}).get("total")
        if total:
            st.metric("Trained in", duration(total), border=True)


def _mistakes(run: Run, report: dict[str, Any]) -> None:
    wrong, names = report["mistakes"], report["classes"]
    if not wrong:
        st.success("It made no mistake on these pictures. Try it on new ones, or add harder pictures.", icon=":material/celebration:")
        return
    st.caption("Worst first: surest of the wrong answer. Wrong labels often turn up here too. Click a picture to see what the model looked at.")
    tiles = [Tile(row["item"], f"said {names[row['predicted']]}", f"is {names[row['true']]} · {percent(row['confidence'], 0)} sure", "wrong") for row in wrong]
    wall(run, tiles, key="mistakes")


def wall(run: Run, tiles: list[Tile], *, key: str, label: str | None = None) -> None:
    """Show one page of pictures; a click opens the explanation, of `label` where it is given."""
    pages = -(-len(tiles) // PER_WALL)
    page = int(st.session_state.get(f"{key}-page", 1)) if pages > 1 else 1
    shown = tiles[(min(page, pages) - 1) * PER_WALL : min(page, pages) * PER_WALL]
    picked = picture_wall(shown, key=f"wall-{key}-{run.id}", wide=True)
    if pages > 1:
        st.pagination(pages, key=f"{key}-page")
    if picked is not None:
        why_dialog(run, picked, label=label)


def _matrix(run: Run, report: dict[str, Any], predictions: Predictions) -> None:
    names, matrix = report["classes"], report["confusion"]
    st.caption("Rows are what a picture really shows, columns what the model said. Green is right, orange is mistaken. Click a cell to see its pictures.")
    clicked = None
    if len(names) <= charts.MOST_CELLS:
        event = st.plotly_chart(
            charts.confusion(matrix, names),
            on_select="rerun",
            selection_mode="points",
            key=f"matrix-{run.id}",
            config={"displayModeBar": False},
            alt=_matrix_words(matrix, names),
        )
        clicked = charts.clicked_cell(event)
    else:
        st.caption(f"With {amount(len(names), 'class', 'classes')} a matrix cannot be read, so here are the pairs most often mistaken.")
        st.dataframe(_pairs(matrix, names), hide_index=True)
    _follow_click(run, clicked, matrix)
    left, right = st.columns(2)
    true = left.selectbox("Really is", range(len(names)), format_func=names.__getitem__, key=f"cell-true-{run.id}")
    predicted = right.selectbox("The model said", range(len(names)), format_func=names.__getitem__, key=f"cell-said-{run.id}")
    st.session_state[f"_cell-{run.id}"] = (true, predicted)
    found = cell(predictions, true, predicted)
    what = f"pictures of **{names[true]}** called **{names[predicted]}**"
    if not found:
        st.caption(f"There are no {what}.")
        return
    st.markdown(f"{len(found):,} {what}")
    tone: Literal["right", "wrong"] = "right" if true == predicted else "wrong"
    sure = dict(zip(predictions.item_ids.tolist(), predictions.probabilities[:, predicted].tolist(), strict=True))
    wall(run, [Tile(item, f"said {names[predicted]}", f"{percent(sure[item], 0)} sure", tone) for item in found], key=f"cell-{true}-{predicted}")


def _follow_click(run: Run, clicked: tuple[int, int] | None, matrix: list[list[int]]) -> None:
    """Let a newly clicked cell set the two pickers; one that was followed already leaves them alone. At first, show the worst mix-up."""
    slot, pickers = f"_clicked-{run.id}", (f"cell-true-{run.id}", f"cell-said-{run.id}")
    cells = _mixed_up(matrix)
    first = st.session_state.get(f"_cell-{run.id}") or (cells[0][1:] if cells else (0, 0))  # kept while another tab is open
    if clicked is not None and clicked != st.session_state.get(slot):
        first = clicked
    elif pickers[0] in st.session_state:
        first = (st.session_state[pickers[0]], st.session_state[pickers[1]])
    st.session_state[pickers[0]], st.session_state[pickers[1]] = first
    st.session_state[slot] = clicked


def _mixed_up(matrix: list[list[int]]) -> list[tuple[int, int, int]]:
    """Return (pictures, true, predicted) of every wrong cell that has pictures, the fullest first."""
    return sorted(((count, row, column) for row, line in enumerate(matrix) for column, count in enumerate(line) if row != column and count), reverse=True)


def _pairs(matrix: list[list[int]], names: list[str], most: int = 30) -> pd.DataFrame:
    return pd.DataFrame([{"Really is": names[row], "The model said": names[column], "Pictures": count} for count, row, column in _mixed_up(matrix)[:most]])


def _matrix_words(matrix: list[list[int]], names: list[str]) -> str:
    worst = _pairs(matrix, names, 1)
    words = f", most often {worst.iloc[0, 0]} taken for {worst.iloc[0, 1]}" if len(worst) else ""
    return f"Confusion matrix of {len(names)} classes{words}"


def _classes(report: dict[str, Any]) -> None:
    rows = report["per_class"]
    if len(rows) <= charts.MOST_CELLS:
        st.plotly_chart(charts.class_bars(rows), config={"displayModeBar": False}, key="class-bars", alt="Precision and recall of each class")
    share = st.column_config.ProgressColumn
    st.dataframe(
        pd.DataFrame(rows)[["name", "f1", "recall", "precision", "support"]].sort_values("f1"),
        hide_index=True,
        column_config={
            "name": st.column_config.TextColumn("Class"),
            "f1": share("F1", format="percent", min_value=0, max_value=1, help="One figure for both: high only if both recall and precision are high."),
            "recall": share("Found (recall)", format="percent", min_value=0, max_value=1, help="Of the pictures of this class, the share it found."),
            "precision": share(
                "Right when it says so (precision)", format="percent", min_value=0, max_value=1, help="Of the pictures it calls this class, the share that are."
            ),
            "support": st.column_config.NumberColumn("Pictures", help="Held-out pictures of this class. With few of them the figures are rough."),
        },
    )


def _calibration(report: dict[str, Any]) -> None:
    bins = [row for row in report["calibration"]["bins"] if row["count"]]
    st.markdown(_sureness_words(bins))
    st.plotly_chart(
        charts.calibration(report["calibration"]["bins"]),
        config={"displayModeBar": False},
        key="calibration",
        alt="How often it is right against how sure it is",
    )
    st.caption("On the dotted line it is exactly as sure as it should be; below it, too sure; above it, too careful. Larger dots stand for more pictures.")


def _sureness_words(bins: list[dict[str, Any]]) -> str:
    if not bins:
        return "There are no pictures to measure this on."
    top = max(bins, key=lambda row: (row["count"], row["confidence"]))
    gap = top["confidence"] - top["accuracy"]
    judgement = "about as sure as it should be" if abs(gap) < 0.05 else "too sure of itself" if gap > 0 else "more careful than it need be"
    says, right, count = percent(top["confidence"], 0), percent(top["accuracy"], 0), amount(top["count"], "picture")
    return f"When it says **{says}** it is right **{right}** of the time ({count}): {judgement}."
