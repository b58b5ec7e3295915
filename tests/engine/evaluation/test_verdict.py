"""What is said of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engine.evaluation.verdict import in_words, verdict


@dataclass
class Result:
    other: str
    wins: int
    losses: int
    corrected_p: float
    difference: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (1.0, "more often than not (p = 1)"),
        (0.34, "1 time in 3 (p = 0.34)"),
        (0.001, "1 time in 1,000 (p = 0.001)"),
        (1e-9, "less than 1 time in 10,000 (p < 0.0001)"),
    ],
)
def test_p_values_in_words(p: float, words: str) -> None:
    assert in_words(p) == words


@pytest.mark.parametrize(
    ("wins", "losses", "p", "beginning", "ending"),
    [
        (0, 0, 1.0, "A and B are equally good", "both get the same ones right."),
        (4, 4, 1.0, "A and B are equally good", "each gets 4 right that the other misses."),
        (20, 2, 0.0001, "A is better: ", "1 time in 10,000 (p = 0.0001), so it is hardly luck."),
        (2, 1, 1.0, "A is ahead, but it is not certain that it is better: ", "happens by luck more often than not (p = 1)."),
    ],
)
def test_of_two(wins: int, losses: int, p: float, beginning: str, ending: str) -> None:
    words = verdict({"a": "A", "b": "B"}, "a", [Result("b", wins, losses, p)], [0.9, 0.8], 100)
    assert words.startswith(beginning)
    assert words.endswith(ending)


def test_of_three() -> None:
    words = verdict({"a": "A", "b": "B", "c": "C"}, "b", [Result("a", 9, 2, 0.13), Result("c", 30, 1, 0.0001)], [0.9, 0.95, 0.7], 120)
    assert words == (
        "B is the best of 3: 95.0% right of the 120 pictures all were tested on. It is better than C, and that is hardly luck. "
        "Its lead over A (90.0%; by luck 1 time in 8 (p = 0.13)) is not yet certain."
    )


@pytest.mark.parametrize(
    ("gap", "p", "words"),
    [
        (0.032, 0.002, "A is better than B: on the 100 pictures both were tested on, its AP is 3.2 points higher (95 % interval: 1.0 to 5.5); "),
        (0.032, 0.4, "A is ahead of B, but it is not certain that it is better: "),
        (0.0, 1.0, "A and B are equally good: on the 100 pictures both were tested on, both have the same AP."),
    ],
)
def test_where_a_figure_is_compared(gap: float, p: float, words: str) -> None:
    pair = Result("b", 3, 1, p, gap, (0.01, 0.055))
    assert verdict({"a": "A", "b": "B"}, "a", [pair], [0.9, 0.868], 100, shades=True, figure="AP").startswith(words)
