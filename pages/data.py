"""Data: bring pictures, see what was found before anything is saved, then see them counted, drawn and checked."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import streamlit as st

from engine import workspace
from engine.data import importing, items, projects
from engine.data.items import Item
from engine.data.projects import Project, Summary
from engine.errors import StudioError
from engine.runs import Run
from pages.parts import state as ui
from pages.parts.checkup import banner
from pages.parts.drop_zone import drop_zone
from pages.parts.folder_picker import folder_field
from pages.parts.imports import import_progress, import_report, newest_import, skipped_list, start_import
from pages.parts.jobs import outcome
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.pictures import image_url, picture
from pages.parts.splitting import splitting_part
from pages.parts.text import plain, quoted
from pages.parts.versions import versions_part
from pages.parts.wording import amount
from pages.routes import upload_path

PAGE = 36
MOST_MIXED = 12
KINDS = {
    "class folders": "One folder a class",
    "split folders": "Folders for training and testing, with one folder a class in them",
    "csv": "A table that says which picture has which class",
    "flat": "Pictures without classes: you sort them after the import",
}
SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}


def main() -> None:
    ui.stepper("Data")
    project = ui.current_project()
    if project is None:
        return ui.no_project("Data")
    summary = projects.summary(project.id)
    st.title("Data")
    st.caption(f"The pictures of **{plain(project.name)}**")
    job = newest_import(project.id)
    active = job is not None and outcome(job).active
    if job is not None and active:
        _watch(job)
    elif not summary.items:
        if job is not None:
            import_report(job, expanded=True)
        _bring(project, first=True)
    else:
        _contents(project, summary, job)
    path = st.session_state.get(_slot(project), {}).get("path", "PATH")
    ui.shell_command(f"python -m engine import {path if path == 'PATH' else quoted(path)} --project {quoted(project.name)}")
    return None


def _watch(job: Run) -> None:
    """Follow an import; one full rerun when it is over."""

    def tick() -> None:
        with ui.guard():
            if not import_progress(job):
                st.session_state["_import-just-ended"] = job.id
                _clear_upload(job)
                st.rerun()

    st.fragment(tick, run_every=0.5)()


def _clear_upload(job: Run) -> None:
    """Remove the uploaded copy once its pictures are in the project."""
    path = Path(workspace.read_json(job.path("request.json")).get("path", ""))
    inside = path.relative_to(workspace.uploads()).parts if path.is_relative_to(workspace.uploads()) else ()
    if inside and outcome(job).result:
        shutil.rmtree(workspace.uploads() / inside[0], ignore_errors=True)


# ---------------------------------------------------------------- bringing pictures


def _slot(project: Project) -> str:
    return f"_source-{project.id}"


def _bring(project: Project, *, first: bool) -> None:
    """Offer the ways in; once a source is chosen, show what is in it instead."""
    if st.session_state.get(_slot(project)):
        return _findings(project)
    if first:
        st.markdown("Bring pictures, a folder a class if you have them sorted: `cat/1.jpg`, `dog/7.jpg`. Unsorted ones are fine too.")
    arrived = drop_zone(
        key=f"drop-{project.id}",
        purpose="pictures",
        title="Drop a zip, a folder or pictures here",
        words="They are copied to this computer's workspace and go nowhere else.",
        accept=[".zip", ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"],
        many=True,
        button="Choose files",
    )
    if arrived is not None:
        _look(project, upload_path(arrived.upload), arrived.name, uploaded=True)
    with st.container(border=True):
        st.markdown("**Or use a folder where it is**")
        st.caption("Nothing is copied: Graft reads the pictures in place. Right for large collections.")
        path = folder_field(f"folder-{project.id}")
        if st.button("Look inside", key="look", icon=":material/search:", disabled=not path):
            _look(project, _expanded(path), path, uploaded=False)
    if first:
        ui.link("Projects", label="Or open a sample project to see how it works", icon=":material/science:")
    return None


def _expanded(path: str) -> Path:
    """Return the path with ~ replaced by the home folder, where there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _look(project: Project, path: Path, name: str, *, uploaded: bool) -> None:
    """Look into a source and keep what was found for this session; a fault is shown and nothing kept."""
    try:
        if not path.is_absolute():
            raise StudioError(f"'{name}' is not a whole path", "Give it from the root, such as /home/me/pictures.")
        with st.spinner("Looking at what is there…"):
            found = importing.inspect(path)
    except StudioError as error:
        ui.show_error(error)
        return
    st.session_state[_slot(project)] = {"path": str(path), "name": name, "uploaded": uploaded, "findings": found}
    st.rerun()


def _forget(project: Project) -> None:
    st.session_state.pop(_slot(project), None)


def _findings(project: Project) -> None:
    """Say what a source holds, before anything is saved."""
    source = st.session_state[_slot(project)]
    found: importing.Findings = source["findings"]
    with st.container(border=True, key="findings"):
        st.markdown(f"#### :material/search: {plain(source['name'])}")
        st.markdown(f"{KINDS.get(found.kind, found.kind)}.")
        with st.grid("auto", min_column_width=140, gap="small"):
            st.metric("Pictures", f"{found.pictures:,}")
            st.metric("Classes", f"{len(found.classes):,}")
            if found.unlabelled:
                st.metric("Without a class", f"{found.unlabelled:,}")
            if found.skipped:
                st.metric("Left out", f"{len(found.skipped):,}")
        if found.counts:
            _bars(found.counts)
        if found.splits:
            st.markdown("Comes with its own split: " + ", ".join(f"{SPLITS.get(name, name).lower()} {count:,}" for name, count in found.splits.items()) + ".")
        for problem in found.problems:
            st.markdown(f":material/info: {plain(problem[:1].upper() + problem[1:], 400)}.")
        if found.skipped:
            with st.expander(f"What will be left out ({len(found.skipped):,})"):
                skipped_list([dataclasses.asdict(row) for row in found.skipped])
        in_place = False
        if found.in_place and not source["uploaded"]:
            in_place = st.toggle(
                "Leave the pictures where they are", value=True, key="in-place", help="Off: they are copied into the workspace, safe from later changes."
            )
        with st.container(horizontal=True):
            if st.button(f"Import {amount(found.pictures, 'picture')}", type="primary", key="import", icon=":material/download:"):
                start_import(project.id, source["path"], in_place)
                _forget(project)
                st.rerun()
            st.button("Choose something else", key="forget", type="tertiary", on_click=_forget, args=(project,))


# ---------------------------------------------------------------- what is there


def _contents(project: Project, summary: Summary, job: Run | None) -> None:
    with st.grid("auto", min_column_width=150, gap="small"):
        st.metric("Pictures", f"{summary.items:,}", border=True)
        st.metric("Classes", f"{len(summary.classes):,}", border=True)
        for key, title in SPLITS.items():
            st.metric(title, f"{summary.splits.get(key, 0):,}", border=True, help=_SPLIT_WORDS[key])
    _warnings(summary)
    banner(project.id)
    _next(summary)
    if job is not None:
        import_report(job, expanded=st.session_state.pop("_import-just-ended", "") == job.id)
    if st.session_state.get(_slot(project)):
        _findings(project)
    if summary.classes:
        with st.container(border=True):
            st.markdown("**Pictures of each class**")
            _bars(summary.classes)
    _wall(project, summary)
    splitting_part(project)
    versions_part(project)
    if not st.session_state.get(_slot(project)):
        with st.expander("Add more pictures", icon=":material/add_photo_alternate:", key="add-more"):
            _bring(project, first=False)


_SPLIT_WORDS = {
    "train": "The model learns from these.",
    "val": "Watched while training, to keep the best moment.",
    "test": "Never seen in training: the honest final score.",
}


def _warnings(summary: Summary) -> None:
    """Say what would keep training from going well."""
    small = [name for name, count in summary.classes.items() if count < 3]
    if len(summary.classes) < 2:
        st.warning("Telling apart takes at least two classes. Add pictures of another class, or sort some.", icon=":material/info:")
    elif small:
        names = ", ".join(plain(name, 40) for name in small[:5])
        st.warning(f"Fewer than 3 pictures in: {names}. A class needs 3 at least, and 20 or more to be learned well.", icon=":material/info:")
    elif max(summary.classes.values()) > 10 * min(summary.classes.values()):
        st.info("Some classes have more than ten times the pictures of others. On Train, Class balance makes up for that.", icon=":material/balance:")


def _next(summary: Summary) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        enough = len(summary.classes) > 1 and summary.labelled > 5
        if st.button("Next: train", type="primary", icon=":material/arrow_forward:", key="next", disabled=not enough):
            st.switch_page("train.py")
        if summary.unlabelled and st.button(f"Sort {amount(summary.unlabelled, 'picture')}", icon=":material/category:", key="to-sort"):
            st.switch_page("label.py")


def _bars(counts: dict[str, int]) -> None:
    """Draw how many pictures each class has; many classes as a table that can be sorted and searched."""
    rows = pd.DataFrame({"Class": list(counts), "Pictures": list(counts.values())})
    if len(rows) <= 20:
        st.bar_chart(rows, x="Class", y="Pictures", horizontal=True, height=42 + 24 * len(rows), y_label="", x_label="", sort=False)
    else:
        bar = st.column_config.ProgressColumn("Pictures", format="%d", min_value=0, max_value=int(rows["Pictures"].max()))
        st.dataframe(rows.sort_values("Pictures"), hide_index=True, height=320, column_config={"Pictures": bar})


def _wall(project: Project, summary: Summary) -> None:
    """Show the pictures, by class and split, a page at a time; a click opens one."""
    choices = ["", *summary.classes, *(["\0"] if summary.unlabelled else []), *(["\1"] if summary.excluded else [])]
    special = {"": "All classes", "\0": "Without a class", "\1": "Set aside"}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Class", choices, format_func=lambda one: special.get(one, one), key=f"wall-class-{project.id}", width=260)
        split = st.segmented_control("Used for", list(SPLITS), format_func=SPLITS.__getitem__, key=f"wall-split-{project.id}")
    label, unlabelled, excluded = (None if name in special else name), name == "\0", name == "\1"
    found = items.count_items(project.id, label=label, split=split, unlabelled=unlabelled, excluded=excluded)
    if not found:
        st.caption("No picture is like that.")
        return
    pages = -(-found // PAGE)
    key = f"wall-page-{project.id}-{name}-{split}"
    number = min(int(st.session_state.get(key, 1)), pages)
    if name == "" and 1 < len(summary.classes) <= MOST_MIXED:
        pages, shown = _mixed(project, summary, split, key)
    else:
        shown = items.list_items(project.id, label=label, split=split, unlabelled=unlabelled, excluded=excluded, offset=(number - 1) * PAGE, limit=PAGE)
    picked = picture_wall([_tile(item) for item in shown], key=f"wall-{project.id}")
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


def _tile(item: Item) -> Tile:
    return Tile(item.id, item.label or "Without a class", f"{SPLITS[item.split]} · {item.name}" if item.split in SPLITS else item.name)


@st.dialog("Picture", width="medium", icon=":material/image:")
def show_item(item_id: int) -> None:
    """Show one picture large, and let its class be corrected."""
    with ui.guard():
        item = items.get_item(item_id)
        picture(image_url(item.id, 768, item.sha256), alt=item.name, height_px=380, fit="contain")
        st.caption(plain(f"{item.name} · {item.width} × {item.height} pixels" + (f" · used for {SPLITS[item.split].lower()}" if item.split in SPLITS else "")))
        names = items.classes(item.project_id)
        chosen = st.selectbox(
            "Class", names, index=names.index(item.label) if item.label in names else None, key=f"class-of-{item.id}", accept_new_options=True
        )
        with st.container(horizontal=True):
            if st.button("Save", type="primary", key="save-class", disabled=not chosen or chosen == item.label):
                items.set_label(item.id, chosen, item.revision)
                st.rerun()
            words = ("Take back in", ":material/undo:") if item.excluded else ("Set aside", ":material/visibility_off:")
            if st.button(words[0], icon=words[1], key="exclude", help="A picture set aside stays in the project but no run uses it."):
                items.exclude(item.id, not item.excluded)
                st.rerun()


main()
