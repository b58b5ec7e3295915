"""Groups of pictures that show the same, told apart by what is bad about them: across splits, with different labels, or just there twice.

A pair counts where the fingerprints lie near each other and something confirms it: the small grey pictures go together, or the features do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
from PIL import ImageChops

from engine.data import images
from engine.data.check import duplicates
from engine.data.check.facts import Facts
from engine.data.check.findings import Case, Finding, subject_of
from engine.data.check.looks import Look
from engine.errors import StudioError

__all__ = ["confirmed_groups", "copies"]

_NEAR_BITS = 12
_LOOK_BITS = 10


def confirmed_groups(looks: Mapping[int, Look], by_features: Callable[[int, int], bool] | None = None) -> list[list[int]]:
    """Return groups of ids whose pictures show the same.

    Args:
        looks: of each picture.
        by_features: a second opinion on pairs that do not look alike pixel by pixel, such as a picture and a part of it.
    """
    pairs = duplicates.near_pairs({one: look.fingerprint for one, look in looks.items()}, _NEAR_BITS if by_features else _LOOK_BITS)
    return duplicates.groups_of(
        (one, other)
        for one, other in pairs
        if duplicates.same_look(looks[one].grey_SS, looks[other].grey_SS) or (by_features is not None and by_features(one, other))
    )


def copies(facts: Facts, groups: Iterable[list[int]]) -> list[Finding]:
    """Part groups of copies into findings: 'leaks', 'contradictions', 'same', 'near'. A group can be of the first two both."""
    cases: dict[str, list[Case]] = {"leaks": [], "contradictions": [], "same": [], "near": []}
    for group in groups:
        case = Case(subject_of(group), tuple(group))
        splits = {facts.pictures[one].split for one in group} - {None}
        labels = {facts.said_of(one) for one in group} - {None}
        bad = False
        if "train" in splits and len(splits) > 1:
            cases["leaks"].append(case)
            bad = True
        if facts.whole and len(labels) > 1:
            cases["contradictions"].append(case)
            bad = True
        if not bad:
            cases["same" if _identical(facts, group) else "near"].append(case)
    return [Finding.of(key, found) for key, found in cases.items()]


def _identical(facts: Facts, group: list[int]) -> bool:
    """Tell whether the pictures of a group are the same pixel by pixel, however they were saved."""
    sizes = {(facts.pictures[one].width, facts.pictures[one].height) for one in group}
    if len(sizes) > 1 or len(group) > 50:
        return False
    try:
        opened = [images.open_rgb(facts.pictures[one].path) for one in group]
    except StudioError:  # gone since it was looked at: the next check says so
        return False
    return all(not np.asarray(ImageChops.difference(one, other)).any() for one, other in pairwise(opened))
