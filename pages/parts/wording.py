"""Figures as a reader says them: durations, shares, sizes, moments."""

from __future__ import annotations

import time

__all__ = ["amount", "duration", "megabytes", "moment", "percent", "share_range"]


def duration(seconds: float | None) -> str:
    """Say a length of time.

    >>> duration(0.4), duration(42), duration(130), duration(7300), duration(None)
    ('under 1 s', '42 s', '2 min 10 s', '2 h 1 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(share: float | None, digits: int = 1) -> str:
    """Say a share of 0..1 as a percentage; the space in it never breaks a line.

    >>> percent(0.9137), percent(1.0), percent(None)
    ('91.4\\xa0%', '100\\xa0%', '–')
    """
    if share is None:
        return "–"
    return f"{100 * share:.{digits}f}".removesuffix("." + "0" * digits) + "\u00a0%"


def share_range(low: float, high: float) -> str:
    """Say a range of shares.

    >>> share_range(0.857, 0.949)
    '85.7\\xa0% to 94.9\\xa0%'
    """
    return f"{percent(low)} to {percent(high)}"


def megabytes(value: float | None) -> str:
    """Say an amount of memory given in MB.

    >>> megabytes(640), megabytes(5222), megabytes(None)
    ('640 MB', '5.1 GB', '–')
    """
    if value is None:
        return "–"
    return f"{value:.0f} MB" if value < 1000 else f"{value / 1024:.1f} GB"


def amount(count: int, thing: str, things: str = "") -> str:
    """Say how many.

    >>> amount(1, "picture"), amount(1200, "picture"), amount(2, "class", "classes")
    ('1 picture', '1,200 pictures', '2 classes')
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def moment(t: float) -> str:
    """Say when, on this machine's clock: the time if it was today, else the day too."""
    then, now = time.localtime(t), time.localtime()
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M" if same_day else "%d %b, %H:%M", then)
