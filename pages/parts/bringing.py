"""The ways into a project: drop or choose a source, see what it holds with its labels drawn, rename or leave out classes, import."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from engine.data import importing
from engine.data.marks import TAGGING
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts import state as ui
from pages.parts.class_bars import bars
from pages.parts.drop_zone import drop_zone
from pages.parts.folder_picker import folder_field
from pages.parts.imports import skipped_list, start_import
from pages.parts.overlay import overlay
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.text import plain, short_name
from pages.parts.wording import amount
from pages.routes import upload_path

__all__ = ["bring", "chosen_source", "findings"]

SAMPLES = 12
MOST_FIELDS = 40
_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_KINDS = {"class": "classes of whole pictures", "box": "boxes", "polygon": "outlines", "mask": "masks", "point": "points"}
_TASKS = {
    "image-classification": "to sort whole pictures into classes",
    "multi-label-classification": "to say which things whole pictures show, several or none",
    "object-detection": "to find things and box them",
    "semantic-segmentation": "to say of every pixel what it is",
    "instance-segmentation": "to find things and outline each one",
}
_ACCEPT = [".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".txz", ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"]


def _slot(project: Project) -> str:
    return f"_source-{project.id}"


def chosen_source(project: Project) -> dict[str, Any] | None:
    """Return what this session is about to import: its path, name, whether it was uploaded, and the findings."""
    return st.session_state.get(_slot(project))


def bring(project: Project, *, first: bool) -> None:
    """Offer the ways in; once a source is chosen, show what is in it instead."""
    if chosen_source(project):
        return findings(project)
    if first:
        st.markdown(
            "Bring pictures as you have them: sorted into folders (`cat/1.jpg`, `dog/7.jpg`), unsorted, or with labels from another tool: "
            "COCO, YOLO, Pascal VOC, mask pictures, Label Studio, CVAT, KITTI, or a table."
        )
    arrived = drop_zone(
        key=f"drop-{project.id}",
        purpose="pictures",
        title="Drop a zip, a folder or pictures here",
        words="They are copied to this computer's workspace and go nowhere else.",
        accept=_ACCEPT,
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
            found = importing.inspect(path, project.id, SAMPLES)
    except StudioError as error:
        ui.show_error(error)
        return
    st.session_state[_slot(project)] = {"path": str(path), "name": name, "uploaded": uploaded, "findings": found}
    st.rerun()


def _forget(project: Project) -> None:
    st.session_state.pop(_slot(project), None)


def findings(project: Project) -> None:
    """Say what a source holds, before anything is saved, and import it on a click."""
    source = st.session_state[_slot(project)]
    found: importing.Findings = source["findings"]
    with st.container(border=True, key="findings"):
        st.markdown(f"#### :material/search: {plain(source['name'])}")
        st.markdown(_headline(project, found))
        _figures(found)
        if found.splits:
            places = ", ".join(f"{count:,} for {title}" for name, title in _SPLITS.items() if (count := found.splits.get(name)))
            st.markdown(f"Comes with its own split: {places}.")
        for problem in found.problems[:8]:
            st.markdown(f":material/info: {plain(problem[:1].upper() + problem[1:], 400)}.")
        mapping = _classes(project, found)
        _preview(project, found, mapping)
        if found.skipped:
            with st.expander(f"What will be left out ({len(found.skipped):,})"):
                skipped_list([dataclasses.asdict(row) for row in found.skipped])
        _go(project, source, found, mapping)


def _headline(project: Project, found: importing.Findings) -> str:
    words = f"**{plain(found.title)}**"
    task = TAGGING if project.task == TAGGING and found.kinds == ["class"] else found.task  # one class a picture is what a project for several takes, too
    if found.kinds == ["class"]:
        words += f": made {_TASKS[task]}"
    elif found.kinds:
        words += f", with {' and '.join(_KINDS[kind] for kind in found.kinds)}: made {_TASKS[task]}"
    return words + "."


def _figures(found: importing.Findings) -> None:
    with st.grid("auto", min_column_width=140, gap="small"):
        st.metric("Pictures", f"{found.pictures:,}")
        st.metric("Classes", f"{len(found.classes):,}")
        if found.labels:
            st.metric("Labels", f"{found.labels:,}")
        if found.unlabelled:
            st.metric("Without a class" if found.kinds == ["class"] or not found.kinds else "Without labels", f"{found.unlabelled:,}")
        if found.skipped:
            st.metric("Left out", f"{len(found.skipped):,}")


def _go(project: Project, source: Mapping[str, Any], found: importing.Findings, mapping: dict[str, str | None]) -> None:
    in_place = False
    if found.in_place and not source["uploaded"]:
        in_place = st.toggle(
            "Leave the pictures where they are", value=True, key="in-place", help="Off: they are copied into the workspace, safe from later changes."
        )
    empty = bool(found.classes) and found.kinds == ["class"] and not found.unlabelled and all(mapping.get(name, name) is None for name in found.classes)
    with st.container(horizontal=True):
        if st.button(f"Import {amount(found.pictures, 'picture')}", type="primary", key="import", icon=":material/download:", disabled=empty):
            start_import(project.id, source["path"], in_place, mapping)
            _forget(project)
            st.rerun()
        st.button("Choose something else", key="forget", type="tertiary", on_click=_forget, args=(project,))


# ---------------------------------------------------------------- classes


def _classes(project: Project, found: importing.Findings) -> dict[str, str | None]:
    """Show the classes with their counts, and let them be renamed, merged or left out; return what was changed."""
    if found.counts:
        bars(found.counts, "Labels" if found.labels else "Pictures")
    if not found.classes:
        return {}
    with st.expander("Rename, merge or leave out classes", icon=":material/edit:", key="map-classes"):
        st.caption("Two classes with the same new name become one.")
        edited = _fields(project, found) if len(found.classes) <= MOST_FIELDS else _table(project, found)
    changed = {old: new for old, new in edited.items() if new != old}
    if changed:
        told = [f"{plain(old, 40)} → {plain(new, 40)}" if new is not None else f"{plain(old, 40)} is left out" for old, new in changed.items()]
        st.markdown(f"On import: {', '.join(told[:12])}{'…' if len(told) > 12 else '.'}")
    return changed


def _fields(project: Project, found: importing.Findings) -> dict[str, str | None]:
    """One row a class: whether it comes along, and its name here."""
    edited: dict[str, str | None] = {}
    for number, name in enumerate(found.classes):
        key = f"{project.id}-{found.pictures}-{number}"
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            use = st.checkbox(f"Use {plain(name, 60)}", value=True, key=f"use-{key}", label_visibility="collapsed", width="content")
            new = st.text_input(f"New name of {name}", value=name, key=f"name-{key}", max_chars=100, label_visibility="collapsed", disabled=not use)
            st.caption(f"{found.counts.get(name, 0):,}" if found.counts else "", width=60)
        edited[name] = ((new or "").strip() or name) if use else None
    return edited


def _table(project: Project, found: importing.Findings) -> dict[str, str | None]:
    """Many classes: a table that can be edited."""
    rows = pd.DataFrame(
        {"Use": [True] * len(found.classes), "Class": found.classes, "Name here": found.classes, "Count": [found.counts.get(name, 0) for name in found.classes]}
    )
    columns = {"Use": st.column_config.CheckboxColumn(width="small")}
    key = f"classes-{project.id}-{found.pictures}"
    edited = st.data_editor(rows, key=key, hide_index=True, height=360, disabled=["Class", "Count"], column_config=columns)
    return {str(row["Class"]): (str(row["Name here"] or "").strip() or str(row["Class"])) if row["Use"] else None for row in edited.to_dict("records")}


# ---------------------------------------------------------------- samples


def _preview(project: Project, found: importing.Findings, mapping: Mapping[str, str | None]) -> None:
    """Show some of the pictures as they would come in: labels drawn, renamed, without what is left out."""
    classes = sorted({new for name in found.classes if (new := mapping.get(name, name)) is not None})
    tiles = []
    for number, sample in enumerate(found.samples):
        marks = [(new, kind, geometry) for old, kind, geometry in sample.marks if (new := mapping.get(old, old)) is not None]
        labels = [new for old in sample.labels if (new := mapping.get(old, old)) is not None]
        if sample.labels and not labels and TAGGING not in (found.task, project.task):
            continue
        names = sorted({name for name, _, _ in marks})
        title = ", ".join(sorted(set(labels))) or (f"{amount(len(marks), 'label')}" if found.labels or "mask" in found.kinds else "No class yet")
        source = "data:image/jpeg;base64," + base64.b64encode(sample.jpeg).decode()
        words = ", ".join(names[:4]) + ("…" if len(names) > 4 else "") or short_name(sample.name)
        tiles.append(Tile(number, title, words, shapes=overlay(marks, (sample.width, sample.height), classes), source=source))
    if tiles:
        st.markdown("**Some of them, as they will come in**")
        picture_wall(tiles, key=f"samples-{project.id}")
