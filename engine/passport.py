"""The check of a data set as a job: joins the torch-free checks (`engine.data.check`) with what a backbone sees (`engine.training.embed`).

    result.json     pictures, seconds, findings (see `findings.Finding.to_json`), map

Everything costly is kept outside of the job, picture by picture: a stopped or killed check goes on where it was, and a second one after ten
more pictures costs ten.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import devices, runs, workspace
from engine.data import looking, shapes
from engine.data.check import boxes, copies, facts, learned, looks, pictures, standing
from engine.data.check.facts import Facts
from engine.data.check.findings import Case, Finding, mark_key, subject_of
from engine.data.check.looks import Look
from engine.data.check.said import said_of
from engine.errors import StudioError
from engine.events import Phase
from engine.work import LastWord, Work

__all__ = ["MOST_MAPPED", "MOST_MARKS", "check"]

MOST_MAPPED = 3000
"""Pictures on the map: more take minutes to lay out, and no eye tells them apart."""

MOST_MARKS = 20_000
"""Drawn labels that are judged."""

_PICTURE_PX, _MARK_PX = 224, 128
_CLOSER = 0.2
"""Two pictures show the same where they are five times closer to each other than a picture of this data set usually is to its nearest one.

Photographs of clothes cropped by 5% are so in six cases of seven; of 180,000 pairs of different digits none is.
"""

_SAMPLED = 1000


class _Left(Exception):  # noqa: N818 (not an error: the user asked to leave)
    pass


@dataclass(frozen=True)
class _Seen:
    """What the backbone saw, row by row: ids, features, and their principal components (see `learned.reduced`)."""

    ids: list[int]
    features_NF: NDArray[np.float16]
    parts_NC: NDArray[np.float32]

    def alike(self) -> Callable[[int, int], bool]:
        """Return the second opinion on a pair of pictures that `copies.confirmed_groups` asks for."""
        row = {one: place for place, one in enumerate(self.ids)}
        near = _CLOSER * learned.usual_distance(self.parts_NC, _SAMPLED)

        def judge(one: int, other: int) -> bool:
            a, b = row.get(one), row.get(other)
            if a is None or b is None:
                return False
            return 1.0 - float(self.parts_NC[a] @ self.parts_NC[b]) <= near

        return judge


def check(job: Work) -> LastWord:
    """Check a project's pictures and labels: request 'project_id'."""
    try:
        return job.finished(_checked(job))
    except _Left:
        return job.left()


def _checked(job: Work) -> dict[str, Any]:
    began = time.monotonic()
    project_id = str(job.request["project_id"])
    if looking.left(project_id):
        job.emit(Phase(name="left", title="Looking through pictures that came in last"))
        if looking.finish(project_id, job.progress, job.should_stop) is None:
            raise _Left
    known = facts.read(project_id)
    if not known.pictures:
        raise StudioError("this project has no picture to check", "Add some on the Data page first.")
    job.emit(Phase(name="look", title="Looking at every picture"))
    seen = looks.look_at(known, job.progress, job.should_stop)
    if seen is None:
        raise _Left
    looked, faults = seen
    found = [pictures.unreadable(faults), *standing.current_classes(known.project_id), *boxes.boxes_wrong(known)]
    found += [*pictures.looks_wrong(looked), *pictures.sizes_wrong(known)]
    learned_findings, mapped = _learned(job, known, looked)
    order = {key: place for place, key in enumerate(_order())}
    return {
        "project_id": known.project_id,
        "pictures": len(known.pictures),
        "checked": time.time(),
        "seconds": round(time.monotonic() - began, 1),
        "findings": [one.to_json() for one in sorted([*found, *learned_findings], key=lambda one: order[one.key])],
        "map": mapped,
    }


def _order() -> list[str]:
    from engine.data.check.findings import CHECKS

    return [one.key for one in CHECKS]


def _learned(job: Work, known: Facts, looked: dict[int, Look]) -> tuple[list[Finding], dict[str, Any]]:
    """Return what takes features: copies, labels likely wrong, pictures out of place, the map."""
    from threadpoolctl import threadpool_limits

    device = devices.choose(str(job.request.get("device", "auto")))
    lock = devices.wait(device, name=job.run.id, since=runs.pressed_of(job.run).get("t", 0.0), leave=job.should_stop)
    if lock is None:
        raise _Left
    with lock:
        job.emit(Phase(name="features", title="Learning what the pictures look like"))
        saw = _see(job, known, [one for one in known.pictures if one in looked], device)
        marked = _see_marks(job, known, looked, device) if not known.whole else None
    job.emit(Phase(name="compare", title="Comparing pictures, and looking for wrong labels"))
    with threadpool_limits(1):  # such small sums gain nothing from threads, and spin for long beside a busy neighbour
        groups = copies.confirmed_groups(looked, saw.alike())
        found = copies.copies(known, groups)
        found += [(_tags if known.several else _labels)(known, saw, groups)] if known.whole else [marked] if marked is not None else []
        found += [_outliers(saw)]
        if job.should_stop():
            raise _Left
        job.emit(Phase(name="map", title="Drawing the map"))
        return found, _map(known, saw)


def _see(job: Work, known: Facts, ids: Sequence[int], device: str) -> _Seen:
    from engine.training import embed

    parts = [embed.Part(known.pictures[one].path, known.pictures[one].sha256) for one in ids]
    result = embed.embedded(parts, device, _PICTURE_PX, job.progress, job.should_stop)
    if result is None:
        raise _Left
    features_NF, there_N = result
    rows = np.flatnonzero(there_N)
    return _Seen([ids[row] for row in rows.tolist()], features_NF[rows], _parts(features_NF[rows].astype(np.float32)))


def _parts(features_NF: NDArray[np.float32]) -> NDArray[np.float32]:
    return learned.reduced(features_NF) if len(features_NF) > 1 else np.zeros((len(features_NF), 1), np.float32)


def _labels(known: Facts, saw: _Seen, groups: Sequence[Sequence[int]]) -> Finding:
    """Return whole pictures whose class is likely wrong."""
    rows = [row for row, one in enumerate(saw.ids) if known.pictures[one].label is not None]
    home = {one: group[0] for group in groups for one in group}
    labels = [str(known.pictures[saw.ids[row]].label) for row in rows]
    together_N = np.array([home.get(saw.ids[row], saw.ids[row]) for row in rows], np.int64)
    cases = []
    for suspect in learned.suspects(saw.parts_NC[rows], labels, together_N):
        one = saw.ids[rows[suspect.row]]
        words = f"{100 * suspect.confidence:.0f}\u00a0% sure"
        cases.append(Case(subject_of([one]), (one,), words, labels[suspect.row], suspect.suggested))
    return Finding.of("labels", cases)


def _tags(known: Facts, saw: _Seen, groups: Sequence[Sequence[int]]) -> Finding:
    """Return pictures that likely show a class that nobody said, or do not show one that was said: one case a picture, with all that is likely wrong."""
    rows = [row for row, one in enumerate(saw.ids) if known.said_of(one) is not None]
    home = {one: group[0] for group in groups for one in group}
    labels = [known.pictures[saw.ids[row]].labels for row in rows]
    together_N = np.array([home.get(saw.ids[row], saw.ids[row]) for row in rows], np.int64)
    by_row: dict[int, list[learned.TagSuspect]] = {}
    for suspect in learned.tag_suspects(saw.parts_NC[rows], labels, together_N):
        by_row.setdefault(suspect.row, []).append(suspect)
    cases = []
    for row, suspects in by_row.items():
        one = saw.ids[rows[row]]
        right = sorted(set(labels[row]) ^ {suspect.label for suspect in suspects})
        words = ", ".join(f"{'seems to show' if each.shown else 'does not seem to show'} {each.label} ({100 * each.confidence:.0f}% sure)" for each in suspects)
        cases.append(Case(subject_of([one]), (one,), words, known.said_of(one), said_of(right, True, several=True)))
    return Finding.of("labels", cases)


def _see_marks(job: Work, known: Facts, looked: dict[int, Look], device: str) -> Finding:
    """Return drawn labels whose class is likely wrong, from what the backbone sees in each."""
    from engine.training import embed

    every = [(one, mark) for one, drawn in known.drawn.items() if one in looked for mark in drawn if mark.kind != "point"]
    step = -(-len(every) // MOST_MARKS) if every else 1
    chosen = list(itertools.islice(every, 0, None, step))
    note = f"Of {len(every):,} drawn labels, {len(chosen):,} were judged, evenly taken." if step > 1 else ""
    job.emit(Phase(name="marks", title="Looking at what is drawn"))
    parts = [embed.Part(known.pictures[one].path, known.pictures[one].sha256, shapes.bounds(mark.kind, mark.geometry or {})) for one, mark in chosen]
    result = embed.embedded(parts, device, _MARK_PX, job.progress, job.should_stop)
    if result is None:
        raise _Left
    features_NF, there_N = result
    rows = np.flatnonzero(there_N)
    labels = [chosen[row][1].label for row in rows]
    own_N = np.array([chosen[row][0] for row in rows], np.int64)
    cases = []
    for suspect in learned.suspects(_parts(features_NF[rows].astype(np.float32)), labels, own_N):
        one, mark = chosen[rows[suspect.row]]
        key = mark_key(mark)
        cases.append(Case(f"{one}:{key}", (one,), f"{100 * suspect.confidence:.0f}\u00a0% sure", mark.label, suspect.suggested, (key,)))
    return Finding.of("drawn-labels", cases, note)


def _outliers(saw: _Seen) -> Finding:
    found = learned.out_of_place(saw.features_NF)
    return Finding.of(
        "outliers", (Case(subject_of([saw.ids[row]]), (saw.ids[row],), f"{factor:.1f} times farther from others than usual") for row, factor in found)
    )


def _map(known: Facts, saw: _Seen) -> dict[str, Any]:
    """Lay the pictures out; what was laid out for exactly these pictures before is used again."""
    name = hashlib.sha256(" ".join(known.pictures[one].sha256 for one in saw.ids).encode()).hexdigest()[:24]
    path = workspace.cache("check") / f"map-{name}.json"
    if path.exists():
        kept = workspace.read_json(path)
    else:
        rows_M, places_M2 = learned.chart(saw.parts_NC, MOST_MAPPED)
        kept = {"rows": rows_M.tolist(), "x": places_M2[:, 0].round(4).tolist(), "y": places_M2[:, 1].round(4).tolist()}
        workspace.write_json(path, kept)
    return {"ids": [saw.ids[row] for row in kept["rows"]], "x": kept["x"], "y": kept["y"], "of": len(saw.ids)}
