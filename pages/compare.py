"""Compare: runs side by side, what differs between them, and whether the better one is really better."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engine.data.projects import Project
from engine.evaluation.compare import Comparison, compare
from engine.evaluation.curves import curves
from engine.recipe import settings
from engine.runs import Run
from pages.parts import charts
from pages.parts import state as ui
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.run_picker import MOST_LISTED, finished_runs, label_of, summary
from pages.parts.why import why_dialog
from pages.parts.wording import duration, percent, share_range

MOST_RUNS = 8
CURVES = {
    "val_accuracy": ("Accuracy on validation pictures", True),
    "val_loss": ("Loss on validation pictures", False),
    "loss": ("Loss at each step", False),
    "train_loss": ("Loss on training pictures", False),
    "learning_rate": ("Learning rate", False),
    "images_per_s": ("Pictures per second", False),
}
PER_WALL = 18


def main() -> None:
    ui.stepper("Compare")
    project = ui.current_project()
    if project is None:
        ui.no_project("Compare")
        return
    st.title("Compare")
    candidates = finished_runs(project.id)
    if len(candidates) < 2:
        words = "One run has finished; train another with a different goal or setting." if candidates else "Train two runs with different goals or settings."
        ui.empty("compare", "Two runs are needed to compare", f"{words} Then see which is better and whether that is luck.", "train.py", "Train another run")
        return
    chosen = _choose(candidates)
    if len(chosen) < 2:
        st.info("Choose two runs or more.", icon=":material/compare:")
        return
    found = _compared(tuple((str(run.folder), run.path("report.json").stat().st_mtime_ns) for run in chosen), chosen)
    names = _names(found)
    _verdict(found)
    _board(found)
    overlaid, settings_tab, by_class, pictures = st.tabs(["Curves", "What was set differently", "By class", "Where they disagree"])
    with overlaid:
        _curves([run for run in chosen if run.id in names], names)
    with settings_tab:
        _settings(found, names)
    with by_class:
        _classes(found, names)
    with pictures:
        _disagreements(project, chosen, found, names)
    ui.shell_command("python -m engine compare " + " ".join(run.id for run in chosen))


def _choose(candidates: list[Run]) -> list[Run]:
    by_id = {run.id: run for run in candidates}
    first = [run.id for run in candidates[:2]]
    current = ui.current_run()
    if current is not None and current.id in by_id and current.id not in first:
        first = [current.id, first[0]]
    key = "compared"
    kept = [run_id for run_id in st.session_state.get(key, first) if run_id in by_id]
    st.session_state[key] = kept or first
    chosen = st.multiselect(
        "Runs",
        list(by_id),
        format_func=lambda run_id: label_of(summary(by_id[run_id])),
        key=key,
        max_selections=MOST_RUNS,
        select_all=False,
        help=f"Up to {MOST_RUNS} of the newest {MOST_LISTED} runs that have results.",
    )
    return [by_id[run_id] for run_id in chosen]


@st.cache_data(max_entries=32, show_spinner="Comparing picture by picture…")
def _compared(stamps: tuple[tuple[str, int], ...], _runs: list[Run]) -> Comparison:  # noqa: ARG001 (the cache's key)
    return compare(_runs)


def _names(found: Comparison) -> dict[str, str]:
    """Return run id -> a name that only one of them has."""
    given = {row.run_id: row.name for row in found.leaderboard}
    return {run_id: name if list(given.values()).count(name) == 1 else f"{name} ({run_id[-4:]})" for run_id, name in given.items()}


def _verdict(found: Comparison) -> None:
    with st.container(border=True):
        st.markdown(
            f"**{found.verdict}**",
            help="A paired test (exact McNemar, corrected for comparing several runs): only pictures count that one run gets right and the other wrong.",
        )
        for note in found.notes:
            st.caption(f":material/info: {note}")
        if found.unfinished:
            st.caption(f":material/hourglass_top: Left out because they have no results yet: {', '.join(found.unfinished)}.")


def _board(found: Comparison) -> None:
    names = _names(found)
    table = pd.DataFrame(
        {
            "Run": names[row.run_id],
            "Accuracy": row.accuracy,
            "Likely between": share_range(*row.interval),
            "Macro F1": row.macro_f1,
            "Loss": row.loss,
            "Calibration error": row.ece,
            "Took": duration(row.seconds),
            "Starts from": row.start,
            "Tested on": f"{row.n:,} {row.split} pictures",
        }
        for row in found.leaderboard
    )
    share = st.column_config.ProgressColumn
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "Accuracy": share(format="percent", min_value=0, max_value=1),
            "Likely between": st.column_config.TextColumn(help="95 % interval of the accuracy on new pictures of the same kind."),
            "Macro F1": st.column_config.NumberColumn(format="percent", help="Every class counts the same."),
            "Loss": st.column_config.NumberColumn(format="%.3f"),
            "Calibration error": st.column_config.NumberColumn(format="percent", help="By how much its stated certainty is off."),
        },
    )


def _curves(chosen: list[Run], names: dict[str, str]) -> None:
    drawn = {run.id: curves(run) for run in chosen}
    offered = [key for key in CURVES if any(key in curve for curve in drawn.values())]
    if not offered:
        st.caption("These runs left no curves: they only computed features and solved for the last layer.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        what = st.selectbox("Curve", offered, format_func=lambda key: CURVES[key][0], key="curve", width=320)
        by = st.segmented_control("Along", ["step", "minute"], default="step", required=True, key="along", format_func=lambda key: f"by {key}")
    lines = {names[run_id]: (curve[what][by], curve[what]["value"]) for run_id, curve in drawn.items() if what in curve}
    title, shares = CURVES[what]
    st.plotly_chart(
        charts.curves(lines, x_title="training steps" if by == "step" else "minutes of work", y_title=title, percent_axis=shares),
        config={"displayModeBar": False},
        key="curves",
        alt=f"{title} of {len(lines)} runs by {by}",
    )


def _settings(found: Comparison, names: dict[str, str]) -> None:
    if not found.differing:
        st.caption("Nothing: these runs have the same settings. What differs between them is luck, or the data.")
        return
    titles = {row.key: row.title for row in settings()}
    rows = [
        {"Setting": titles.get(key, key), **{names[run_id]: _shown(value) for run_id, value in zip(found.run_ids, values, strict=True)}}
        for key, values in found.differing.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(f"The other {len(titles) - 1 - len(rows)} settings are the same.")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _classes(found: Comparison, names: dict[str, str]) -> None:
    leader = found.leaderboard[0].run_id
    others = [run_id for run_id in found.run_ids if run_id != leader]
    other = others[0] if len(others) == 1 else st.selectbox("Against the leader", others, format_func=names.__getitem__, key="delta-against")
    place = found.run_ids.index(other)
    rows = [(row["name"], row["delta"][place]) for row in found.per_class if row["delta"][place] is not None]
    st.caption(f"F1 of **{names[other]}** minus F1 of **{names[leader]}**, class by class.")
    if 0 < len(rows) <= charts.MOST_CELLS:
        st.plotly_chart(
            charts.delta_bars([name for name, _ in rows], [delta for _, delta in rows], "difference in F1"),
            config={"displayModeBar": False},
            key="deltas",
            alt="Differences in F1 by class",
        )
    table = pd.DataFrame({"Class": row["name"], **{names[run_id]: row["f1"][i] for i, run_id in enumerate(found.run_ids)}} for row in found.per_class)
    st.dataframe(table, hide_index=True, column_config={names[run_id]: st.column_config.NumberColumn(format="percent") for run_id in found.run_ids})


def _disagreements(project: Project, chosen: list[Run], found: Comparison, names: dict[str, str]) -> None:
    if not found.disagreements:
        st.caption("On every picture that all of them were tested on, they give the same answer.")
        return
    st.caption(
        f"{found.n_disagreements:,} of {found.n_common:,} pictures. First those that one of them gets right. Click a picture to see what each looked at."
    )
    pages = -(-len(found.disagreements) // PER_WALL)
    page = min(int(st.session_state.get("disagreements-page", 1)), pages)
    shown = found.disagreements[(page - 1) * PER_WALL : page * PER_WALL]
    tiles = [Tile(row["item"], f"is {row['true']}", _answers(row, found.run_ids, names)) for row in shown]
    picked = picture_wall(tiles, key=f"wall-disagree-{project.id}", wide=True)
    if pages > 1:
        st.pagination(pages, key="disagreements-page")
    if picked is not None:
        best = next(run for run in chosen if run.id == found.leaderboard[0].run_id)
        why_dialog(best, picked, others=[run for run in chosen if run.id != best.id])


def _answers(row: dict[str, Any], run_ids: list[str], names: dict[str, str]) -> str:
    lines = [
        f"{'✓' if answer == row['true'] else '✗'} {names[run_id]}: {answer} {percent(sure, 0)}"
        for run_id, answer, sure in zip(run_ids, row["predicted"], row["confidence"], strict=True)
    ]
    return "\n".join(lines)


with ui.guard():
    main()
