"""Names for runs that nobody named."""

from __future__ import annotations

from engine import runs, workspace
from engine.errors import StudioError
from engine.recipe import PRESETS, Recipe

__all__ = ["named"]


def named(recipe: Recipe, project_id: str) -> Recipe:
    """Return the recipe with a name: its own, or one for the project's next run with that goal, such as 'Balanced 3'.

    Deleted runs leave gaps in the numbers; a name is never given twice.
    """
    if recipe.name:
        return recipe
    title = PRESETS[recipe.preset].title
    numbers = [0]
    for run in runs.list_runs(project_id):
        try:
            given = str(workspace.read_json(run.path("recipe.json")).get("name", ""))
        except StudioError:
            continue  # a damaged run has no name to keep free
        start, _, number = given.rpartition(" ")
        if start == title and number.isdecimal():
            numbers.append(int(number))
    return recipe.model_copy(update={"name": f"{title} {max(numbers) + 1}"})
