"""One plain sentence: which run is better, and is that certain? Words only; the figures come from `engine.evaluation.compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

__all__ = ["CERTAIN_BELOW", "Paired", "in_words", "verdict"]

CERTAIN_BELOW = 0.05
"""Below this p-value a difference is called real: the field's custom."""

_ALIKE = 1e-9


class Paired(Protocol):
    """What a sentence needs of a comparison of two runs."""

    @property
    def other(self) -> str: ...  # noqa: D102
    @property
    def wins(self) -> int: ...  # noqa: D102
    @property
    def losses(self) -> int: ...  # noqa: D102
    @property
    def corrected_p(self) -> float: ...  # noqa: D102
    @property
    def difference(self) -> float: ...  # noqa: D102
    @property
    def interval(self) -> tuple[float, float]: ...  # noqa: D102


def verdict(
    names: Mapping[str, str], best: str, pairs: Sequence[Paired], shares: Sequence[float] | None, n: int, *, shades: bool = False, figure: str = ""
) -> str:
    """Return the sentence.

    Args:
        names: run id -> name, in the order of `shares`.
        best: the leader's id.
        pairs: the leader against each other run.
        shares: mean quality of each run on the n common pictures; None where there are none.
        n: how many pictures all runs were tested on.
        shades: whether an answer can be better or worse by degrees, and not only right or wrong.
        figure: what is compared, where that is no mean over pictures: then `shares` and differences are of it.
    """
    if len(names) < 2:
        return f"Only {names[best]} has finished, so there is nothing to compare it with yet."
    if shares is None:
        return "These runs were tested on different pictures, so nothing certain can be said: train them on the same data, then compare."
    if len(pairs) == 1:
        return _of_two(names[best], names[pairs[0].other], pairs[0], n, shades, figure)
    what = f"{figure} on" if figure else "mean quality on" if shades else "right of"
    return _of_many(names, best, pairs, dict(zip(names, shares, strict=True)), n, what)


def _of_two(best: str, other: str, pair: Paired, n: int, shades: bool, figure: str) -> str:
    tested = f"of the {n} pictures both were tested on"
    if figure:
        return _by_figure(best, other, pair, n, figure)
    if shades:
        return _by_degrees(best, other, pair, tested)
    if pair.wins == pair.losses == 0:
        return f"{best} and {other} are equally good: {tested}, both get the same ones right."
    if pair.wins == pair.losses:
        return f"{best} and {other} are equally good: {tested}, each gets {pair.wins} right that the other misses."
    counts = f"{tested}, {best} gets {pair.wins} right that {other} misses and misses {pair.losses} that {other} gets right"
    luck = f"a difference this large happens by luck {in_words(pair.corrected_p)}"
    if pair.corrected_p < CERTAIN_BELOW:
        return f"{best} is better: {counts}; {luck}, so it is hardly luck."
    return f"{best} is ahead, but it is not certain that it is better: {counts}; {luck}."


def _by_figure(best: str, other: str, pair: Paired, n: int, figure: str) -> str:
    on = f"on the {n} pictures both were tested on"
    if abs(pair.difference) < _ALIKE:
        return f"{best} and {other} are equally good: {on}, both have the same {figure}."
    low, high = pair.interval
    counts = f"{on}, its {figure} is {100 * pair.difference:.1f} points higher (95 % interval: {100 * low:.1f} to {100 * high:.1f})"
    luck = f"a difference this large happens by luck {in_words(pair.corrected_p)}"
    if pair.corrected_p < CERTAIN_BELOW:
        return f"{best} is better than {other}: {counts}; {luck}, so it is hardly luck."
    return f"{best} is ahead of {other}, but it is not certain that it is better: {counts}; {luck}."


def _by_degrees(best: str, other: str, pair: Paired, tested: str) -> str:
    if pair.wins == pair.losses == 0:
        return f"{best} and {other} are equally good: {tested}, both answer each equally well."
    counts = f"{tested}, {best} does better on {pair.wins} and worse on {pair.losses}"
    luck = f"a difference this large happens by luck {in_words(pair.corrected_p)}"
    if pair.corrected_p < CERTAIN_BELOW:
        return f"{best} is better: {counts}; {luck}, so it is hardly luck."
    return f"{best} is ahead, but it is not certain that it is better: {counts}; {luck}."


def _of_many(names: Mapping[str, str], best: str, pairs: Sequence[Paired], shares: Mapping[str, float], n: int, what: str) -> str:
    sure = [pair for pair in pairs if pair.corrected_p < CERTAIN_BELOW]
    open_ = [pair for pair in pairs if pair.corrected_p >= CERTAIN_BELOW]
    said = [f"{names[best]} is the best of {len(names)}: {shares[best]:.1%} {what} the {n} pictures all were tested on."]
    if sure:
        said.append(f"It is better than {_list([names[pair.other] for pair in sure])}, and that is hardly luck.")
    if open_:
        listed = _list([f"{names[pair.other]} ({shares[pair.other]:.1%}; by luck {in_words(pair.corrected_p)})" for pair in open_])
        said.append(f"Its lead over {listed} is not yet certain.")
    return " ".join(said)


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def in_words(p: float) -> str:
    """Say a p-value in words.

    >>> in_words(0.0654)
    '1 time in 15 (p = 0.065)'
    """
    if p > 0.5:
        return f"more often than not (p = {p:.2g})"
    if p < 0.0001:
        return "less than 1 time in 10,000 (p < 0.0001)"
    return f"1 time in {round(1 / p):,} (p = {p:.2g})"
