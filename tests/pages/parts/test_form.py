"""The form made from the schema: every setting has a widget, what is changed is kept, marked and taken back."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from engine.recipe import PRESETS, recipe_from, settings

EXPERT = "f-expert"


def _page() -> None:
    import streamlit as st

    from pages.parts import form

    preset = st.session_state.get("preset", "balanced")
    st.session_state["got"] = form.settings_form("f", preset)
    st.session_state["recipe"] = form.recipe_of("f", preset).model_dump()


def _form(*, expert: bool = False, **state: object) -> AppTest:
    app = AppTest.from_function(_page, default_timeout=30)
    if expert:
        app.session_state[EXPERT] = True
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    assert not app.exception, [shown.message for shown in app.exception]
    return app


def _widgets(app: AppTest) -> dict[str, object]:
    kinds = (app.number_input, app.slider, app.selectbox, app.toggle, app.text_input, app.get("button_group"))
    return {str(one.key).removeprefix("f-"): one for kind in kinds for one in kind if str(one.key).startswith("f-")}


def test_basic_settings_stand_open_and_expert_ones_are_folded_away() -> None:
    shown = set(_widgets(_form()))
    assert shown == {row.key for row in settings("image-classification") if row.level == "basic" and row.key != "preset"}


def _drawn_page() -> None:
    from engine.models.dense.options import idle_settings
    from pages.parts import form

    form.settings_form("f", "balanced", "object-detection", idle_settings("ssd"))


def test_what_the_architecture_has_no_part_for_is_grey_and_says_why() -> None:
    app = AppTest.from_function(_drawn_page, default_timeout=30)
    app.session_state[EXPERT] = True
    app.run()
    assert not app.exception
    anchor = app.number_input(key="f-anchor_size")
    assert anchor.disabled
    assert "SSD has no such part, so it does nothing here" in anchor.help
    assert not app.number_input(key="f-batch_size").disabled
    (light,) = [group for group in app.get("button_group") if group.key == "f-head_light"]
    assert not light.disabled


def test_every_setting_has_a_widget_that_shows_the_presets_value() -> None:
    for preset in PRESETS:
        app = _form(expert=True, preset=preset)
        shown = _widgets(app)
        wanted = {row.key: row for row in settings("image-classification") if row.level != "hidden" and row.key != "preset"}
        assert set(shown) == set(wanted)
        recipe = recipe_from({}, preset=preset)
        for key, widget in shown.items():
            value = widget.value[0] if isinstance(widget.value, list) else widget.value  # type: ignore[attr-defined]
            left_to_graft = wanted[key].automatic and not getattr(recipe, key)
            assert value == (None if left_to_graft else getattr(recipe, key)), (preset, key)
        assert app.session_state["got"] == {}


@pytest.mark.parametrize(
    ("key", "value"), [("epochs", 3), ("lr_head", 0.01), ("label_smoothing", 0.2), ("device", "cpu"), ("flip_vertical", True), ("optimizer", "sgd")]
)
def test_a_change_is_kept_marked_and_taken_back(key: str, value: object) -> None:
    app = _form(expert=True)
    _widgets(app)[key].set_value(value).run()  # type: ignore[attr-defined]
    assert app.session_state["got"] == {key: value}
    assert app.session_state["recipe"][key] == value
    assert "changed" in _widgets(app)[key].label  # type: ignore[attr-defined]
    back = next(button for button in app.button if button.key == f"f-{key}-reset")
    back.click().run()
    assert app.session_state["got"] == {}
    assert "changed" not in _widgets(app)[key].label  # type: ignore[attr-defined]


def test_what_is_left_to_graft_is_an_empty_field_that_says_so() -> None:
    app = _form(expert=True)
    batch = app.number_input(key="f-batch_size")
    assert (batch.value, batch.placeholder) == (None, "Automatic")
    batch.set_value(16).run()
    assert app.session_state["got"] == {"batch_size": 16}
    back = next(button for button in app.button if button.key == "f-batch_size-reset")
    assert back.label == "Back to automatic"
    app.number_input(key="f-batch_size").set_value(0).run()
    assert app.session_state["got"] == {}
    app.number_input(key="f-epochs").set_value(0).run()  # also where the goal has a figure
    assert app.session_state["recipe"]["epochs"] == 0
    assert app.number_input(key="f-epochs").value is None


def test_what_equals_the_preset_is_no_change() -> None:
    app = _form()
    _widgets(app)["epochs"].set_value(9).run()  # type: ignore[attr-defined]
    _widgets(app)["epochs"].set_value(12).run()  # type: ignore[attr-defined]
    assert app.session_state["got"] == {}


def test_another_preset_keeps_what_the_user_changed_and_moves_the_rest() -> None:
    app = _form(expert=True)
    _widgets(app)["lr_head"].set_value(0.01).run()  # type: ignore[attr-defined]
    app.session_state["preset"] = "best"
    app.run()
    assert app.session_state["got"] == {"lr_head": 0.01}
    assert _widgets(app)["epochs"].value == 30  # type: ignore[attr-defined]


def test_all_changes_can_be_taken_back_at_once() -> None:
    app = _form(expert=True)
    for key, value in (("epochs", 3), ("seed", 7)):
        _widgets(app)[key].set_value(value).run()  # type: ignore[attr-defined]
    assert len(app.session_state["got"]) == 2
    next(button for button in app.button if button.key == "f-reset-all").click().run()
    assert app.session_state["got"] == {}


def test_a_value_out_of_bounds_is_said_as_a_sentence() -> None:
    app = AppTest.from_function(_out_of_bounds, default_timeout=30).run()
    assert "cannot be" in app.error[0].value
    assert not app.exception


def _out_of_bounds() -> None:
    from pages.parts import form

    form.set_value("f", "epochs", 100_000)
    form.settings_form("f", "balanced")


def test_bounds_and_help_come_from_the_schema() -> None:
    shown = _widgets(_form(expert=True))
    for row in settings():
        if row.key in shown and row.kind in ("int", "float"):
            widget = shown[row.key]
            assert widget.min == row.low  # type: ignore[attr-defined]
            assert widget.max == row.high  # type: ignore[attr-defined]
            assert widget.help == row.help  # type: ignore[attr-defined]
