"""Results of a model that tags: the headline, the most wrong pictures, by class at its threshold, the pictures of a class, how honest its certainty is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engine.evaluation.tag_report import KINDS, Kind, TagPredictions, counts_of, of_class, read_predictions
from engine.runs import Run
from engine.tasks import TASKS
from pages.parts import charts
from pages.parts.lazy_tabs import lazy_tabs
from pages.parts.picture_wall import Tile
from pages.parts.results_classes import SPLIT_WORDS, wall
from pages.parts.scores import expected
from pages.parts.text import plain
from pages.parts.wording import amount, duration, percent

__all__ = ["body"]

KIND_WORDS: dict[Kind, tuple[str, str]] = {
    "missed": ("Missed", "that show **{}** without the model saying so"),
    "false": ("Said wrongly", "that do not show **{}** although the model says so"),
    "right": ("Right", "that show **{}**, as the model says"),
}


def body(run: Run, report: dict[str, Any]) -> None:
    """Show everything under the run picker."""
    _headline(report)
    tabs = {
        "Mistakes": lambda: _mistakes(run, report),
        "By tag": lambda: _classes(report),
        "Pictures of a tag": lambda: _pictures(run, report),
        "How sure it is": lambda: _calibration(report),
    }
    lazy_tabs(tabs, key="results-tags")


@st.cache_data(max_entries=16, show_spinner=False)
def _predictions(folder: str, mtime_ns: int, _run: Run) -> TagPredictions:  # noqa: ARG001 (the cache's key)
    return read_predictions(_run.path("predictions.npz"))


def _headline(report: dict[str, Any]) -> None:
    metrics, n = report["metrics"], report["n"]
    titles = TASKS[report["task"]].metric_titles
    right = round(metrics["exact_match"] * n)
    with st.container(border=True):
        st.markdown(f"## {percent(metrics['map'])} {titles['map'].lower()}")
        st.markdown(
            f"That is how well it ranks pictures with a tag above those without; 100\u00a0% is perfect. {expected(report['interval']['map'])} "
            f"On **{right:,} of {n:,}** pictures every tag is right and none is missed.",
            help="Average precision: go through the pictures from the likeliest on; how pure is what was passed, on average, whenever one with the tag comes? "
            "The mean is over the tags. The range is a 95 % bootstrap interval.",
        )
        st.caption(f"Measured on {n:,} {SPLIT_WORDS.get(report['split'], report['split'])}.")
    with st.grid("auto", min_column_width=150, gap="small"):
        st.metric("Macro F1", percent(metrics["macro_f1"]), border=True, help="Misses and false alarms in one figure. Every tag counts the same, however rare.")
        st.metric("Micro F1", percent(metrics["micro_f1"]), border=True, help="The same over all tags of all pictures together: common tags weigh more.")
        st.metric(titles["exact_match"], percent(metrics["exact_match"]), border=True, help="The share of pictures without any mistake.")
        loss_help = "Binary cross-entropy, summed over the tags of a picture: low when it is right and sure, high when it is wrong and sure."
        st.metric("Loss", f"{metrics['loss']:.3f}", border=True, help=loss_help)
        total = (report.get("seconds") or {}).get("total")
        if total:
            st.metric("Trained in", duration(total), border=True)


def _mistakes(run: Run, report: dict[str, Any]) -> None:
    wrong, names = report["mistakes"], report["classes"]
    if not wrong:
        st.success("It made no mistake on these pictures. Try it on new ones, or add harder pictures.", icon=":material/celebration:")
        return
    st.caption("Worst first. Wrong and forgotten tags often turn up here too. Click a picture to see what the model looked at, tag by tag.")

    def listed(places: list[int]) -> str:
        return ", ".join(names[place] for place in places)

    tiles = []
    for row in wrong:
        faults = [f"missed {listed(row['missed'])}"] if row["missed"] else []
        faults += [f"wrongly {listed(row['false'])}"] if row["false"] else []
        tiles.append(Tile(row["item"], "; ".join(faults), f"shows {listed(row['true']) or 'none'}", "wrong"))
    wall(run, tiles, key="mistakes")


def _classes(report: dict[str, Any]) -> None:
    rows = report["per_class"]
    if len(rows) <= charts.MOST_CELLS:
        st.plotly_chart(charts.class_bars(rows), config={"displayModeBar": False}, key="class-bars", alt="Precision and recall of each tag")
    share = st.column_config.ProgressColumn
    shown = ["name", "ap", "f1", "recall", "precision", "threshold", "support"]
    st.dataframe(
        pd.DataFrame(rows)[shown].sort_values("f1"),
        hide_index=True,
        column_config={
            "name": st.column_config.TextColumn("Tag"),
            "ap": share(
                "Average precision", format="percent", min_value=0, max_value=1, help="How well its probability ranks pictures, whatever the threshold."
            ),
            "f1": share("F1", format="percent", min_value=0, max_value=1, help="One figure for both: high only if both recall and precision are high."),
            "recall": share("Found (recall)", format="percent", min_value=0, max_value=1, help="Of the pictures with this tag, the share it found."),
            "precision": share(
                "Right when it says so (precision)",
                format="percent",
                min_value=0,
                max_value=1,
                help="Of the pictures it gives this tag, the share that have it.",
            ),
            "threshold": st.column_config.NumberColumn("Counts from", format="percent", help="From this probability on a picture gets the tag."),
            "support": st.column_config.NumberColumn("Pictures", help="Held-out pictures with this tag. With few of them the figures are rough."),
        },
    )
    chosen = "for the best F1 on the validation pictures" if report["val_metrics"] else "at a half, since there are no validation pictures to choose it on"
    st.caption(f"From which probability on each tag counts was set {chosen}. It travels in the exported file.")


def _pictures(run: Run, report: dict[str, Any]) -> None:
    found = _predictions(str(run.folder), run.path("predictions.npz").stat().st_mtime_ns, run)
    rows = report["per_class"]
    counts = counts_of(found, np.array(report["thresholds"]))
    worst = int((counts["missed"] + counts["false"]).argmax())
    left, right = st.columns([1, 2])
    slots = (f"tag-{run.id}", f"kind-{run.id}")
    for slot, first in zip(slots, (worst, "missed"), strict=True):
        st.session_state[slot] = st.session_state.get(slot, st.session_state.get(f"_{slot}", first))  # kept while another tab is open
    place = left.selectbox("Tag", range(len(rows)), format_func=lambda one: rows[one]["name"], key=slots[0])

    def title(kind: Kind) -> str:
        return f"{KIND_WORDS[kind][0]} ({counts[kind][place]:,})"

    kind = right.segmented_control("What became of it", KINDS, required=True, format_func=title, key=slots[1]) or "missed"
    st.session_state[f"_{slots[0]}"], st.session_state[f"_{slots[1]}"] = place, kind
    name, pictures = rows[place]["name"], of_class(found, place, kind, rows[place]["threshold"])
    words = KIND_WORDS[kind][1].format(plain(name))
    if not pictures:
        st.caption(f"There are no pictures {words}.")
        return
    st.caption(f"{amount(len(pictures), 'picture')} {words}. It counts from {percent(rows[place]['threshold'], 0)} on.")
    tiles = [Tile(item, name, f"{percent(sure, 0)} sure", "right" if kind == "right" else "wrong") for item, sure in pictures]
    wall(run, tiles, key=f"tag-{place}-{kind}", label=name)


def _calibration(report: dict[str, Any]) -> None:
    bins = [row for row in report["calibration"]["bins"] if row["count"]]
    error = report["calibration"]["ece"]
    judgement = "its percentages can be taken at their word" if error < 0.03 else f"its percentages are off by {percent(error)} on average"
    st.markdown(f"Over all tags of all pictures, {judgement}.")
    st.plotly_chart(
        charts.calibration(bins, unit="answers"),
        config={"displayModeBar": False},
        key="calibration",
        alt="How often a tag is there against how likely it was said",
    )
    st.caption(
        "Each picture gives one answer a tag. On the dotted line a tag is there exactly as often as it says; below it, it says so too often; "
        "above it, too rarely. Larger dots stand for more answers."
    )
