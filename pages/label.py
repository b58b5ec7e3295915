"""Sort: put pictures without a class into one, by click and key. Every decision is saved at once."""

from __future__ import annotations

from functools import partial

import streamlit as st

from engine.data import items, projects
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts import state as ui
from pages.parts.sorter import Decision, sorter
from pages.parts.text import plain, quoted
from pages.parts.wording import amount

PAGE = 60
REMEMBERED = 200
TO_SORT = ""


def main() -> None:
    ui.stepper("Sort")
    project = ui.current_project()
    if project is None:
        return ui.no_project("Sort")
    st.title("Sort pictures into classes")
    summary = projects.summary(project.id)
    if not summary.items:
        return ui.empty("photo_library", "No pictures yet", "Bring some first; then say here what each one shows.", "data.py", "Add pictures")
    st.fragment(_sort)(project)
    ui.shell_command(f"python -m engine import TABLE.csv --project {quoted(project.name)}   # a table with the columns path and label sorts them too")
    return None


def _sort(project: Project) -> None:
    with ui.guard():
        _say_faults(project)
        summary = projects.summary(project.id)
        sorted_share = summary.labelled / max(1, summary.items)
        st.progress(sorted_share, text=f"{summary.labelled:,} of {amount(summary.items, 'picture')} have a class")
        shown = _tools(project, summary)
        classes = items.classes(project.id)
        if not classes:
            st.info("Make your first two classes: type a name above and press Enter.", icon=":material/category:")
            return None
        pictures = items.list_items(project.id, label=shown or None, unlabelled=shown == TO_SORT, limit=PAGE)
        if not pictures:
            return _all_done(summary.unlabelled, shown)
        sorter(pictures, classes, key=f"sorter-{project.id}", on_decision=partial(_act, project))
        left = items.count_items(project.id, label=shown or None, unlabelled=shown == TO_SORT) - len(pictures)
        if left > 0:
            st.caption(f"{left:,} more come up as you go.")
        return None


def _tools(project: Project, summary: projects.Summary) -> str:
    """Show what to look at, a field for a new class, and Undo; return the class looked at, '' for those without."""
    titles = {TO_SORT: f"To sort ({summary.unlabelled:,})", **{name: f"{name} ({count:,})" for name, count in summary.classes.items()}}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shown = st.selectbox("Show", list(titles), format_func=titles.__getitem__, key=f"sort-show-{project.id}", width=240)
        st.text_input("New class", key="new-class", placeholder="Type a name, press Enter", on_change=_add_class, args=(project,), max_chars=100, width=240)
        undo = _undo_list(project)
        words = "Undo the last decision (Ctrl+Z)" if undo else "Nothing to undo"
        st.button("Undo", key="undo", icon=":material/undo:", on_click=_undo, args=(project,), disabled=not undo, help=words)
    return str(shown)


def _add_class(project: Project) -> None:
    name = st.session_state["new-class"]
    if not name.strip():
        return
    try:
        items.add_class(project.id, name)
        st.session_state["new-class"] = ""
    except StudioError as error:
        _fault(project, error)


def _all_done(unlabelled: int, shown: str) -> None:
    with st.container(border=True, horizontal_alignment="center"):
        if shown == TO_SORT and not unlabelled:
            st.markdown("### :primary[:material/task_alt:] Every picture has a class", text_alignment="center")
            if st.button("Next: train", type="primary", icon=":material/arrow_forward:", key="next"):
                st.switch_page("train.py")
        else:
            st.markdown("No picture is in this class yet.", text_alignment="center")


# ---------------------------------------------------------------- saving and taking back


def _undo_list(project: Project) -> list[list[tuple[int, str | None, int]]]:
    """The decisions of this session, each as (picture, class before, revision after)."""
    return st.session_state.setdefault(f"_undo-{project.id}", [])


def _fault(project: Project, error: StudioError) -> None:
    st.session_state.setdefault(f"_faults-{project.id}", []).append(error)


def _say_faults(project: Project) -> None:
    for error in st.session_state.pop(f"_faults-{project.id}", []):
        ui.show_error(error)
    if words := st.session_state.pop("_sorted", ""):
        st.toast(words, icon=":material/check_circle:")


def _act(project: Project, decision: Decision) -> None:
    """Save a decision, each picture with the revision it was seen at; a picture changed elsewhere is left and said."""
    if decision.undo:
        return _undo(project)
    before = {item.id: item.label for item in items.get_items(one for one, _ in decision.items)}
    done: list[tuple[int, str | None, int]] = []
    refused: list[StudioError] = []
    for item_id, revision in decision.items:
        try:
            saved = items.set_label(item_id, decision.name, revision)
            done.append((item_id, before.get(item_id), saved.revision))
        except StudioError as error:
            refused.append(error)
    _keep_undo(project, done)
    if refused:
        _fault(project, _summed(refused))
    elif done:
        st.session_state["_sorted"] = f"{amount(len(done), 'picture')} saved as {plain(decision.name)}"
    return None


def _summed(refused: list[StudioError]) -> StudioError:
    first = refused[0]
    return first if len(refused) == 1 else StudioError(f"{first.problem} (and {amount(len(refused) - 1, 'other picture')} likewise)", first.remedy)


def _keep_undo(project: Project, done: list[tuple[int, str | None, int]]) -> None:
    if done:
        kept = _undo_list(project)
        kept.append(done)
        del kept[:-REMEMBERED]


def _undo(project: Project) -> None:
    kept = _undo_list(project)
    if not kept:
        return
    for item_id, label, revision in kept.pop():
        try:
            items.set_label(item_id, label, revision)
        except StudioError as error:
            _fault(project, error)


main()
