"""One picture with what a model found in it and what is there, drawn over: right, false alarms and misses each in their own look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from engine.data import drawing, shapes
from engine.data.drawing import Drawn
from engine.evaluation import boxes, drawn
from engine.evaluation.answers import Answer
from engine.evaluation.drawn import Evidence

__all__ = ["FALSE_ALARM", "MISSED", "RIGHT", "answer_over", "compared_over"]

RIGHT, FALSE_ALARM, MISSED = (47, 125, 79), (217, 122, 6), (201, 42, 120)

_NAMED_PX = 500
"""On smaller pictures names would hide what they name."""

Show = Literal["answer", "truth", "errors"]


def answer_over(picture: Image.Image, answer: Answer, classes: tuple[str, ...], *, confidence: float = 0.0, size_px: int | None = None) -> Image.Image:
    """Draw what a model found and is at least so sure of, each class in its colour; the answer is in the picture's own pixels."""
    sure = answer.above(confidence)
    rows = [
        _found(sure, place, f"{classes[int(label)]} {score:.0%}", drawing.colour_of(int(label)))
        for place, (label, score) in enumerate(zip(sure.classes_D, sure.scores_D, strict=True))
    ]
    return drawing.drawn_over(picture, [one for parts in reversed(rows) for one in parts], size_px)


def _found(answer: Answer, place: int, name: str, colour: tuple[int, int, int]) -> list[Drawn]:
    box = Drawn("box", {"box": answer.boxes_D4[place].tolist()}, name, colour)
    return [Drawn("mask", answer.masks[place], "", colour), box] if answer.masks else [box]


def compared_over(
    picture: Image.Image, seen: Evidence, place: int, *, confidence: float, overlap: float = 0.5, show: Show = "errors", size_px: int | None = None
) -> Image.Image:
    """Draw the answer on the picture at `place` of the evidence against what is there.

    `show` is 'answer' (what was found), 'truth' (what is there), or 'errors': right ones green, false alarms orange, misses dashed magenta;
    of a semantic map the pixels that are wrong, in the colour of what was said.
    """
    entry, answer = seen.entries[place], seen.answers[place]
    if show == "truth":
        rows = [Drawn(mark["kind"], mark, seen.classes[mark["class"]], drawing.colour_of(mark["class"])) for mark in entry["marks"]]
    elif seen.task == drawn.SEMANTIC:
        rows = _areas(seen, entry, answer, wrong_only=show == "errors")
    elif show == "answer":
        return answer_over(picture, answer, seen.classes, confidence=confidence, size_px=size_px)
    else:
        rows = _judged(seen, place, confidence, overlap)
    if size_px is not None and size_px < _NAMED_PX:
        rows = [replace(row, name="") for row in rows]
    return drawing.drawn_over(picture, rows, size_px)


def _areas(seen: Evidence, entry: Any, answer: Answer, *, wrong_only: bool) -> list[Drawn]:
    said_HW, true_HW = answer.class_map(), drawn.true_map(entry)
    wrong_HW = (said_HW != true_HW) & (true_HW != 255)
    rows = []
    for value in np.unique(said_HW):
        inside = (said_HW == value) & wrong_HW if wrong_only else said_HW == value
        if not inside.any() or (value == 0 and not wrong_only):
            continue
        colour = MISSED if value == 0 else drawing.colour_of(int(value) - 1)
        rows.append(Drawn("mask", shapes.mask_from(inside), "" if value == 0 else seen.classes[int(value) - 1], colour))
    return rows


def _judged(seen: Evidence, place: int, confidence: float, overlap: float) -> list[Drawn]:
    one = Evidence(seen.task, seen.classes, (seen.entries[place],), (seen.answers[place].above(confidence),))
    found, true = one.found, one.true
    matched = boxes.match(found, true, overlap)
    rows = [
        Drawn("box", {"box": true.boxes_M4[row].tolist()}, f"missed: {seen.classes[true.labels_M[row]]}", MISSED, dashed=True)
        for row in np.flatnonzero((matched.found_of_T < 0) & ~true.crowd_M)
    ]
    for row in range(len(found) - 1, -1, -1):
        name = f"{seen.classes[found.labels_M[row]]} {found.scores_M[row]:.0%}"
        rows.append(Drawn("box", {"box": found.boxes_M4[row].tolist()}, name, FALSE_ALARM if matched.true_of_F[row] == -1 else RIGHT))
    return rows
