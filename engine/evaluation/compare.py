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
from engine.evaluation import judged, metrics, paired
from engine.evaluation.judged import Judged
from engine.evaluation.verdict import verdict
from engine.recipe import differing
from engine.runs import Run, find, read_report

__all__ = ["Comparison", "Pair", "Row", "compare"]

MOST_DISAGREEMENTS = 500
DRAWS = (200, 1000)
"""Fewest and most draws of a bootstrap; between them as many as DRAWN pictures make: 80 MB."""
DRAWN = 20_000_000


@dataclass(frozen=True)
class Row:
    """One run on the leaderboard.

    `score` (its task's leading figure), its interval and `figures` are on its own held-out pictures. `common_score` is the mean quality of
    its answers on the pictures that all runs share: right or wrong for sorting, F1 or overlap of each picture for drawn labels. For tagging it is the
    leading figure itself, counted on those pictures.
    """

    run_id: str
    name: str
    start: str
    version_id: str
    split: str
    n: int
    score: float
    interval: tuple[float, float] | None
    figures: dict[str, float | None]
    common_score: float | None
    common_interval: tuple[float, float] | None
    seconds: float | None


@dataclass(frozen=True)
class Pair:
    """The best run against another: pictures on which the one answers better, and how likely luck explains it (corrected for many comparisons)."""

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

    task: str
    run_ids: list[str]
    unfinished: list[str]
    leaderboard: list[Row]
    differing: dict[str, list[Any]]
    class_metric: str
    per_class: list[dict[str, Any]]
    disagreements: list[dict[str, Any]]
    pairs: list[Pair]
    n_common: int
    n_disagreements: int
    p_value: float | None
    verdict: str
    notes: list[str]


def compare(runs: list[Run]) -> Comparison:
    """Lay runs side by side. Those that have no report yet are named in `unfinished` and otherwise left out.

    Raises:
        StudioError: if runs of different tasks are compared, or none has a report.
    """
    tested = [judged.load(run, report) for run in runs if (report := read_report(run)) is not None]
    if not tested:
        raise StudioError("none of these runs has finished", "Wait until at least one has, then compare again.")
    tasks = sorted({entry.report["task"] for entry in tested})
    if len(tasks) > 1:
        raise StudioError(f"runs of different tasks ({', '.join(tasks)}) cannot be compared", "Choose runs of one task.")
    common = _common(tested)
    quality = np.array([[entry.quality[sha] for entry in tested] for sha in common], np.float64).reshape(len(common), len(tested))
    draws = _draws(tested, common)
    scores = quality.mean(0) if draws is None and len(common) else None if draws is None else draws[0]
    best = _best(tested, scores)
    pairs = _pairs(tested, quality, best, draws)
    disagreements = _disagreements(tested, common)
    board = [_row(entry, quality[:, i], None if draws is None else draws[:, i]) for i, entry in enumerate(tested)]
    board.sort(key=lambda row: (row.run_id != tested[best].run.id, -(row.common_score if row.common_score is not None else row.score), -row.score))
    names = {entry.run.id: _name(entry, tested) for entry in tested}
    leader = tested[best].run.id
    return Comparison(
        task=tasks[0],
        run_ids=[entry.run.id for entry in tested],
        unfinished=[run.id for run in runs if run.id not in names],
        leaderboard=board,
        differing=differing([entry.run.recipe for entry in tested]),
        class_metric=tested[0].class_metric,
        per_class=_per_class(tested, best),
        disagreements=disagreements[:MOST_DISAGREEMENTS],
        pairs=pairs,
        n_common=len(common),
        n_disagreements=len(disagreements),
        p_value=min((pair.corrected_p for pair in pairs), default=None),
        verdict=verdict(names, leader, pairs, scores, len(common), shades=tested[0].shades, figure=tested[0].figure_title),
        notes=[*_notes(tested, len(common)), *_seen_before(tested, set(common))],
    )


def _name(entry: Judged, tested: list[Judged]) -> str:
    """Return the run's name, with its id where two share a name."""
    name = entry.run.name
    alike = sum(other.run.name == name for other in tested) > 1
    return f"{name} ({entry.run.id})" if alike else name


def _common(tested: list[Judged]) -> list[str]:
    """Return the contents that every run was tested on with the same labels, in the first run's order."""
    first, *others = tested
    return [sha for sha in first.quality if all(sha in other.quality and other.truth[sha] == first.truth[sha] for other in others)]


def _draws(tested: list[Judged], common: list[str]) -> np.ndarray | None:
    """Return the leading figure of each run [D, runs] on draws of the common pictures, the same ones for all; the first draw is each picture once.

    None where the figure is the mean quality, so that nothing need be drawn, or there is no common picture.
    """
    if tested[0].figure is None or not common:
        return None
    draws = min(DRAWS[1], max(DRAWS[0], DRAWN // len(common)))
    counts_DN = np.random.default_rng(0).multinomial(len(common), np.full(len(common), 1 / len(common)), draws)
    counts_DN = np.concatenate([np.ones((1, len(common)), np.int64), counts_DN])
    return np.stack([entry.figure(common, counts_DN) for entry in tested if entry.figure is not None], 1)


def _best(tested: list[Judged], scores: np.ndarray | None) -> int:
    """Return the index of the leader: the best answers on common pictures, then the task's figures, then the smaller loss."""

    def rank(i: int) -> tuple[float, float, float]:
        figures, score = tested[i].report["metrics"], tested[i].score
        return (score if scores is None else float(scores[i]), figures.get("macro_f1", score), -(figures.get("loss") or 0.0))

    return max(range(len(tested)), key=rank)


def _pairs(tested: list[Judged], quality: np.ndarray, best: int, draws: np.ndarray | None) -> list[Pair]:
    """Compare the best with each other run on the common pictures; none where there are none."""
    others = [i for i in range(len(tested)) if i != best] if len(quality) else []
    ahead = [quality[:, best] - quality[:, i] for i in others]
    counts = [(int((gap > _ALIKE).sum()), int((gap < -_ALIKE).sum())) for gap in ahead]
    found = [_judged_pair(tested[0].shades, gap, pair) for gap, pair in zip(ahead, counts, strict=True)]
    if draws is not None:
        found = [(float(draws[0, best] - draws[0, i]), *paired.figure_difference(draws[1:, best], draws[1:, i])) for i in others]
    rows = zip(others, counts, found, paired.holm([p for _, _, p in found]), strict=True)
    return [
        Pair(
            best=tested[best].run.id,
            other=tested[i].run.id,
            wins=wins,
            losses=losses,
            difference=difference,
            interval=interval,
            p_value=p,
            corrected_p=corrected,
        )
        for i, (wins, losses), (difference, interval, p), corrected in rows
    ]


def _judged_pair(shades: bool, gap: np.ndarray, counts: tuple[int, int]) -> tuple[float, tuple[float, float], float]:
    """Return by how much one run answers better than another on the same pictures, where that lies, and the p-value."""
    if shades:
        return float(gap.mean()), paired.mean_interval(gap), paired.sign_flip(gap)
    return float(gap.mean()), paired.difference_interval(*counts, len(gap)), paired.mcnemar(*counts)


_ALIKE = 1e-9


def _row(entry: Judged, quality: np.ndarray, draws: np.ndarray | None) -> Row:
    def common_interval() -> tuple[float, float]:
        if draws is not None:
            low, high = np.quantile(draws[1:], [0.025, 0.975])
            return float(low), float(high)
        return paired.mean_interval(quality) if entry.shades else metrics.wilson(int(quality.sum()), len(quality))

    return Row(
        run_id=entry.run.id,
        name=entry.run.name,
        start=entry.run.recipe.start,
        version_id=entry.version["id"],
        split=entry.report["split"],
        n=entry.report["n"],
        score=entry.score,
        interval=entry.interval,
        figures=dict(entry.report["metrics"]),
        common_score=None if not len(quality) else float(quality.mean() if draws is None else draws[0]),
        common_interval=common_interval() if len(quality) else None,
        seconds=(entry.report.get("seconds") or {}).get("total"),
    )


def _per_class(tested: list[Judged], best: int) -> list[dict[str, Any]]:
    """Return for each class name its figure in each run (None where a run does not know the class) and what each has over the best run's."""
    tables = [{row["name"]: row for row in entry.report["per_class"]} for entry in tested]
    names = sorted({name for table in tables for name in table})
    rows = []
    for name in names:
        values = [table[name].get(entry.class_metric) if name in table else None for entry, table in zip(tested, tables, strict=True)]
        leader = values[best]
        rows.append(
            {
                "name": name,
                "value": values,
                "recall": [table[name]["recall"] if name in table else None for table in tables],
                "support": [judged.support(table[name]) if name in table else 0 for table in tables],
                "delta": [None if value is None or leader is None else value - leader for value in values],
            }
        )
    return rows


def _disagreements(tested: list[Judged], common: list[str]) -> list[dict[str, Any]]:
    """Return the common pictures on which the answers differ; first those that somebody gets right, then the surest, or the widest apart."""
    ids = {item["sha256"]: item["id"] for item in tested[0].version["items"]}
    found = []
    for sha in common if len(tested) > 1 else []:
        answers = [entry.answer[sha] for entry in tested]
        if len(set(answers)) > 1:
            sure = [entry.sure[sha] for entry in tested]
            quality = [entry.quality[sha] for entry in tested]
            found.append({"item": ids[sha], "sha256": sha, "true": tested[0].truth[sha], "predicted": answers, "confidence": sure, "quality": quality})
    if tested[0].shades:
        return sorted(found, key=lambda row: min(row["quality"]) - max(row["quality"]))
    return sorted(found, key=lambda row: (max(row["quality"]) < 1, -max(row["confidence"])))


def _notes(tested: list[Judged], n_common: int) -> list[str]:
    """Say what a reader must know before trusting the verdict."""
    notes = []
    if len({entry.version["id"] for entry in tested}) > 1:
        sizes = " and ".join(str(len(entry.quality)) for entry in tested)
        notes.append(
            f"The runs used different versions of the data and were tested on {sizes} pictures; the verdict rests on the {n_common} that all have in common."
        )
    if any(entry.report["split"] == "val" for entry in tested):
        notes.append("There are no test pictures, so validation pictures were used. They also chose the best epoch, so the figures are a little too good.")
    return notes


def _seen_before(tested: list[Judged], common: set[str]) -> list[str]:
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
