"""What a check can find, in words, and what can be done about it: one literal table, and the record of one case.

A case rests on what was seen (labels, splits, marks), so that whoever shows it later can tell whether it still holds (see `standing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.data.marks import Mark

__all__ = ["CHECKS", "MOST_CASES", "Case", "Check", "Fix", "Finding", "Severity", "check_of", "mark_key", "subject_of", "words_for"]

Severity = Literal["green", "amber", "red"]
Fix = Literal["exclude", "keep-one", "together", "relabel", "delete-marks", "dismiss"]

MOST_CASES = 5000
"""Cases of one check that are kept; more are only counted."""

_LONGEST_SUBJECT = 200  # the column's width


@dataclass(frozen=True)
class Check:
    """One thing that is looked for.

    Attributes:
        key: its name in results and in the table of dismissed findings.
        title: what is looked for, in a few words.
        severity: how bad a find is.
        one: what a single find means; `many` the same for several, with {n}.
        fine: what it means that nothing was found.
        fixes: what can be done with one click, the usual one first.
        of: what its cases are: 'picture', 'group' (of pictures), 'mark' or 'class'.
    """

    key: str
    title: str
    severity: Severity
    one: str
    many: str
    fine: str
    fixes: tuple[Fix, ...]
    of: Literal["picture", "group", "mark", "class"] = "picture"


CHECKS: tuple[Check, ...] = (
    Check(
        "unreadable",
        "Files that can be read",
        "red",
        "One file is gone, damaged, or not what was imported. Training would stop at it.",
        "{n} files are gone, damaged, or not what was imported. Training would stop at them.",
        "Every file is there, whole, and what was imported.",
        ("exclude",),
    ),
    Check(
        "leaks",
        "Copies across training and test",
        "red",
        "One picture is in training and, nearly the same, among those that judge the model. Its score would be too good to be true.",
        "{n} pictures are in training and, nearly the same, among those that judge the model. Its score would be too good to be true.",
        "No picture of training comes back among those that judge the model.",
        ("together", "keep-one", "dismiss"),
        "group",
    ),
    Check(
        "contradictions",
        "Copies with different labels",
        "red",
        "One picture is there twice, nearly the same, with different labels. The model cannot learn both.",
        "{n} pictures are there several times, nearly the same, with different labels. The model cannot learn both.",
        "Pictures that look the same have the same label.",
        ("relabel", "keep-one", "dismiss"),
        "group",
    ),
    Check(
        "few",
        "Enough pictures of each class",
        "amber",
        "One class has few examples. It will be learned badly: 20 and more are good.",
        "{n} classes have few examples. They will be learned badly: 20 and more are good.",
        "Each class has 20 examples or more.",
        (),
        "class",
    ),
    Check(
        "balance",
        "Balance between classes",
        "amber",
        "One class is far rarer than the largest. On Train, Class balance makes up for that.",
        "{n} classes are far rarer than the largest. On Train, Class balance makes up for that.",
        "No class has more than ten times the examples of another.",
        (),
        "class",
    ),
    Check(
        "labels",
        "Labels that look right",
        "amber",
        "One label is likely wrong: a model that never saw the picture is sure of another.",
        "{n} labels are likely wrong: a model that never saw these pictures is sure of another.",
        "No label stands out as wrong.",
        ("relabel", "exclude", "dismiss"),
    ),
    Check(
        "drawn-labels",
        "Drawn labels of the right class",
        "amber",
        "One drawn label is likely of another class: a model that never saw it is sure.",
        "{n} drawn labels are likely of another class: a model that never saw them is sure.",
        "No drawn label stands out as wrong.",
        ("relabel", "delete-marks", "dismiss"),
        "mark",
    ),
    Check(
        "bad-boxes",
        "Labels inside their picture",
        "red",
        "One drawn label is empty, or lies outside its picture.",
        "{n} drawn labels are empty, or lie outside their picture.",
        "Every drawn label has an inside, and lies in its picture.",
        ("delete-marks", "dismiss"),
        "mark",
    ),
    Check(
        "clashing-boxes",
        "One class a place",
        "red",
        "In one place two labels of different classes lie on each other.",
        "In {n} places two labels of different classes lie on each other.",
        "No two labels of different classes lie on each other.",
        ("delete-marks", "dismiss"),
        "mark",
    ),
    Check(
        "double-boxes",
        "Each thing drawn once",
        "amber",
        "One thing is drawn twice.",
        "{n} things are drawn twice.",
        "Nothing is drawn twice.",
        ("delete-marks", "dismiss"),
        "mark",
    ),
    Check(
        "same",
        "Identical pictures",
        "amber",
        "One picture is there several times, saved differently. Copies teach nothing new.",
        "{n} pictures are there several times, saved differently. Copies teach nothing new.",
        "No picture is there twice.",
        ("keep-one", "dismiss"),
        "group",
    ),
    Check(
        "near",
        "Nearly identical pictures",
        "amber",
        "One picture is there several times, nearly the same.",
        "{n} pictures are there several times, nearly the same.",
        "No two pictures are nearly the same.",
        ("keep-one", "dismiss"),
        "group",
    ),
    Check(
        "outliers",
        "Pictures that belong here",
        "amber",
        "One picture looks unlike all others. Does it belong here?",
        "{n} pictures look unlike all others. Do they belong here?",
        "No picture looks out of place.",
        ("exclude", "dismiss"),
    ),
    Check(
        "blank",
        "Pictures that show something",
        "amber",
        "One picture is of a single colour.",
        "{n} pictures are of a single colour.",
        "No picture is blank.",
        ("exclude", "dismiss"),
    ),
    Check(
        "dark",
        "Bright enough",
        "amber",
        "One picture is very dark.",
        "{n} pictures are very dark.",
        "No picture is unusually dark.",
        ("exclude", "dismiss"),
    ),
    Check(
        "blurred",
        "Sharp enough",
        "amber",
        "One picture is far more blurred than the others.",
        "{n} pictures are far more blurred than the others.",
        "No picture is unusually blurred.",
        ("exclude", "dismiss"),
    ),
    Check(
        "tiny",
        "Large enough",
        "amber",
        "One picture is tiny: it holds hardly any detail.",
        "{n} pictures are tiny: they hold hardly any detail.",
        "No picture is unusually small.",
        ("exclude", "dismiss"),
    ),
    Check(
        "huge",
        "Not needlessly large",
        "amber",
        "One picture is huge: it slows everything down, and the model sees a small copy anyway.",
        "{n} pictures are huge: they slow everything down, and the model sees small copies anyway.",
        "No picture is needlessly large.",
        ("exclude", "dismiss"),
    ),
    Check(
        "shape",
        "Of a usual shape",
        "amber",
        "One picture is very long or very tall: of it the model sees only the middle.",
        "{n} pictures are very long or very tall: of these the model sees only the middle.",
        "No picture is unusually long or tall.",
        ("exclude", "dismiss"),
    ),
)


@dataclass(frozen=True)
class Case:
    """One find.

    Attributes:
        subject: what it is about, as the table of dismissed findings keeps it.
        items: the pictures.
        words: what was seen, in a few words.
        seen: for a picture what was said of it (see `said`); for a class its name; for marks their classes.
        suggested: the class it should rather have; for a picture what should rather be said.
        marks: the keys of the marks it is about (see `mark_key`), the one to go first.
    """

    subject: str
    items: tuple[int, ...] = ()
    words: str = ""
    seen: str | None = None
    suggested: str | None = None
    marks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, without what is empty."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items() if value not in (None, "", ())}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Case:
        """Read it back."""
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        return cls(**values)


@dataclass(frozen=True)
class Finding:
    """What one check found: its cases, how many more there are than are kept, and a remark where the check was limited."""

    key: str
    cases: tuple[Case, ...] = ()
    more: int = 0
    note: str = ""
    severe: bool = field(default=False)

    @classmethod
    def of(cls, key: str, cases: Iterable[Case], note: str = "", *, severe: bool = False) -> Finding:
        """Keep at most MOST_CASES of the cases."""
        found = list(cases)
        return cls(key, tuple(found[:MOST_CASES]), max(0, len(found) - MOST_CASES), note, severe)

    @property
    def check(self) -> Check:
        """The check that found it."""
        return check_of(self.key)

    @property
    def count(self) -> int:
        """How many cases there are."""
        return len(self.cases) + self.more

    @property
    def severity(self) -> Severity:
        """Green without a case; `severe` makes any case red."""
        if not self.count:
            return "green"
        return "red" if self.severe else self.check.severity

    @property
    def words(self) -> str:
        """One sentence for people."""
        return words_for(self.check, self.count)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON; severity, count and words stand in it for other readers."""
        return {
            "key": self.key,
            "title": self.check.title,
            "severity": self.severity,
            "count": self.count,
            "words": self.words,
            "fixes": list(self.check.fixes),
            "more": self.more,
            "note": self.note,
            "severe": self.severe,
            "cases": [case.to_json() for case in self.cases],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Finding:
        """Read it back."""
        return cls(row["key"], tuple(Case.from_json(case) for case in row["cases"]), row["more"], row["note"], row["severe"])


_BY_KEY = {check.key: check for check in CHECKS}
assert len(_BY_KEY) == len(CHECKS), "two checks of one name"


def check_of(key: str) -> Check:
    """Return the check of that name."""
    return _BY_KEY[key]


def words_for(check: Check, count: int) -> str:
    """Say what a number of finds means.

    >>> words_for(check_of("dark"), 2), words_for(check_of("blank"), 0)
    ('2 pictures are very dark.', 'No picture is blank.')
    """
    return check.fine if not count else check.one if count == 1 else check.many.format(n=f"{count:,}")


def subject_of(item_ids: Sequence[int]) -> str:
    """Return the subject of pictures: their ids; where there are too many for the table, a hash of them.

    >>> subject_of([7, 3])
    '3,7'
    """
    plain = ",".join(str(one) for one in sorted(item_ids))
    return plain if len(plain) <= _LONGEST_SUBJECT else "#" + hashlib.sha256(plain.encode()).hexdigest()


def mark_key(mark: Mark) -> str:
    """Return what a drawn label is known by: it stays when the picture's labels are written anew, and goes when this one changes."""
    shape = _as_floats(dict(mark.geometry or {}))
    return hashlib.sha256(f"{mark.label}\0{mark.kind}\0{shape}".encode()).hexdigest()[:16]


def _as_floats(value: Any) -> Any:
    """Write 1 and 1.0 alike: JSON and databases do not keep them apart."""
    if isinstance(value, dict):
        return [(key, _as_floats(value[key])) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return [_as_floats(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
