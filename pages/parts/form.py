"""A recipe as widgets, made from the schema in `engine.recipe`: the basic settings first, the expert ones by group.

What the user changed is kept by the session under its own key, so it survives page changes; a widget only shows it.
A setting that differs from the chosen preset says so and offers the way back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from engine.errors import StudioError
from engine.recipe import GROUPS, Recipe, Setting, recipe_from, settings, usual
from pages.parts.state import show_error

__all__ = ["changed_values", "recipe_of", "reset", "said", "set_value", "settings_fields", "settings_form", "title_of_option"]

_OPTIONS = {
    "head_then_all": "Head, then all",
    "adamw": "AdamW",
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "fp32": "fp32",
    "bf16": "bf16",
    "one_cycle": "One cycle",
    "channels_last": "Channels last",
}
_AUTOMATIC = "Automatic"
"""What a field says whose 0 leaves the choice to Graft."""


def title_of_option(option: str) -> str:
    """Return how a choice is shown."""
    return _OPTIONS.get(option, option.replace("_", " ").capitalize())


def _slot(key: str) -> str:
    return f"_form-{key}"


def changed_values(key: str) -> dict[str, Any]:
    """Return what the user changed from the preset in the form of that key: setting -> value."""
    return dict(st.session_state.get(_slot(key), {}))


def set_value(key: str, setting: str, value: Any) -> None:
    """Change one setting of a form from code (a loaded recipe, a proposal)."""
    st.session_state[_slot(key)] = {**changed_values(key), setting: value}


def reset(key: str, setting: str | None = None) -> None:
    """Go back to the preset's value of one setting, or of all."""
    kept = changed_values(key)
    st.session_state[_slot(key)] = {} if setting is None else {name: value for name, value in kept.items() if name != setting}


def recipe_of(key: str, preset: str, **more: Any) -> Recipe:
    """Return the recipe that a form stands for.

    Raises:
        StudioError: if a value is out of its bounds.
    """
    return recipe_from({**changed_values(key), **more}, preset=preset)


def settings_form(key: str, preset: str, task: str = "image-classification", idle: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Show the settings of a task; return what differs from the preset. A fault is shown as a sentence above.

    `idle` names settings that do nothing with the chosen starting point, each with the reason: they are greyed.
    """
    rows = [row for row in settings(task) if row.level != "hidden" and row.key != "preset"]
    try:
        recipe_of(key, preset, task=task)
    except StudioError as error:
        show_error(error)
    basic = [row for row in rows if row.level == "basic"]
    with st.grid("auto", min_column_width=240, gap="medium"):
        for row in basic:
            _field(key, preset, row, task, (idle or {}).get(row.key, ""))
    expert = [row for row in rows if row.level == "expert"]
    changed = sum(row.key in changed_values(key) for row in expert)
    title = "Expert settings" + (f" :orange-badge[{changed} changed]" if changed else "")
    with st.expander(title, icon=":material/tune:", key=f"{key}-expert", on_change="rerun") as box:
        if box.open:
            _expert(key, preset, expert, task, idle or {})
    return changed_values(key)


def settings_fields(key: str, preset: str, names: Sequence[str], task: str = "image-classification") -> None:
    """Show a few settings of the form of that key on another page: what is changed here is changed there."""
    with st.grid("auto", min_column_width=240, gap="medium"):
        for row in settings():
            if row.key in names:
                _field(key, preset, row, task)


def _expert(key: str, preset: str, rows: list[Setting], task: str, idle: Mapping[str, str]) -> None:
    groups = {group: [row for row in rows if row.group == group] for group in GROUPS}
    groups = {group: members for group, members in groups.items() if members}
    for tab, (_, members) in zip(st.tabs([GROUPS[group] for group in groups]), groups.items(), strict=True):
        with tab, st.grid("auto", min_column_width=240, gap="medium"):
            for row in members:
                _field(key, preset, row, task, idle.get(row.key, ""))
    if changed_values(key):
        st.button("Set everything back", icon=":material/restart_alt:", key=f"{key}-reset-all", on_click=reset, args=(key,))


def _preset_value(preset: str, row: Setting, task: str) -> Any:
    return usual(task, preset)[row.key]


def _took(key: str, preset: str, row: Setting, task: str) -> None:
    """Keep what a widget now says; an emptied one, or the preset's own value, is no change."""
    value = st.session_state[f"{key}-{row.key}"]
    if value is None or value == _preset_value(preset, row, task):
        reset(key, row.key)
    else:
        set_value(key, row.key, value)


def _field(key: str, preset: str, row: Setting, task: str, idle: str = "") -> None:
    """Show one setting: its widget, and if it was changed, a mark and the way back. One that does nothing here is grey and says why."""
    changed = row.key in changed_values(key)
    standard = _preset_value(preset, row, task)
    value = changed_values(key).get(row.key, standard)
    label = row.title + (f" ({row.unit})" if row.unit and row.unit not in row.title.lower() else "") + (" :orange-badge[changed]" if changed else "")
    words = f"{row.help} ({idle}, so it does nothing here.)" if idle else row.help
    common: dict[str, Any] = {"key": f"{key}-{row.key}", "help": words, "on_change": _took, "args": (key, preset, row, task), "disabled": bool(idle)}
    with st.container(gap="xsmall"):
        st.session_state[f"{key}-{row.key}"] = _widget_value(row, value)
        _widget(row, label, common)
        if changed:
            words = f"Back to {said(row, standard)}"
            st.button(words, key=f"{key}-{row.key}-reset", type="tertiary", icon=":material/undo:", on_click=reset, args=(key, row.key))


def said(row: Setting, value: Any) -> str:
    """Return how a setting's value is said beside its title."""
    if row.kind == "choice":
        return title_of_option(str(value))
    if row.kind == "bool":
        return "on" if value else "off"
    if row.automatic and not value:
        return _AUTOMATIC.lower()
    return f"{value:g}" if row.kind in ("int", "float") else f"'{value}'"


def _widget_value(row: Setting, value: Any) -> Any:
    """Return a value as the widget's type, inside its bounds: a widget outside them raises instead of showing it. What is left to Graft is empty."""
    if row.kind not in ("int", "float"):
        return value
    if row.automatic and not value:
        return None
    number = float(value) if row.kind == "float" else int(value)
    low = row.low if row.low is not None else -math.inf
    high = row.high if row.high is not None else math.inf
    return type(number)(min(max(number, low), high))


def _widget(row: Setting, label: str, common: dict[str, Any]) -> None:
    if row.kind == "bool":
        st.toggle(label, **common)
    elif row.kind == "choice" and len(row.options) <= 3:
        st.segmented_control(label, list(row.options), format_func=title_of_option, required=True, width="stretch", **common)
    elif row.kind == "choice":
        st.selectbox(label, list(row.options), format_func=title_of_option, **common)
    elif row.kind == "text":
        st.text_input(label, **common)
    elif row.kind == "float" and row.scale == "linear" and row.low == 0 and row.step and row.high is not None and row.high <= 1:
        st.slider(label, min_value=0.0, max_value=row.high, step=row.step, format="percent", **common)
    else:
        _number(row, label, common)


def _number(row: Setting, label: str, common: dict[str, Any]) -> None:
    if row.kind == "int":
        bounds = {"min_value": None if row.low is None else int(row.low), "max_value": None if row.high is None else int(row.high)}
        empty = {"value": None, "placeholder": _AUTOMATIC} if row.automatic else {}
        st.number_input(label, step=int(row.step or 1), **bounds, **empty, **common)  # type: ignore[call-overload]
        return
    step = row.step or ((row.default or 1e-3) / 10 if row.scale == "log" else 0.1 if (row.high or 0) > 1 else 0.001)
    st.number_input(label, min_value=row.low, max_value=row.high, step=step, format="%g", **common)
