"""Runs that nobody named."""

from __future__ import annotations

from pathlib import Path

from engine import naming, runs
from engine.data import projects
from engine.recipe import Recipe, recipe_from

VERSION = {"id": "none", "task": "image-classification", "classes": [], "items": []}


def begun(project_id: str, recipe: Recipe) -> str:
    named = naming.named(recipe, project_id)
    runs.create_run(project_id, named, VERSION)
    return named.name


def test_names_count_up_by_goal_and_are_never_given_twice(home: Path) -> None:
    project = projects.create("Pets")
    assert [begun(project.id, recipe_from({})) for _ in range(2)] == ["Balanced 1", "Balanced 2"]
    assert begun(project.id, recipe_from({}, preset="quick")) == "Quick look 1"
    assert begun(project.id, recipe_from({"name": "Balanced 7"})) == "Balanced 7"
    assert begun(project.id, recipe_from({})) == "Balanced 8"
    assert begun(project.id, recipe_from({"name": "mine"})) == "mine"


def test_a_damaged_run_is_passed_over(home: Path) -> None:
    project = projects.create("Pets")
    run = runs.create_run(project.id, recipe_from({"name": "Balanced 4"}), VERSION)
    run.path("recipe.json").write_text("{")
    assert begun(project.id, recipe_from({})) == "Balanced 1"
