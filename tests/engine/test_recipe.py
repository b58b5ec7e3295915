"""engine.recipe: one schema; every setting refuses what lies outside its row."""

from __future__ import annotations

import pytest

from engine.errors import StudioError
from engine.recipe import GROUPS, PRESETS, Recipe, differing, recipe_from, settings

BOUNDED = [row for row in settings() if row.low is not None]


def test_every_setting_says_what_a_form_needs() -> None:
    for row in settings():
        assert row.title, row.key
        assert row.help.endswith("."), row.key
        assert row.group in GROUPS, row.key
        assert row.kind != "choice" or row.default in row.options, row.key
        assert row.kind not in ("int", "float") or row.low is not None, row.key


@pytest.mark.parametrize("row", BOUNDED, ids=lambda row: row.key)
def test_a_value_outside_its_bounds_is_a_sentence_with_the_bounds(row) -> None:
    for wrong in (row.low - 1, row.high + 1, "many", "nan", "1e308"):
        with pytest.raises(StudioError, match=rf"\({row.key}\) cannot be .* from"):
            recipe_from({row.key: wrong})
    assert getattr(recipe_from({row.key: str(row.low if row.kind == "float" else int(row.low))}), row.key) == row.low


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"epoch": 3}, "no setting 'epoch'.*'epochs'"),
        ({"optimizer": "adamx"}, "Choose one of adamw"),
        ({"flip_horizontal": "perhaps"}, "Say true or false"),
        ({"preset": "fastest"}, "no preset 'fastest'.*quick, balanced, best"),
        ({"epochs": "2.5"}, "whole number from 0 to 1000 passes"),
        ({"epochs": {"a": {"b": 1}}}, r"\(epochs\) cannot be"),
    ],
)
def test_mistakes_are_sentences(values, match: str) -> None:
    with pytest.raises(StudioError, match=match):
        recipe_from(values)


def test_words_from_a_shell_are_read() -> None:
    recipe = recipe_from({"epochs": "3", "lr_head": "1e-2", "flip_horizontal": "false", "optimizer": "sgd"})
    assert (recipe.epochs, recipe.lr_head, recipe.flip_horizontal, recipe.optimizer) == (3, 0.01, False, "sgd")


def test_what_the_user_set_wins_over_the_preset() -> None:
    for key, preset in PRESETS.items():
        assert {name: getattr(recipe_from({}, preset=key), name) for name in preset.values} == dict(preset.values)
        assert recipe_from({}, preset=key).preset == key
    assert recipe_from({"epochs": 2}, preset="best").epochs == 2


def test_a_recipe_reads_back_as_it_was_written() -> None:
    recipe = recipe_from({"seed": 7, "name": "first"}, preset="best")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_only_what_differs_is_listed_and_names_do_not_count() -> None:
    first = recipe_from({"name": "a"})
    assert differing([first, recipe_from({"name": "b", "epochs": 3})]) == {"epochs": [first.epochs, 3]}
    assert differing([first]) == {}
