"""Results of a detector or an instance segmenter: the headline, a threshold explorer, the mistakes by kind, by class and size."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engine.evaluation import boxes, operating
from engine.evaluation.boxes import Matched, Things
from engine.evaluation.drawn import Evidence, evidence
from engine.evaluation.operating import GOALS, Sweep
from engine.runs import Run
from pages.parts import charts
from pages.parts.answers import answer_dialog, answer_url
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.results_classes import SPLIT_WORDS
from pages.parts.scores import expected
from pages.parts.wording import amount, duration, percent

__all__ = ["body"]

PER_WALL = 18
MISTAKE_WORDS = {
    "class": ("Wrong class", "the right place, but called something else"),
    "location": ("Not quite the place", "the right class, but the outline is off"),
    "both": ("Wrong class and place", "another class, and the outline is off"),
    "duplicate": ("Found twice", "the same thing was found already"),
    "background": ("Nothing there", "a false alarm in the background"),
    "missed": ("Missed", "a thing that it did not find"),
}


def body(run: Run, report: dict[str, Any]) -> None:
    """Show everything under the run picker."""
    _headline(report)
    explore, mistakes, confused, classes = st.tabs(["When does it count?", "Mistakes", "Which is mistaken for which", "By class and size"])
    seen = _evidence(str(run.folder), run.path("predictions.npz").stat().st_mtime_ns)
    with explore:
        _explorer(run, report, seen)
    with mistakes:
        _mistakes(run, report)
    with confused:
        _confusion(report)
    with classes:
        _classes(report)


@st.cache_data(max_entries=8, show_spinner=False)
def _evidence(folder: str, mtime_ns: int) -> Evidence:  # noqa: ARG001 (the cache's key)
    from pathlib import Path

    return evidence(Path(folder))


@st.cache_data(max_entries=32, show_spinner="Matching what was found with what is there…")
def _matched(folder: str, mtime_ns: int, overlap: float) -> tuple[Things, Things, Matched]:
    seen = _evidence(folder, mtime_ns)
    found, true = seen.found, seen.true
    return found, true, boxes.match(found, true, overlap)


def _headline(report: dict[str, Any]) -> None:
    metrics, point, n = report["metrics"], report["points"]["balanced"], report["n"]
    what = "outlines" if report["task"] == "instance-segmentation" else "boxes"
    with st.container(border=True):
        st.markdown(f"## Finds {percent(point['recall'])}, right {percent(point['precision'])} of the time")
        st.markdown(
            f"In {amount(n, 'picture')} it found **{point['right']:,} of {point['right'] + point['missed']:,}** things, "
            f"with **{amount(point['false_alarms'], 'false alarm')}**, counting what it is at least {percent(point['confidence'], 0)} sure of."
        )
        words = expected(report["interval"].get("map_50"), "an AP50 of ")
        st.caption(f"Measured on {SPLIT_WORDS.get(report['split'], report['split'])}. {words}")
    with st.grid("auto", min_column_width=140, gap="small"):
        st.metric(
            "mAP", percent(metrics["map"]), border=True, help=f"COCO's main figure: average precision, mean over how exactly {what} must fit (.50 to .95)."
        )
        st.metric("AP50", percent(metrics["map_50"]), border=True, help=f"Average precision where {what} must overlap the true ones by half.")
        st.metric("AP75", percent(metrics["map_75"]), border=True, help=f"The same, where {what} must overlap by three quarters.")
        if metrics.get("pq") is not None:
            st.metric("PQ", percent(metrics["pq"]), border=True, help="Panoptic quality: how well outlines fit times how many are found.")
        st.metric("AR", percent(metrics["ar_100"]), border=True, help="Average recall with up to 100 things a picture: what it could find at best.")
        total = (report.get("seconds") or {}).get("total")
        if total:
            st.metric("Trained in", duration(total), border=True)


# ---------------------------------------------------------------- when a found thing counts


def _explorer(run: Run, report: dict[str, Any], seen: Evidence) -> None:
    st.caption("A model is more or less sure of each thing it finds. From how sure on should it count? Choose a goal, or drag.")
    slot = f"explored-{run.id}"
    st.session_state.setdefault(slot, round(report["points"]["balanced"]["confidence"], 2))

    def follow() -> None:
        goal = st.session_state.get(f"goal-{run.id}")
        if goal:
            st.session_state[slot] = round(report["points"][goal]["confidence"], 2)

    goal = st.segmented_control(
        "Goal", list(GOALS), format_func=lambda key: GOALS[key].title, key=f"goal-{run.id}", on_change=follow, help="Chosen on the validation pictures."
    )
    if goal:
        st.caption(GOALS[goal].words)
    left, right = st.columns(2)
    confidence = left.slider("Counts from this sure on", 0.0, 1.0, step=0.01, key=slot)
    overlap = right.slider(
        "Must overlap the true one by", 0.3, 0.9, 0.5, 0.05, key=f"overlap-{run.id}", help="Intersection over union: the shared area over the area of both."
    )
    found, true, matched = _matched(str(run.folder), run.path("predictions.npz").stat().st_mtime_ns, overlap)
    names = ["All classes", *seen.classes]
    label = names.index(st.selectbox("Class", names, key=f"explored-class-{run.id}", width=260)) - 1
    swept = operating.sweep(found, true, matched, label if label >= 0 else None)
    point = swept.at(confidence)
    with st.grid("auto", min_column_width=130, gap="small"):
        st.metric("Found", f"{point.right:,} of {point.right + point.missed:,}", border=True)
        st.metric("False alarms", f"{point.false_alarms:,}", border=True)
        st.metric("Missed", f"{point.missed:,}", border=True)
        st.metric("Precision", percent(point.precision), border=True, help="Of what it found, the share that is right.")
        st.metric("Recall", percent(point.recall), border=True, help="Of what is there, the share that it found.")
    st.plotly_chart(
        charts.precision_recall(_curves(found, true, matched, seen, label), (point.recall, point.precision)),
        config={"displayModeBar": False},
        key=f"pr-{run.id}",
        alt="Precision against recall",
    )
    _samples(run, seen, found, true, matched, confidence, overlap)


def _curves(found: Things, true: Things, matched: Matched, seen: Evidence, label: int) -> dict[str, list[tuple[float, float]]]:
    """Return precision over recall, of all classes and of each, or of the one that was chosen."""
    wanted: dict[str, Sweep] = {"All classes": operating.sweep(found, true, matched)} if label < 0 else {}
    shown = range(len(seen.classes)) if label < 0 and len(seen.classes) <= 8 else [label] if label >= 0 else []
    wanted |= {seen.classes[place]: operating.sweep(found, true, matched, place) for place in shown}
    return {name: [(point.recall or 0.0, point.precision or 0.0) for point in swept.curve() if point.recall is not None] for name, swept in wanted.items()}


def _samples(run: Run, seen: Evidence, found: Things, true: Things, matched: Matched, confidence: float, overlap: float) -> None:
    """Show pictures at this confidence, those with the most mistakes first."""
    sure = found.scores_M >= confidence
    alarms = np.bincount(found.picture_M[sure & (matched.true_of_F == -1)], minlength=len(seen.entries))
    hit = np.zeros(len(true), bool)
    hit[matched.true_of_F[sure & matched.right]] = True
    missed = np.bincount(true.picture_M[~hit & ~true.crowd_M], minlength=len(seen.entries))
    order = np.argsort(-(alarms + missed), kind="stable")
    st.markdown("Green is right, orange a false alarm, dashed magenta was missed.")
    pages = -(-len(order) // PER_WALL)
    page = min(int(st.session_state.get(f"explored-page-{run.id}", 1)), pages)
    tiles = [
        Tile(
            int(seen.entries[place]["id"]),
            f"{alarms[place]} false, {missed[place]} missed",
            "",
            "wrong" if alarms[place] + missed[place] else "right",
            source=answer_url(run, int(seen.entries[place]["id"]), 384, confidence=confidence, overlap=overlap),
        )
        for place in order[(page - 1) * PER_WALL : page * PER_WALL]
    ]
    picked = picture_wall(tiles, key=f"wall-explored-{run.id}", wide=True, whole=True)
    if pages > 1:
        st.pagination(pages, key=f"explored-page-{run.id}")
    if picked is not None:
        answer_dialog(run, picked, confidence, overlap)


# ---------------------------------------------------------------- mistakes


def _mistakes(run: Run, report: dict[str, Any]) -> None:
    counts, costs = report["errors"]["counts"], report["errors"]["costs"]
    confidence = report["points"]["balanced"]["confidence"]
    if not any(counts.values()):
        st.success("It made no mistake on these pictures.", icon=":material/celebration:")
        return
    st.caption(f"Each mistake among what it is at least {percent(confidence, 0)} sure of is of one kind (TIDE, Bolya et al. 2020).")
    rows = [
        {"Kind": MISTAKE_WORDS[kind][0], "What it means": MISTAKE_WORDS[kind][1], "Count": counts[kind], "Costs": costs[kind]}
        for kind in sorted(counts, key=lambda kind: -costs[kind])
    ]
    column = st.column_config.NumberColumn("AP50 it costs", format="percent", help="By how much average precision would rise if this never happened.")
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"Costs": column})
    present = [kind for kind in MISTAKE_WORDS if counts[kind]]
    shown = st.pills("Show", present, format_func=lambda kind: f"{MISTAKE_WORDS[kind][0]} ({counts[kind]:,})", key=f"kind-{run.id}")
    wanted = [row for row in report["mistakes"] if not shown or row["kind"] == shown]
    pages = max(1, -(-len(wanted) // PER_WALL))
    page = min(int(st.session_state.get(f"mistakes-page-{run.id}", 1)), pages)
    seen: Counter[int] = Counter()
    tiles = []
    for row in wanted[(page - 1) * PER_WALL : page * PER_WALL]:
        seen[row["item"]] += 1
        if seen[row["item"]] == 1:  # several mistakes in one picture are one tile: they are all drawn in it
            tiles.append(_mistake_tile(run, row, report["classes"], confidence))
    picked = picture_wall(tiles, key=f"wall-mistakes-{run.id}", wide=True, whole=True)
    if pages > 1:
        st.pagination(pages, key=f"mistakes-page-{run.id}")
    if picked is not None:
        answer_dialog(run, picked, confidence, 0.5)


def _mistake_tile(run: Run, row: dict[str, Any], classes: list[str], confidence: float) -> Tile:
    said = f"said {classes[row['found']['class']]}, {percent(row['score'], 0)} sure" if row["found"] else ""
    truth = f"is {classes[row['true']['class']]}" if row["true"] else "nothing is there"
    source = answer_url(run, row["item"], 384, confidence=confidence, overlap=0.5)
    return Tile(row["item"], MISTAKE_WORDS[row["kind"]][0], "\n".join(filter(None, [said, truth])), "wrong", source=source)


def _confusion(report: dict[str, Any]) -> None:
    names = [*report["classes"], "background"]
    st.caption("Rows are what is there, columns what it was called. The last row is false alarms in the background, the last column what was missed.")
    if len(names) <= charts.MOST_CELLS:
        st.plotly_chart(charts.confusion(report["confusion"], names), config={"displayModeBar": False}, key="things-matrix", alt="Confusion with background")
    else:
        table = report["confusion"]
        pairs = sorted(((count, i, j) for i, line in enumerate(table) for j, count in enumerate(line) if i != j and count), reverse=True)[:40]
        st.dataframe(pd.DataFrame([{"Really is": names[i], "It was called": names[j], "Times": count} for count, i, j in pairs]), hide_index=True)


def _classes(report: dict[str, Any]) -> None:
    share = st.column_config.ProgressColumn
    st.dataframe(
        pd.DataFrame(report["per_class"])[["name", "map", "map_50", "recall", "precision", "count"]],
        hide_index=True,
        column_config={
            "name": st.column_config.TextColumn("Class"),
            "map": share("mAP", format="percent", min_value=0, max_value=1, help="COCO's average precision of this class."),
            "map_50": share("AP50", format="percent", min_value=0, max_value=1),
            "recall": share("Found (recall)", format="percent", min_value=0, max_value=1, help="At the balanced confidence."),
            "precision": share("Right when it says so", format="percent", min_value=0, max_value=1, help="At the balanced confidence."),
            "count": st.column_config.NumberColumn("Things", help="How many are in these pictures. With few of them the figures are rough."),
        },
    )
    st.markdown("**By size**")
    words = {"small": "Small (below 32 × 32 pixels)", "medium": "Medium", "large": "Large (above 96 × 96 pixels)"}
    rows = [{"Size": words[row["name"]], "Things": row["count"], "mAP": row["map"]} for row in report["sizes"]]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"mAP": share(format="percent", min_value=0, max_value=1)})
