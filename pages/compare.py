"""Compare: runs side by side, what differs between them, and whether the better one is really better."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engine.data.marks import TAGGING, TASK_KINDS
from engine.data.projects import Project
from engine.evaluation.compare import Comparison, compare
from engine.evaluation.curves import curves
from engine.recipe import Setting, settings
from engine.runs import Run
from engine.tasks import TASKS
from pages.parts import charts
from pages.parts import state as ui
from pages.parts.answers import answer_url, answers_dialog, balanced
from pages.parts.form import said
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.run_picker import MOST_LISTED, finished_runs, label_of, summary
from pages.parts.scores import metric_title
from pages.parts.why import why_dialog
from pages.parts.wording import duration, percent, share_range

MOST_RUNS = 8
CURVES = {
    "loss": ("Loss at each step", False),
    "train_loss": ("Loss on training pictures", False),
    "learning_rate": ("Learning rate", False),
    "images_per_s": ("Pictures per second", False),
}
FIGURE_HELP = {
    "macro_f1": "Every class counts the same.",
    "micro_f1": "Every tag of every picture counts the same, so common ones weigh more.",
    "exact_match": "The share of pictures of which every tag is right and none is missed.",
    "ece": "By how much its stated certainty is off.",
}
CLASS_FIGURES = {"ap": "Average precision", "f1": "F1", "iou": "IoU"}
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
        _curves([run for run in chosen if run.id in names], names, _curve_titles(found.task))
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
            help="A paired test on the same pictures, corrected for comparing several runs: exact McNemar where an answer is right or wrong, "
            "random sign flips where it is better or worse, and a paired bootstrap of the figure itself for tags.",
        )
        for note in found.notes:
            st.caption(f":material/info: {note}")
        if found.unfinished:
            st.caption(f":material/hourglass_top: Left out because they have no results yet: {', '.join(found.unfinished)}.")


def _board(found: Comparison) -> None:
    names, title = _names(found), metric_title(found.task)
    others = {key: words for key, words in TASKS[found.task].metric_titles.items() if key != TASKS[found.task].metric}
    table = pd.DataFrame(
        {
            "Run": names[row.run_id],
            title: row.score,
            "Likely between": share_range(*row.interval) if row.interval else "–",
            **{words: row.figures.get(key) for key, words in others.items()},
            "Took": duration(row.seconds),
            "Starts from": row.start,
            "Tested on": f"{row.n:,} {row.split} pictures",
        }
        for row in found.leaderboard
    )
    shares = {words: st.column_config.NumberColumn(format="percent", help=FIGURE_HELP.get(key)) for key, words in others.items() if key != "loss"}
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            title: st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
            "Likely between": st.column_config.TextColumn(help=f"95 % interval of the {title} on new pictures of the same kind."),
            "Loss": st.column_config.NumberColumn(format="%.3f"),
            **shares,
        },
    )


def _curve_titles(task: str) -> dict[str, tuple[str, bool]]:
    """Return the curves that can be overlaid: name -> title and whether it is a share."""
    figures = {f"val_{key}": (f"{words} on validation pictures", key != "loss") for key, words in TASKS[task].metric_titles.items()}
    return {f"val_{TASKS[task].metric}": figures[f"val_{TASKS[task].metric}"], **figures, **CURVES}


def _curves(chosen: list[Run], names: dict[str, str], titles: dict[str, tuple[str, bool]]) -> None:
    drawn = {run.id: curves(run) for run in chosen}
    offered = [key for key in titles if any(key in curve for curve in drawn.values())]
    if not offered:
        st.caption("These runs left no curves: they only computed features and solved for the last layer.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        what = st.selectbox("Curve", offered, format_func=lambda key: titles[key][0], key="curve", width=320)
        by = st.segmented_control("Along", ["step", "minute"], default="step", required=True, key="along", format_func=lambda key: f"by {key}")
    lines = {names[run_id]: (curve[what][by], curve[what]["value"]) for run_id, curve in drawn.items() if what in curve}
    title, shares = titles[what]
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
    known = {row.key: row for row in settings()}
    rows = [
        {"Setting": known[key].title, **{names[run_id]: _shown(known[key], value) for run_id, value in zip(found.run_ids, values, strict=True)}}
        for key, values in found.differing.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(f"The other {len(known) - 1 - len(rows)} settings are the same.")


def _shown(row: Setting, value: Any) -> str:
    return str(value) if row.kind == "text" else said(row, value)


def _classes(found: Comparison, names: dict[str, str]) -> None:
    leader = found.leaderboard[0].run_id
    others = [run_id for run_id in found.run_ids if run_id != leader]
    other = others[0] if len(others) == 1 else st.selectbox("Against the leader", others, format_func=names.__getitem__, key="delta-against")
    place = found.run_ids.index(other)
    rows = [(row["name"], row["delta"][place]) for row in found.per_class if row["delta"][place] is not None]
    figure = CLASS_FIGURES[found.class_metric]
    st.caption(f"{figure} of **{names[other]}** minus {figure} of **{names[leader]}**, class by class.")
    if 0 < len(rows) <= charts.MOST_CELLS:
        st.plotly_chart(
            charts.delta_bars([name for name, _ in rows], [delta for _, delta in rows], f"difference in {figure}"),
            config={"displayModeBar": False},
            key="deltas",
            alt=f"Differences in {figure} by class",
        )
    table = pd.DataFrame({"Class": row["name"], **{names[run_id]: row["value"][i] for i, run_id in enumerate(found.run_ids)}} for row in found.per_class)
    st.dataframe(table, hide_index=True, column_config={names[run_id]: st.column_config.NumberColumn(format="percent") for run_id in found.run_ids})


def _disagreements(project: Project, chosen: list[Run], found: Comparison, names: dict[str, str]) -> None:
    if not found.disagreements:
        st.caption("On every picture that all of them were tested on, they give the same answer.")
        return
    drawn = "class" not in TASK_KINDS[found.task]
    apart = drawn or found.task == TAGGING
    words = "First those on which they lie furthest apart" if apart else "First those that one of them gets right"
    st.caption(f"{found.n_disagreements:,} of {found.n_common:,} pictures. {words}. Click a picture to see what each looked at.")
    pages = -(-len(found.disagreements) // PER_WALL)
    page = min(int(st.session_state.get("disagreements-page", 1)), pages)
    shown = found.disagreements[(page - 1) * PER_WALL : page * PER_WALL]
    best = next(run for run in chosen if run.id == found.leaderboard[0].run_id)
    others = [run for run in chosen if run.id != best.id and run.id in found.run_ids]
    tiles = [_disagreement(row, found, names, best, drawn) for row in shown]
    picked = picture_wall(tiles, key=f"wall-disagree-{project.id}", wide=True)
    if pages > 1:
        st.pagination(pages, key="disagreements-page")
    if picked is not None:
        if drawn:
            answers_dialog([best, *others], picked)
        else:
            why_dialog(best, picked, others=others)


def _disagreement(row: dict[str, Any], found: Comparison, names: dict[str, str], best: Run, drawn: bool) -> Tile:
    if not drawn:
        tagging = found.task == TAGGING
        return Tile(row["item"], f"{'shows' if tagging else 'is'} {row['true']}", _answers(row, found.run_ids, names, sure=not tagging))
    lines = [f"{names[run_id]}: {percent(value, 0)}" for run_id, value in zip(found.run_ids, row["quality"], strict=True)]
    return Tile(row["item"], row["true"], "\n".join(lines), source=answer_url(best, row["item"], 384, confidence=balanced(best)))


def _answers(row: dict[str, Any], run_ids: list[str], names: dict[str, str], *, sure: bool) -> str:
    lines = [
        f"{'✓' if answer == row['true'] else '✗'} {names[run_id]}: {answer}{f' {percent(confidence, 0)}' if sure else ''}"
        for run_id, answer, confidence in zip(run_ids, row["predicted"], row["confidence"], strict=True)
    ]
    return "\n".join(lines)


with ui.guard():
    main()
