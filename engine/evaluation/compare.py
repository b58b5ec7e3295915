"""Runs side by side: who leads, what differs, on which pictures they disagree, and whether the difference is real.

Runs of different data versions are compared on the pictures that all of them were tested on, found again by content.
Curves are left to `engine.evaluation.curves`, the statistics to `engine.evaluation.paired`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import workspace
from engine.errors import StudioError
from engine.evaluation import metrics, paired
from engine.evaluation.report import Predictions, read_predictions
from engine.evaluation.verdict import verdict
from engine.recipe import differing
from engine.runs import Run, find, read_report

__all__ = ["Comparison", "Pair", "Row", "compare"]

MOST_DISAGREEMENTS = 500


@dataclass(frozen=True)
class Row:
    """One run on the leaderboard. `accuracy` and its interval are on its own held-out pictures, `common_accuracy` on those all share."""

    run_id: str
    name: str
    start: str
    version_id: str
    split: str
    n: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    loss: float
    ece: float
    common_accuracy: float | None
    common_interval: tuple[float, float] | None
    seconds: float | None


@dataclass(frozen=True)
class Pair:
    """The best run against another: pictures only the one gets right, and how likely luck explains it (corrected for many comparisons)."""

    best: str
    other: str
    wins: int
    losses: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    corrected_p: float


@dataclass(frozen=True)
class Comparison:
    """All that the Compare page shows. Lists with one entry a run follow `run_ids`; the leaderboard is best first."""

    run_ids: list[str]
    unfinished: list[str]
    leaderboard: list[Row]
    differing: dict[str, list[Any]]
    per_class: list[dict[str, Any]]
    disagreements: list[dict[str, Any]]
    pairs: list[Pair]
    n_common: int
    n_disagreements: int
    p_value: float | None
    verdict: str
    notes: list[str]


@dataclass(frozen=True)
class _Tested:
    """A run with its answers, keyed by the content of the pictures."""

    run: Run
    report: dict[str, Any]
    version: dict[str, Any]
    predictions: Predictions
    rows: dict[str, int]


def compare(runs: list[Run]) -> Comparison:
    """Lay runs side by side. Those that have no report yet are named in `unfinished` and otherwise left out.

    Raises:
        StudioError: if runs of different tasks are compared, or none has a report.
    """
    tested = [_load(run, report) for run in runs if (report := read_report(run)) is not None]
    if not tested:
        raise StudioError("none of these runs has finished", "Wait until at least one has, then compare again.")
    tasks = sorted({entry.report["task"] for entry in tested})
    if len(tasks) > 1:
        raise StudioError(f"runs of different tasks ({', '.join(tasks)}) cannot be compared", "Choose runs of one task.")
    common = _common(tested)
    right = _right(tested, common)
    best = _best(tested, right)
    pairs = _pairs(tested, right, best)
    disagreements = _disagreements(tested, common)
    board = [_row(entry, right[:, i]) for i, entry in enumerate(tested)]
    board.sort(key=lambda row: (row.run_id != tested[best].run.id, -(row.common_accuracy if row.common_accuracy is not None else row.accuracy), -row.macro_f1))
    names = {entry.run.id: _name(entry, tested) for entry in tested}
    return Comparison(
        run_ids=[entry.run.id for entry in tested],
        unfinished=[run.id for run in runs if run.id not in names],
        leaderboard=board,
        differing=differing([entry.run.recipe for entry in tested]),
        per_class=_per_class(tested, best),
        disagreements=disagreements[:MOST_DISAGREEMENTS],
        pairs=pairs,
        n_common=len(common),
        n_disagreements=len(disagreements),
        p_value=min((pair.corrected_p for pair in pairs), default=None),
        verdict=verdict(names, tested[best].run.id, pairs, right.mean(0) if len(common) else None, len(common)),
        notes=[*_notes(tested, len(common)), *_seen_before(tested, set(common))],
    )


def _load(run: Run, report: dict[str, Any]) -> _Tested:
    version = workspace.read_json(run.path("version.json"))
    predictions = read_predictions(run.path("predictions.npz"))
    content = {item["id"]: item["sha256"] for item in version["items"]}
    rows = {content[item]: row for row, item in enumerate(predictions.item_ids.tolist()) if item in content}
    return _Tested(run, report, version, predictions, rows)


def _name(entry: _Tested, tested: list[_Tested]) -> str:
    """Return the run's name, with its id where two share a name."""
    name = entry.run.name
    alike = sum(other.run.name == name for other in tested) > 1
    return f"{name} ({entry.run.id})" if alike else name


def _common(tested: list[_Tested]) -> list[str]:
    """Return the contents that every run was tested on under the same class name, in the first run's order."""
    first, *others = tested
    return [sha for sha in first.rows if all(sha in other.rows and _truth(other, sha) == _truth(first, sha) for other in others)]


def _truth(entry: _Tested, sha: str) -> str:
    return entry.report["classes"][int(entry.predictions.labels[entry.rows[sha]])]


def _right(tested: list[_Tested], common: list[str]) -> np.ndarray:
    """Return bool [common pictures, runs]: is the answer right?"""
    columns = [[entry.rows[sha] for sha in common] for entry in tested]
    right = [(entry.predictions.predicted == entry.predictions.labels)[rows] for entry, rows in zip(tested, columns, strict=True)]
    return np.stack(right, 1) if common else np.zeros((0, len(tested)), bool)


def _best(tested: list[_Tested], right: np.ndarray) -> int:
    """Return the index of the leader: most common pictures right, then macro F1, then the smaller loss."""

    def rank(i: int) -> tuple[float, float, float]:
        figures = tested[i].report["metrics"]
        return (float(right[:, i].mean()) if len(right) else figures["accuracy"], figures["macro_f1"], -figures["loss"])

    return max(range(len(tested)), key=rank)


def _pairs(tested: list[_Tested], right: np.ndarray, best: int) -> list[Pair]:
    """Compare the best with each other run on the common pictures; none where there are none."""
    others = [i for i in range(len(tested)) if i != best] if len(right) else []
    counts = [(int((right[:, best] & ~right[:, i]).sum()), int((~right[:, best] & right[:, i]).sum())) for i in others]
    p_values = [paired.mcnemar(*pair) for pair in counts]
    return [
        Pair(
            best=tested[best].run.id,
            other=tested[i].run.id,
            wins=wins,
            losses=losses,
            difference=(wins - losses) / len(right),
            interval=paired.difference_interval(wins, losses, len(right)),
            p_value=p,
            corrected_p=corrected,
        )
        for i, (wins, losses), p, corrected in zip(others, counts, p_values, paired.holm(p_values), strict=True)
    ]


def _row(entry: _Tested, right: np.ndarray) -> Row:
    figures = entry.report["metrics"]
    return Row(
        run_id=entry.run.id,
        name=entry.run.name,
        start=entry.run.recipe.start,
        version_id=entry.version["id"],
        split=entry.report["split"],
        n=entry.report["n"],
        accuracy=figures["accuracy"],
        interval=tuple(entry.report["accuracy_interval"]),
        macro_f1=figures["macro_f1"],
        loss=figures["loss"],
        ece=figures["ece"],
        common_accuracy=float(right.mean()) if len(right) else None,
        common_interval=metrics.wilson(int(right.sum()), len(right)) if len(right) else None,
        seconds=(entry.report.get("seconds") or {}).get("total"),
    )


def _per_class(tested: list[_Tested], best: int) -> list[dict[str, Any]]:
    """Return for each class name F1 and recall a run (None where it does not know the class) and the F1 each has over the best run's."""
    tables = [{row["name"]: row for row in entry.report["per_class"]} for entry in tested]
    names = sorted({name for table in tables for name in table})
    rows = []
    for name in names:
        f1 = [table[name]["f1"] if name in table else None for table in tables]
        leader = f1[best]
        rows.append(
            {
                "name": name,
                "f1": f1,
                "recall": [table[name]["recall"] if name in table else None for table in tables],
                "support": [table[name]["support"] if name in table else 0 for table in tables],
                "delta": [None if value is None or leader is None else value - leader for value in f1],
            }
        )
    return rows


def _disagreements(tested: list[_Tested], common: list[str]) -> list[dict[str, Any]]:
    """Return the common pictures on which the answers differ; first those that somebody gets right, then the surest."""
    ids = {item["sha256"]: item["id"] for item in tested[0].version["items"]}
    found = []
    for sha in common if len(tested) > 1 else []:
        rows = [entry.rows[sha] for entry in tested]
        answers = [entry.predictions.probabilities[row] for entry, row in zip(tested, rows, strict=True)]
        predicted = [entry.report["classes"][int(answer.argmax())] for entry, answer in zip(tested, answers, strict=True)]
        if len(set(predicted)) > 1:
            confidence = [float(answer.max()) for answer in answers]
            found.append({"item": ids[sha], "sha256": sha, "true": _truth(tested[0], sha), "predicted": predicted, "confidence": confidence})
    return sorted(found, key=lambda row: (row["true"] not in row["predicted"], -max(row["confidence"])))


def _notes(tested: list[_Tested], n_common: int) -> list[str]:
    """Say what a reader must know before trusting the verdict."""
    notes = []
    if len({entry.version["id"] for entry in tested}) > 1:
        sizes = " and ".join(str(len(entry.predictions)) for entry in tested)
        notes.append(
            f"The runs used different versions of the data and were tested on {sizes} pictures; the verdict rests on the {n_common} that all have in common."
        )
    if any(entry.report["split"] == "val" for entry in tested):
        notes.append("There are no test pictures, so validation pictures were used. They also chose the best epoch, so the figures are a little too good.")
    return notes


def _seen_before(tested: list[_Tested], common: set[str]) -> list[str]:
    """Warn of runs whose ancestors learned from pictures that now test them."""
    notes = []
    for entry in tested:
        ancestor, seen = entry.run, {entry.run.id}
        while (start := ancestor.recipe.start).startswith("run:") and start.removeprefix("run:") not in seen:
            try:
                ancestor = find(start.removeprefix("run:"))
            except StudioError:  # it was deleted: nobody knows any more what it learned from
                break
            seen.add(ancestor.id)
            learned = {item["sha256"] for item in workspace.read_json(ancestor.path("version.json"))["items"] if item["split"] == "train"}
            if known := len(learned & common):
                notes.append(f"{entry.run.name} started from {ancestor.name}, which had learned from {known} of these test pictures: its figures are too good.")
    return notes
