"""Choosing an architecture for a task with drawn labels: asked what matters, told in plain words, and shown against the backbones."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from engine.data.projects import Project
from engine.models import catalogue
from engine.models.dense.table import ARCHITECTURES, TRAITS, Architecture, rank
from pages.parts.text import plain

__all__ = ["architecture_choice", "fit_table"]

_STARS = 5
_FAMILIES_SHOWN = 24


def architecture_choice(project: Project, current: str, change: Callable[[str], None]) -> str:
    """Let the user choose the architecture, the best first for what matters to them; return its name. `change` hears a new choice."""
    st.markdown("**1. The architecture:** the part that finds or outlines things.")
    matters = st.pills(
        "Which should I take? Say what matters, and the best comes first.", list(TRAITS), format_func=TRAITS.__getitem__, selection_mode="multi", key="matters"
    )
    ranked = rank(project.task, matters)
    slot = f"_architecture-{project.id}"
    chosen = st.session_state.get(slot) or current or ranked[0].name
    if chosen not in {row.name for row in ranked}:
        chosen = ranked[0].name

    def pick(name: str) -> None:
        st.session_state[slot] = name
        change(name)

    with st.grid("auto", min_column_width=230, gap="small"):
        for place, row in enumerate(ranked):
            _card(row, chosen == row.name, bool(matters) and not place, pick)
    return str(chosen)


def _card(row: Architecture, chosen: bool, first: bool, pick: Callable[[str], None]) -> None:
    with st.container(border=True, height="stretch", gap="xsmall", key=f"architecture-{row.name}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{plain(row.title)}**", width="content")
            if first:
                st.badge("Best for that", icon=":material/thumb_up:", color="green")
        st.markdown(plain(row.words))
        st.caption("  \n".join(f"{TRAITS[key]}: {'●' * value}{'○' * (_STARS - value)}" for key, value in row.traits.items()))
        st.caption(plain(f"{row.method.split(',')[0]} · code: {row.code}"))
        st.space("stretch")
        st.button(
            "Chosen" if chosen else "Choose",
            key=f"take-{row.name}",
            icon=":material/check:" if chosen else None,
            type="primary" if chosen else "secondary",
            width="stretch",
            on_click=pick,
            args=(row.name,),
        )


def fit_table(task: str) -> None:
    """Show which architecture goes with which family of backbones, by each family's best-known member."""
    with st.expander("Which goes with which", icon=":material/table_chart:", on_change="rerun", key="fit-table") as opened:
        if not opened.open:
            return
        rows = [row for row in ARCHITECTURES.values() if row.task == task]
        shown = [(title, found[0]) for name, title, _ in catalogue.families()[:_FAMILIES_SHOWN] if (found := catalogue.backbones("", name))]
        table = {"Backbone": [f"{title} ({one.name})" for title, one in shown]}
        table |= {row.title: ["✓" if row.takes(one) is None else "–" for _, one in shown] for row in rows}
        st.dataframe(pd.DataFrame(table), hide_index=True)
        reasons = {reason for row in rows for _, one in shown if (reason := row.takes(one)) is not None}
        for reason in sorted(reasons)[:8]:
            st.caption(f"– {plain(reason)}.")
