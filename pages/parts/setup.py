"""Setting up a run: the goal as three large choices, and what the chosen variations do to the user's own pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from engine.data import images, items
from engine.data.projects import Project
from engine.recipe import PRESETS, Recipe, settings
from engine.tasks import TASKS
from engine.training.preview import variations

__all__ = ["chosen_goal", "form_key", "goal_cards", "preview", "start_of"]

_ICONS = {"quick": "bolt", "balanced": "balance", "best": "workspace_premium"}
_PREVIEW_PX = 160
_VARIATIONS = 7


def form_key(project: Project) -> str:
    """Return the key under which the session keeps the settings that the user changed in a project."""
    return f"train-{project.id}"


def start_of(project: Project) -> str:
    """Return the starting point that was chosen for a project, or the packaged backbone with what its task usually puts on it."""
    return project.start or "efficientnet_lite0"


def _goal_slot(project: Project) -> str:
    return f"_goal-{project.id}"


def chosen_goal(project: Project) -> str:
    """Return the goal that the user chose in a project, or the usual one."""
    return str(st.session_state.get(_goal_slot(project), "balanced"))


def goal_cards(project: Project) -> str:
    """Show the three goals as cards; return the chosen one."""
    slot, chosen = _goal_slot(project), chosen_goal(project)
    for column, (key, preset) in zip(st.columns(3), PRESETS.items(), strict=True):
        with column, st.container(border=True, height="stretch", key=f"goal-card-{key}"):
            st.markdown(f"#### :material/{_ICONS.get(key, 'flag')}: {preset.title}")
            st.caption(preset.promise)
            st.button(
                "Chosen" if key == chosen else f"Choose {preset.title.lower()}",
                key=f"goal-{key}",
                icon=":material/check:" if key == chosen else None,
                type="primary" if key == chosen else "secondary",
                width="stretch",
                on_click=st.session_state.__setitem__,
                args=(slot, key),
            )
    return chosen


def preview(project: Project, recipe: Recipe) -> None:
    """Show what training will make of a few of the project's own pictures; "Other picture" takes the next one."""
    total = items.count_items(project.id, split="train") or items.count_items(project.id)
    if not total:
        return
    turn = int(st.session_state.get("_preview-turn", 0))
    split = "train" if items.count_items(project.id, split="train") else None
    found = items.list_items(project.id, split=split, offset=(turn * 7919) % total, limit=1)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            "**How a picture will be varied**",
            help="Each time a picture is shown in training it looks a little different, so that the model learns the thing and not the photograph.",
            width="content",
        )
        st.button(
            "Another picture",
            icon=":material/shuffle:",
            type="tertiary",
            key="preview-other",
            on_click=st.session_state.__setitem__,
            args=("_preview-turn", turn + 1),
        )
    changing = tuple((row.key, getattr(recipe, row.key)) for row in settings() if row.group == "pictures")
    with st.grid("auto", gap="small", min_column_width=88):
        for number, picture in enumerate(_varied(found[0].id, str(found[0].path), changing, TASKS[project.task].fit, recipe)):
            st.image(picture, width="stretch", alt="the picture as it is" if not number else f"variation {number}")
    st.caption("First as it is, then as training may show it.")


@st.cache_data(max_entries=64, show_spinner=False)
def _varied(item_id: int, path: str, changing: tuple[tuple[str, Any], ...], fit: str, _recipe: Recipe) -> list[NDArray[np.uint8]]:  # noqa: ARG001 (the cache's key)
    picture = images.open_rgb(items.get_item(item_id).path, size_px=2 * _PREVIEW_PX)
    if fit == "whole":
        picture.thumbnail((_PREVIEW_PX, _PREVIEW_PX))
        return [np.asarray(picture), *(np.asarray(one) for one in variations(picture, _recipe, _VARIATIONS, _PREVIEW_PX))]
    plain = images.stored_square(picture, _PREVIEW_PX, "bilinear", fit)
    return [np.asarray(plain), *(np.asarray(one) for one in variations(picture, _recipe, _VARIATIONS, _PREVIEW_PX))]
