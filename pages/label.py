"""Label: put pictures into classes by click and key, tag them with several, or draw what is in them. Every decision and every stroke is saved at once."""

from __future__ import annotations

from functools import partial

import streamlit as st

from engine.data import items, projects, suggestions, tag_suggestions
from engine.data.marks import TAGGING
from engine.data.projects import Project
from pages.parts import annotator, tagging
from pages.parts import state as ui
from pages.parts.counted import counted_choice
from pages.parts.drawing import draw
from pages.parts.jobs import newest_job_of, outcome
from pages.parts.new_class import new_class_field
from pages.parts.proposing import proposing_now
from pages.parts.sorter import sorter
from pages.parts.sorting import act, say_what_happened, undo_last, undo_list
from pages.parts.suggesting import help_from_model, suggesting
from pages.parts.text import quoted
from pages.parts.wording import amount

PAGE = 60
TO_SORT = ""
DOUBT, SURE, CAME = "doubt", "sure", "came"
ORDERS = {DOUBT: "What the model doubts first", SURE: "What it is surest of first", CAME: "As they came"}


def main() -> None:
    ui.stepper("Label")
    project = ui.current_project()
    if project is None:
        return ui.no_project("Label")
    drawn = project.task in annotator.TOOLS
    several = project.task == TAGGING
    st.title("Draw what is in the pictures" if drawn else "Tag pictures" if several else "Sort pictures into classes")
    summary = projects.summary(project.id)
    if not summary.items:
        return ui.empty("photo_library", "No pictures yet", "Bring some first; then say here what each one shows.", "data.py", "Add pictures")
    if drawn:
        st.fragment(draw, run_every=1.0 if proposing_now(project) else None)(project)
    else:
        st.fragment(_sort, run_every=1.0 if suggesting(project) else None)(project)
    ui.shell_command(
        f"python -m engine label --project {quoted(project.name)} PICTURE CLASS" + (" --box LEFT TOP RIGHT BOTTOM" if drawn else " CLASS" if several else "")
    )
    return None


def _sort(project: Project) -> None:
    with ui.guard():
        say_what_happened(project)
        summary = projects.summary(project.id)
        sorted_share = summary.labelled / max(1, summary.items)
        several = project.task == TAGGING
        st.progress(sorted_share, text=f"{summary.labelled:,} of {amount(summary.items, 'picture')} {'are tagged' if several else 'have a class'}")
        if st.session_state.pop("_was-suggesting", False) and not suggesting(project):
            st.rerun()  # the clock of this fragment stops
        st.session_state["_was-suggesting"] = suggesting(project)
        shown = _tools(project, summary)
        classes = items.classes(project.id)
        if not classes:
            words = "Make your first class" if several else "Make your first two classes"
            st.info(f"{words}: type a name above and press Enter.", icon=":material/category:")
            return None
        help_from_model(project, summary)
        if several:
            return _tag(project, summary, shown, classes)
        pictures = _batch(project, shown)
        if not pictures:
            return _all_done(summary.unlabelled, shown)
        sorter(pictures, classes, suggested=suggestions.of_items([item.id for item in pictures]), key=f"sorter-{project.id}", on_decision=partial(act, project))
        left = items.count_items(project.id, label=shown or None, unlabelled=shown == TO_SORT) - len(pictures)
        if left > 0:
            st.caption(f"{left:,} more come up as you go.")
        return None


def _tag(project: Project, summary: projects.Summary, shown: str, classes: list[str]) -> None:
    """Show a batch of pictures that can have several classes; it stays until the next is asked for, or suggestions arrive."""
    order = st.session_state.get(f"sort-order-{project.id}", DOUBT)
    job = newest_job_of("suggest", project.id)
    made = job.id if job is not None and not outcome(job).active else ""
    new = [item.id for item in _batch(project, shown)]
    pictures = tagging.batch(project, (shown, order, made), new)
    if pictures:
        tagging.wall(project, pictures, classes)
        left = items.count_items(project.id, label=shown or None, unlabelled=True) if shown == TO_SORT else 0
        open_ = left - sum(not (item.labels or item.reviewed) for item in pictures)
        if open_ > 0:
            st.caption(f"{open_:,} more to tag.")
    if not pictures or (shown == TO_SORT and not summary.unlabelled):
        _all_done(summary.unlabelled, shown, several=True)


def _batch(project: Project, shown: str) -> list[items.Item]:
    """Return the next pictures: of those without a class, the ones a model doubts most come first, since they teach it most."""
    if shown != TO_SORT:
        nothing = shown == tagging.NOTHING
        return items.list_items(project.id, label=None if nothing else shown, nothing=nothing, limit=PAGE)
    order = st.session_state.get(f"sort-order-{project.id}", DOUBT)
    most_doubted = tag_suggestions.doubted if project.task == TAGGING else suggestions.unsure
    first = most_doubted(project.id, limit=PAGE, surest=order == SURE) if order != CAME else []
    others = items.list_items(project.id, unlabelled=True, limit=2 * PAGE if first else PAGE)
    return (items.get_items(first) + [item for item in others if item.id not in set(first)])[:PAGE]


def _tools(project: Project, summary: projects.Summary) -> str:
    """Show what to look at, a field for a new class, and Undo; return the class looked at, '' for those without."""
    several = project.task == TAGGING
    titles = {
        TO_SORT: f"To {'tag' if several else 'sort'} ({summary.unlabelled:,})",
        **{name: f"{name} ({count:,})" for name, count in summary.classes.items()},
    }
    if several:
        titles[tagging.NOTHING] = f"None of these ({items.count_items(project.id, nothing=True):,})"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shown = counted_choice("Show", titles, key=f"sort-show-{project.id}")
        if shown == TO_SORT and suggestions.count(project.id):
            st.selectbox("Order", list(ORDERS), format_func=ORDERS.__getitem__, key=f"sort-order-{project.id}", width=240)
        new_class_field(project)
        known = undo_list(project)
        words = "Undo the last decision (Ctrl+Z)" if known else "Nothing to undo"
        st.button("Undo", key="undo", icon=":material/undo:", on_click=undo_last, args=(project,), disabled=not known, help=words)
    return shown


def _all_done(unlabelled: int, shown: str, several: bool = False) -> None:
    with st.container(border=True, horizontal_alignment="center"):
        if shown == TO_SORT and not unlabelled:
            st.markdown(f"### :primary[:material/task_alt:] Every picture {'is tagged' if several else 'has a class'}", text_alignment="center")
            if st.button("Next: train", type="primary", icon=":material/arrow_forward:", key="next"):
                st.switch_page("train.py")
        else:
            st.markdown("No picture is in this class yet.", text_alignment="center")


main()
