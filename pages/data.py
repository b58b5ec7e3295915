"""Data: bring pictures, see what was found before anything is saved, then see them counted, drawn and checked."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from engine import workspace
from engine.data import items, marks, projects
from engine.data.items import Item
from engine.data.projects import Project, Summary
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.bringing import bring, chosen_source, findings
from pages.parts.checkup import banner
from pages.parts.class_bars import bars
from pages.parts.exporting import export_button
from pages.parts.imports import import_progress, import_report, newest_import
from pages.parts.jobs import outcome
from pages.parts.looking_through import looking_part, unseen
from pages.parts.overlay import overlay
from pages.parts.picture_wall import Tile, large_picture, picture_wall
from pages.parts.pictures import image_url, picture
from pages.parts.splitting import splitting_part
from pages.parts.text import plain, quoted, short_name
from pages.parts.versions import versions_part
from pages.parts.wording import amount

PAGE = 36
MOST_MIXED = 12
SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}


def main() -> None:
    ui.stepper("Data")
    project = ui.current_project()
    if project is None:
        return ui.no_project("Data")
    st.title("Data")
    st.caption(f"The pictures of **{plain(project.name)}**")
    job = newest_import(project.id)
    now = outcome(job) if job is not None else None
    summary = projects.summary(project.id)  # after the look at the import: one that ends between the two has its pictures counted
    if job is not None and now is not None and now.active and (now.phase != "look" or not summary.items):
        _watch(job)
    elif not summary.items:
        if job is not None:
            import_report(job, expanded=True)
        bring(project, first=True)
    else:
        _contents(project, summary, job)
    path = (chosen_source(project) or {}).get("path", "PATH")
    ui.shell_command(f"python -m engine import {path if path == 'PATH' else quoted(path)} --project {quoted(project.name)}")
    return None


def _watch(job: Run) -> None:
    """Follow an import; one full rerun when its pictures are in."""

    def tick() -> None:
        with ui.guard():
            if not import_progress(job):
                if not outcome(job).active:
                    st.session_state["_import-just-ended"] = job.id
                _clear_upload(job)
                st.rerun()

    st.fragment(tick, run_every=0.5)()


def _clear_upload(job: Run) -> None:
    """Remove the uploaded copy once its pictures are in the project."""
    path = Path(workspace.read_json(job.path("request.json")).get("path", ""))
    inside = path.relative_to(workspace.uploads()).parts if path.is_relative_to(workspace.uploads()) else ()
    now = outcome(job)
    if inside and (now.result or now.phase == "look"):
        shutil.rmtree(workspace.uploads() / inside[0], ignore_errors=True)


# ---------------------------------------------------------------- what is there


def _contents(project: Project, summary: Summary, job: Run | None) -> None:
    state = unseen(project.id)
    waiting = state in ("at work", "left")
    with st.grid("auto", min_column_width=150, gap="small"):
        st.metric("Pictures", f"{summary.items:,}", border=True)
        st.metric("Classes", f"{len(summary.classes):,}", border=True)
        for key, title in SPLITS.items():
            count = summary.splits.get(key, 0)
            st.metric(title, "–" if waiting and not count else f"{count:,}", border=True, help=_SPLIT_WORDS[key])
    _warnings(project, summary)
    banner(project.id)
    _next(project, summary)
    if not looking_part(project.id, state) and job is not None:
        import_report(job, expanded=st.session_state.pop("_import-just-ended", "") == job.id)
    if chosen_source(project):
        findings(project)
    if summary.classes:
        with st.container(border=True):
            st.markdown("**Pictures of each class**" if _whole(project) else "**Labels of each class**")
            bars(summary.classes, coloured=not _whole(project))
    _wall(project, summary, waiting)
    splitting_part(project)
    versions_part(project)
    export_button(project)
    if not chosen_source(project):
        with st.expander("Add more pictures", icon=":material/add_photo_alternate:", key="add-more"):
            bring(project, first=False)


_SPLIT_WORDS = {
    "train": "The model learns from these.",
    "val": "Watched while training, to keep the best moment.",
    "test": "Never seen in training: the honest final score.",
}


def _warnings(project: Project, summary: Summary) -> None:
    """Say what would keep training from going well."""
    if _several(project) and not any(summary.classes.values()):
        st.info("Nothing is tagged yet. Tag some pictures, or import a data set that brings classes.", icon=":material/label:")
        return
    if not _whole(project):
        if not any(summary.classes.values()):
            st.info("Nothing is drawn yet. Draw some labels, or import a data set that brings them.", icon=":material/draw:")
        return
    small = [name for name, count in summary.classes.items() if count < 3]
    if len(summary.classes) < 2 and not _several(project):
        st.warning("Telling apart takes at least two classes. Add pictures of another class, or sort some.", icon=":material/info:")
    elif small:
        names = ", ".join(plain(name, 40) for name in small[:5])
        st.warning(f"Fewer than 3 pictures in: {names}. A class needs 3 at least, and 20 or more to be learned well.", icon=":material/info:")
    elif max(summary.classes.values()) > 10 * min(summary.classes.values()):
        st.info("Some classes have more than ten times the pictures of others. On Train, Class balance makes up for that.", icon=":material/balance:")


def _next(project: Project, summary: Summary) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        enough = len(summary.classes) > (1 if marks.one_each(project.task) else 0) and summary.labelled > 5
        if st.button("Next: train", type="primary", icon=":material/arrow_forward:", key="next", disabled=not enough):
            st.switch_page("train.py")
        verb = "Tag" if _several(project) else "Sort" if _whole(project) else "Label"
        if summary.unlabelled and st.button(f"{verb} {amount(summary.unlabelled, 'picture')}", icon=":material/category:", key="to-sort"):
            st.switch_page("label.py")


def _wall(project: Project, summary: Summary, waiting: bool) -> None:
    """Show the pictures, by class and split, a page at a time; a click opens one."""
    none = _several(project) and items.count_items(project.id, nothing=True) > 0
    choices = ["", *summary.classes, *(["\2"] if none else []), *(["\0"] if summary.unlabelled else []), *(["\1"] if summary.excluded else [])]
    bare = "Not tagged yet" if _several(project) else "Without a class" if _whole(project) else "Without labels"
    special = {"": "All classes", "\0": bare, "\1": "Set aside", "\2": "None of these"}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Class", choices, format_func=lambda one: special.get(one, one), key=f"wall-class-{project.id}", width=260)
        split = st.segmented_control("Used for", list(SPLITS), format_func=SPLITS.__getitem__, key=f"wall-split-{project.id}")
    label, unlabelled, excluded, nothing = (None if name in special else name), name == "\0", name == "\1", name == "\2"
    found = items.count_items(project.id, label=label, split=split, unlabelled=unlabelled, nothing=nothing, excluded=excluded)
    if not found:
        st.caption("No picture is like that.")
        return
    pages = -(-found // PAGE)
    key = f"wall-page-{project.id}-{name}-{split}"
    number = min(int(st.session_state.get(key, 1)), pages)
    if marks.one_each(project.task) and name == "" and 1 < len(summary.classes) <= MOST_MIXED:
        pages, shown = _mixed(project, summary, split, key)
    else:
        start = (number - 1) * PAGE
        shown = items.list_items(project.id, label=label, split=split, unlabelled=unlabelled, nothing=nothing, excluded=excluded, offset=start, limit=PAGE)
    drawn = {} if _whole(project) else marks.of_items((item.id for item in shown), proposals=False)
    picked = picture_wall([_tile(project, item, drawn.get(item.id), list(summary.classes), waiting) for item in shown], key=f"wall-{project.id}")
    if pages > 1:
        with st.container(horizontal_alignment="center"):
            st.pagination(pages, key=key)
    if picked is not None:
        show_item(picked)


def _mixed(project: Project, summary: Summary, split: str | None, key: str) -> tuple[int, list[Item]]:
    """Return how many pages there are, and a page with a few pictures of every class: all of one class first would tell little."""
    each = max(1, PAGE // len(summary.classes))
    largest = max(items.count_items(project.id, label=name, split=split) for name in summary.classes)
    rest = items.count_items(project.id, unlabelled=True, split=split)
    pages = max(1, -(-max(largest, rest) // each))
    offset = (min(int(st.session_state.get(key, 1)), pages) - 1) * each
    shown = [item for name in summary.classes for item in items.list_items(project.id, label=name, split=split, offset=offset, limit=each)]
    return pages, shown + items.list_items(project.id, unlabelled=True, split=split, offset=offset, limit=each)


def _tile(project: Project, item: Item, drawn: Sequence[marks.Mark] | None, classes: list[str], waiting: bool) -> Tile:
    words = "\n".join(filter(None, (SPLITS.get(item.split or "", "Not divided yet" if waiting else ""), short_name(item.name))))
    if _several(project):
        return Tile(item.id, ", ".join(item.labels) or ("None of these" if item.reviewed else "Not tagged yet"), words)
    if drawn is None:
        return Tile(item.id, item.label or "No class yet", words)
    title = amount(len(drawn), "label") if drawn else "Nothing in it" if item.reviewed else "Not labelled yet"
    listed = [(mark.label, mark.kind, mark.geometry or {}) for mark in drawn]
    return Tile(item.id, title, words, shapes=overlay(listed, (item.width, item.height), classes))


def _whole(project: Project) -> bool:
    """Tell whether the project's pictures have classes as a whole, rather than labels drawn in them."""
    return "class" in marks.TASK_KINDS[project.task]


def _several(project: Project) -> bool:
    """Tell whether a picture as a whole can have several classes, or none."""
    return project.task == marks.TAGGING


@st.dialog("Picture", width="medium", icon=":material/image:")
def show_item(item_id: int) -> None:
    """Show one picture large, and let its class be corrected."""
    with ui.guard():
        item = items.get_item(item_id)
        project = projects.get(item.project_id)
        if _whole(project):
            picture(image_url(item.id, 768, item.sha256), (item.width, item.height), alt=item.name, height_px=380)
        else:
            names = items.classes(item.project_id)
            drawn = [(mark.label, mark.kind, mark.geometry or {}) for mark in marks.of_items([item.id], proposals=False)[item.id]]
            large_picture(image_url(item.id, 768, item.sha256), overlay(drawn, (item.width, item.height), names), key=f"large-{item.id}")
            if drawn:
                st.markdown(", ".join(f"{count:,} {plain(name, 40)}" for name, count in Counter(name for name, _, _ in drawn).most_common()))
        st.caption(plain(f"{item.name} · {item.width} × {item.height} pixels" + (f" · used for {SPLITS[item.split].lower()}" if item.split in SPLITS else "")))
        tagged = _classes_of(item) if _several(project) else None
        chosen = _class_of(item) if _whole(project) and not _several(project) else None
        with st.container(horizontal=True):
            same = tagged is None or (sorted(tagged) == list(item.labels) and (item.reviewed or bool(item.labels)))
            if tagged is not None and st.button("Save" if tagged else "Save as none of these", type="primary", key="save-classes", disabled=same):
                items.set_labels(item.id, tagged, item.revision)
                st.rerun()
            if marks.one_each(project.task) and st.button("Save", type="primary", key="save-class", disabled=not chosen or chosen == item.label):
                items.set_label(item.id, chosen, item.revision)
                st.rerun()
            words = ("Take back in", ":material/undo:") if item.excluded else ("Set aside", ":material/visibility_off:")
            if st.button(words[0], icon=words[1], key="exclude", help="A picture set aside stays in the project but no run uses it."):
                items.exclude(item.id, not item.excluded)
                st.rerun()


def _class_of(item: Item) -> str | None:
    names = items.classes(item.project_id)
    place = names.index(item.label) if item.label in names else None
    return st.selectbox("Class", names, index=place, key=f"class-of-{item.id}", accept_new_options=True)


def _classes_of(item: Item) -> list[str]:
    names = items.classes(item.project_id)
    return list(st.multiselect("What it shows", names, default=list(item.labels), key=f"classes-of-{item.id}", accept_new_options=True))


main()
