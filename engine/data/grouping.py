"""Which pictures belong together (one scene, one patient), told from their folder, their name, or a column of the table they came with."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

from engine.errors import StudioError

__all__ = ["WAYS", "Way", "group_of", "grouper"]

Way = Literal["none", "folder", "name", "table"]
WAYS: dict[Way, str] = {
    "none": "Each picture stands for itself",
    "folder": "Pictures in one folder belong together",
    "name": "A part of the file name says what belongs together",
    "table": "A column of the imported table says what belongs together",
}
_MOST_STARS = 6


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Turn '{group}_*' into an expression; everything else in it stands for itself.

    Raises:
        StudioError: if it has not exactly one {group}, or too many stars.
    """
    if pattern.count("{group}") != 1:
        raise StudioError(f"the pattern '{pattern[:80]}' does not say where the group stands", "Write {group} once, such as {group}_* for patient7_scan2.png.")
    if pattern.count("*") > _MOST_STARS or len(pattern) > 200:
        raise StudioError("the pattern is too long", f"Use at most {_MOST_STARS} stars.")
    before, after = (_parts(side) for side in pattern.split("{group}"))
    made = before[0] + "".join(f"(?>.*?{part})" for part in before[1:])
    if len(after) == 1:
        return re.compile(f"{made}(?P<group>[^/]+?){after[0]}", re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in after[1:-1])
    return re.compile(f"{made}(?>(?P<group>[^/]+?){after[0]}){middle}.*{after[-1]}", re.DOTALL)


def _parts(side: str) -> list[str]:
    """Part what stands before or after the group at its stars. Each part is taken where it is first found, for good: no name takes long."""
    return [re.escape(part) for part in re.sub(r"\*+", "*", side).split("*")]


def grouper(way: Way, pattern: str = "") -> Callable[[str, str | None], str]:
    """Return a function from a picture's name and its table's group to the group it belongs to, '' for none.

    Raises:
        StudioError: if the pattern cannot be used.
    """
    if way == "folder":
        return lambda name, _: str(PurePosixPath(name).parent) if "/" in name else ""
    if way == "table":
        return lambda _, given: given or ""
    if way == "none":
        return lambda _name, _given: ""
    expression, whole = _compiled(pattern), "/" in pattern

    def by_name(name: str, _given: str | None) -> str:
        found = expression.fullmatch(name if whole else name.rpartition("/")[2])
        return found["group"] if found else ""

    return by_name


def group_of(name: str, pattern: str) -> str:
    """Return the group in one name.

    >>> group_of("a/patient7_scan2.png", "{group}_*")
    'patient7'
    >>> group_of("a/b/1.png", "a/{group}/*")
    'b'
    >>> group_of("1.png", "{group}_*")
    ''
    """
    return grouper("name", pattern)(name, None)
