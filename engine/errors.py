"""The one error a user is meant to read. Our own faults are asserts and tracebacks in a log, never this."""

from __future__ import annotations

__all__ = ["ConflictError", "StudioError"]


class StudioError(Exception):
    """Something the user can mend, said as two short sentences.

    Attributes:
        problem: what happened and why, with the value at fault and where it stands.
        remedy: what to do next.

    >>> raise StudioError("class 'cat' has 1 picture; a split needs 3", "Add pictures of 'cat'.")
    Traceback (most recent call last):
    ...
    engine.errors.StudioError: class 'cat' has 1 picture; a split needs 3. Add pictures of 'cat'.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem.rstrip(". ")
        self.remedy = remedy
        super().__init__(f"{self.problem}. {remedy}")

    def __reduce__(self) -> tuple[type[StudioError], tuple[str, str]]:
        """Survive a process boundary: the default would pass one argument to a constructor of two."""
        return StudioError, (self.problem, self.remedy)


class ConflictError(StudioError):
    """Somebody else changed the same thing first, so nothing was written: look at what is there now, then decide again."""

    def __reduce__(self) -> tuple[type[ConflictError], tuple[str, str]]:
        """Survive a process boundary as what it is."""
        return ConflictError, (self.problem, self.remedy)
