"""Where the pages are: the one table that navigation, stepper and links read. To add a page, add a row and its file."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PATH", "PLACES", "Place", "place"]


@dataclass(frozen=True)
class Place:
    """One page: its file beside shell.py, its name and address, its icon, its part of the navigation."""

    file: str
    title: str
    url: str
    icon: str
    section: str
    words: str


PLACES: tuple[Place, ...] = (
    Place("projects.py", "Projects", "projects", ":material/grid_view:", "", "All your projects"),
    Place("start.py", "Start", "start", ":material/potted_plant:", "Build", "Choose what to start from"),
    Place("data.py", "Data", "data", ":material/photo_library:", "Build", "Bring your pictures"),
    Place("check.py", "Check", "check", ":material/health_and_safety:", "Build", "See what is wrong with your pictures"),
    Place("label.py", "Label", "label", ":material/category:", "Build", "Say what is in your pictures"),
    Place("train.py", "Train", "train", ":material/model_training:", "Build", "Train and watch"),
    Place("results.py", "Results", "results", ":material/fact_check:", "Understand", "See what the model gets right and wrong"),
    Place("compare.py", "Compare", "compare", ":material/compare_arrows:", "Understand", "Lay runs side by side"),
    Place("try_it.py", "Try", "try", ":material/photo_camera:", "Use", "Show the model a picture"),
    Place("ship.py", "Ship", "ship", ":material/package_2:", "Use", "Download the model"),
)

PATH = ("Start", "Data", "Train", "Results", "Ship")
"""The steps of the path a user walks, in order: titles of places."""


def place(title: str) -> Place:
    """Return the place of that title."""
    return next(one for one in PLACES if one.title == title)
