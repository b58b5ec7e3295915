"""The map on the Check page, and what can be done with the pictures that were circled: another class, or set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import streamlit as st

from engine.data import items, marks
from engine.data.check import fixes
from engine.data.check.said import said_of, words_of
from engine.data.items import Item
from engine.data.marks import TAGGING, TASK_KINDS
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts import state as ui
from pages.parts.checkup import keep_done
from pages.parts.data_map import data_map
from pages.parts.pictures import strip
from pages.parts.text import plain
from pages.parts.wording import amount

__all__ = ["show_map"]

_SHOWN = 12


def show_map(project: Project, places: Mapping[str, Any]) -> None:
    """Show the map; below it what was circled."""
    shown = {item.id: item for item in items.get_items(places["ids"]) if not item.excluded}
    drawn = "class" not in TASK_KINDS[project.task]
    several = project.task == TAGGING
    said = {item.id: said_of(item.labels, item.reviewed, several=several) for item in shown.values()}
    names = marks.most_drawn(shown) if drawn else {one: words_of(what, several=several) for one, what in said.items() if what is not None}
    st.caption(
        "Each point is a picture; those that look alike lie together. Point at one to see it; draw a circle round some to change them. "
        + ("Its colour is the class that is drawn in it most often." if drawn else "A point among others of another colour is worth a look.")
    )
    if len(places["ids"]) < places["of"]:
        st.caption(f"{len(places['ids']):,} of {amount(places['of'], 'picture')} are on the map, evenly taken.")
    if not shown:
        st.info("No picture is left to show. Check again.", icon=":material/info:")
        return
    none = "nothing drawn" if drawn else "without a class"
    chosen = data_map(shown, names, places, key=f"map-{project.id}", none=none)
    if chosen:
        _act(project, [shown[one] for one in chosen], {one: names.get(one, none) for one in chosen})


def _act(project: Project, chosen: list[Item], names_of: Mapping[int, str]) -> None:
    with st.container(border=True, key="map-chosen"), ui.guard():
        counts = Counter(names_of[item.id] for item in chosen)
        kinds = ", ".join(f"{plain(name, 40)} ({count:,})" for name, count in counts.most_common(5))
        st.markdown(f"**{amount(len(chosen), 'picture')} circled**: {kinds}")
        strip([item.id for item in chosen[:_SHOWN]], alt="Pictures that were circled")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            names = items.classes(project.id)
            several = project.task == TAGGING
            whole = any(item.label is not None for item in chosen) or "class" in TASK_KINDS[project.task]
            name = st.selectbox("Class", names, index=None, key="map-class", accept_new_options=True, width=240) if whole else None
            if several:
                more = {item.id: (item, {"labels": (*item.labels, name), "reviewed": True}) for item in chosen if name not in item.labels}
                words = f"Add to {amount(len(more), 'picture')}" if name else "Add this class"
                st.button(words, key="map-relabel", icon=":material/label:", disabled=not name, on_click=_edit, args=(project, "relabel", more))
            elif whole:
                changed = {item.id: (item, {"label": name}) for item in chosen if item.label != name}
                words = f"Change {amount(len(changed), 'label')}" if name else "Change label"
                st.button(words, key="map-relabel", icon=":material/label:", disabled=not name, on_click=_edit, args=(project, "relabel", changed))
            aside = {item.id: (item, {"excluded": True}) for item in chosen}
            st.button(f"Set {len(chosen):,} aside", key="map-exclude", icon=":material/visibility_off:", on_click=_edit, args=(project, "exclude", aside))


def _edit(project: Project, fix: str, wanted: dict[int, tuple[Item, dict[str, Any]]]) -> None:
    try:
        keep_done(project.id, fixes.edit_items(project.id, wanted), fix)
    except StudioError as error:
        keep_done(project.id, fixes.Done(0, (error,), fixes.Undo(project.id)), fix)
