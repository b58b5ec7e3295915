"""Results of a semantic segmenter: the headline, the pictures it did worst on, which class is mistaken for which, and by class."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engine.runs import Run
from pages.parts import charts
from pages.parts.answers import answer_dialog, answer_url
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.results_classes import SPLIT_WORDS
from pages.parts.scores import expected
from pages.parts.wording import amount, duration, percent

__all__ = ["body"]

PER_WALL = 18
SHOWN = {"errors": "What is wrong", "answer": "What it said", "truth": "What is there"}


def body(run: Run, report: dict[str, Any]) -> None:
    """Show everything under the run picker."""
    _headline(report)
    pictures, confused, classes = st.tabs(["Pictures, worst first", "Which is mistaken for which", "By class"])
    with pictures:
        _pictures(run, report)
    with confused:
        _confusion(report)
    with classes:
        _classes(report)


def _headline(report: dict[str, Any]) -> None:
    metrics, n = report["metrics"], report["n"]
    with st.container(border=True):
        st.markdown(f"## {percent(metrics['pixel_accuracy'])} of all pixels right")
        st.markdown(
            f"What it marks and what is there share **{percent(metrics['miou'])}** of their area (mean IoU). {expected(report['interval'].get('miou'))}",
            help="Intersection over union, mean over the classes, the background among them. The range is where 95 of 100 resampled sets of pictures fall.",
        )
        st.caption(f"Measured on {amount(n, 'picture')}: {SPLIT_WORDS.get(report['split'], report['split'])}.")
    with st.grid("auto", min_column_width=140, gap="small"):
        things = metrics.get("miou_things")
        st.metric("Class IoU", percent(things), border=True, help="The same mean without the background, which is usually easy.")
        st.metric("Dice", percent(metrics["dice"]), border=True, help="Twice the shared area over the sum of both areas; mean over the classes.")
        st.metric("Boundary F1", percent(metrics.get("boundary_f1")), border=True, help="How exactly its outlines follow the true ones.")
        total = (report.get("seconds") or {}).get("total")
        if total:
            st.metric("Trained in", duration(total), border=True)


def _pictures(run: Run, report: dict[str, Any]) -> None:
    rows = report["mistakes"]
    show = st.segmented_control("Show", list(SHOWN), default="errors", required=True, format_func=SHOWN.__getitem__, key=f"map-show-{run.id}")
    pages = max(1, -(-len(rows) // PER_WALL))
    page = min(int(st.session_state.get(f"map-page-{run.id}", 1)), pages)
    tiles = [
        Tile(
            row["item"],
            f"{percent(row['quality'], 0)} shared",
            "mean IoU of this picture",
            "plain",
            source=answer_url(run, row["item"], 384, show=show or "errors"),
        )
        for row in rows[(page - 1) * PER_WALL : page * PER_WALL]
    ]
    picked = picture_wall(tiles, key=f"wall-map-{run.id}", wide=True, whole=True)
    if pages > 1:
        st.pagination(pages, key=f"map-page-{run.id}")
    if picked is not None:
        answer_dialog(run, picked, 0.0, 0.5)


def _confusion(report: dict[str, Any]) -> None:
    names = ["background", *report["classes"]]
    st.caption("Pixels: rows are what they belong to, columns what they were called, as shares of the row.")
    shares = [[round(1000 * count / max(1, sum(line))) / 10 for count in line] for line in report["confusion"]]
    if len(names) <= charts.MOST_CELLS:
        alt = "Share of each class's pixels by what they were called"
        st.plotly_chart(charts.confusion(shares, names, unit="% of the pixels"), config={"displayModeBar": False}, key="map-matrix", alt=alt)
    else:
        st.dataframe(pd.DataFrame(shares, index=names, columns=names))


def _classes(report: dict[str, Any]) -> None:
    share = st.column_config.ProgressColumn
    st.dataframe(
        pd.DataFrame(report["per_class"])[["name", "iou", "dice", "recall", "precision", "pixels"]],
        hide_index=True,
        column_config={
            "name": st.column_config.TextColumn("Class"),
            "iou": share("IoU", format="percent", min_value=0, max_value=1, help="Shared area over the area of both."),
            "dice": share("Dice", format="percent", min_value=0, max_value=1),
            "recall": share("Found (recall)", format="percent", min_value=0, max_value=1, help="Of this class's pixels, the share it marked so."),
            "precision": share("Right when it says so", format="percent", min_value=0, max_value=1),
            "pixels": st.column_config.NumberColumn("Pixels", format="compact"),
        },
    )
