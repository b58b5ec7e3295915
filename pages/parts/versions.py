"""The versions of a project's data: which runs used which, what changed between two with pictures, a name, the way back."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import runs
from engine.data import changes, items, restoring, versions
from engine.data.changes import Change, Difference
from engine.data.projects import Project
from engine.data.versions import Version
from pages.parts import state as ui
from pages.parts.looking_through import wait_until_seen
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.pictures import image_url, picture
from pages.parts.text import plain, short_name
from pages.parts.wording import amount, moment

__all__ = ["versions_part"]

_NOW = "now"
_PAGE = 24
_LISTED = 50
_KINDS = {
    "added": ("Added", "Pictures that the later version has and the earlier one has not."),
    "removed": ("Removed", "Pictures that were taken out, set aside or lost their label."),
    "relabelled": ("Relabelled", "Pictures whose class or drawn labels are others."),
    "moved": ("Moved", "Pictures that are used for something else now: training, validation or test."),
}
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def versions_part(project: Project) -> None:
    """Offer the versions, folded away; nothing of them is read while they are."""
    with st.expander("Versions: what changed, and when", icon=":material/history:", key=f"versions-{project.id}", on_change="rerun") as box:
        if box.open:
            with ui.guard():
                _versions(project)


@st.cache_data(max_entries=8, show_spinner=False)
def _manifest(project_id: str, version_id: str) -> dict[str, Any]:
    """Read a version; it never changes."""
    return versions.load(project_id, version_id)


def _versions(project: Project) -> None:
    known = versions.list_versions(project.id)
    st.caption("Every run keeps the exact pictures, labels and split that it was trained on: a version. One is made when a run starts, and here.")
    now = versions.now(project.id)
    _save(project, known, now)
    if not known:
        return
    _compare(project, known, now)
    _list(project, known)


def _save(project: Project, known: list[Version], now: dict[str, Any]) -> None:
    """Keep the data as they are now as a version, where they differ from every one there is."""
    same = next((one for one in known if one.id == now["id"]), None)
    if same is not None:
        st.markdown(f":material/check_circle: The data are now as in {_titled(same)}.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", key=f"version-name-{project.id}", placeholder="Optional, such as: before the new photographs", max_chars=100, width=320)
        if st.button("Save as a version", key="save-version", icon=":material/bookmark_add:"):
            wait_until_seen(project.id)
            kept = versions.freeze(project.id)
            versions.name_version(project.id, kept["id"], name)
            st.rerun()


def _titled(version: Version) -> str:
    return f"**{plain(version.name)}**" if version.name else f"version `{version.short}`"


def _compare(project: Project, known: list[Version], now: dict[str, Any]) -> None:
    by_id = {one.id: one for one in known}
    choices = ([_NOW] if now["id"] not in by_id else []) + [one.id for one in known]

    def words(one: str) -> str:
        if one == _NOW:
            return "As it is now"
        return f"{by_id[one].name or by_id[one].short} · {moment(by_id[one].created)} · {amount(by_id[one].pictures, 'picture')}"

    if len(choices) < 2:
        return
    st.markdown("**What changed**")
    with st.container(horizontal=True):
        before = st.selectbox("From", choices, index=1, format_func=words, key=f"version-before-{project.id}-{len(choices)}", width=320)
        after = st.selectbox("To", choices, index=0, format_func=words, key=f"version-after-{project.id}-{len(choices)}", width=320)
    if before == after:
        st.caption("Choose two different ones.")
        return
    told = changes.difference(_manifest(project.id, before) if before != _NOW else now, _manifest(project.id, after) if after != _NOW else now)
    _show(project, told)
    if before != _NOW:
        _restore(project, by_id[before])


def _show(project: Project, told: Difference) -> None:
    """Show how many pictures changed in which way, and those of one way."""
    counts = told.counts()
    with st.grid("auto", min_column_width=120, gap="small", key="version-counts"):
        for kind, (title, help_) in _KINDS.items():
            st.metric(title, f"{counts[kind]:,}", border=True, help=help_)
    st.caption(f"{amount(told.same, 'picture')} did not change.")
    kinds = [kind for kind in _KINDS if counts[kind]]
    if not kinds:
        return
    kind = st.segmented_control(
        "Show", kinds, default=kinds[0], required=True, format_func=lambda one: _KINDS[one][0], key=f"version-kind-{project.id}-{'-'.join(kinds)}"
    )
    rows: list[Change] = getattr(told, kind)
    pages = -(-len(rows) // _PAGE)
    key = f"version-page-{project.id}-{kind}"
    number = min(int(st.session_state.get(key, 1)), pages)
    tiles = [Tile(one.item_id, _words(kind, one), short_name(one.name, 20)) for one in rows[(number - 1) * _PAGE : number * _PAGE]]
    picked = picture_wall(tiles, key=f"version-wall-{project.id}", wide=True)
    if pages > 1:
        with st.container(horizontal_alignment="center"):
            st.pagination(pages, key=key)
    if picked is not None:
        _large(picked, next((_words(kind, one) for one in rows if one.item_id == picked), ""))


def _words(kind: str, one: Change) -> str:
    if kind == "moved":
        return f"{_SPLITS.get(one.before, one.before)} → {_SPLITS.get(one.after, one.after)}"
    return " → ".join(filter(None, (one.before, one.after)))


@st.dialog("Picture", width="medium", icon=":material/image:")
def _large(item_id: int, words: str) -> None:
    with ui.guard():
        item = items.get_item(item_id)
        picture(image_url(item.id, 768, item.sha256), (item.width, item.height), alt=item.name, height_px=380)
        st.caption(plain(f"{words} · {item.name}"))


def _restore(project: Project, version: Version) -> None:
    """Offer the labels of the earlier version. Today's are frozen first, so this can be taken back the same way."""
    if st.button(
        "Go back to these labels",
        key="restore-version",
        icon=":material/undo:",
        help="Every picture gets the label it had in the version under From. How things are now is kept as a version first, so you can come back.",
    ):
        st.session_state[f"_restored-{project.id}"] = restoring.restore_labels(project.id, version.id)
        st.rerun()
    count = st.session_state.pop(f"_restored-{project.id}", None)
    if count is not None:
        st.toast(f"{amount(count, 'picture')} changed back.")


def _list(project: Project, known: list[Version]) -> None:
    """List the versions, newest first, with the runs that used each."""
    used = runs.by_version(project.id)
    st.markdown("**All versions**")
    rows = [
        {
            "Version": one.name or one.short,
            "Made": moment(one.created),
            "Pictures": one.pictures,
            "Used by": ", ".join(run.name for run in used.get(one.id, [])[:6]) or "no run yet",
        }
        for one in known[:_LISTED]
    ]
    st.dataframe(rows, hide_index=True, height=min(320, 38 + 35 * len(rows)))
    if len(known) > _LISTED:
        st.caption(f"The newest {_LISTED} of {len(known)} are listed.")
    with st.popover("Name a version", icon=":material/edit:"):
        by_id = {one.id: one for one in known[:_LISTED]}
        chosen = st.selectbox("Version", list(by_id), format_func=lambda one: f"{by_id[one].name or by_id[one].short} · {moment(by_id[one].created)}")
        name = st.text_input("Its name", value=by_id[chosen].name, key=f"rename-version-{chosen}", max_chars=100)
        if st.button("Save the name", key="rename-version", disabled=name == by_id[chosen].name):
            versions.name_version(project.id, chosen, name)
            st.rerun()
