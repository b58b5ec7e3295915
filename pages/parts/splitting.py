"""How a project's pictures are divided between training, validation and test: the form, what it would change, and doing it."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from pydantic.fields import FieldInfo

from engine.data import splits
from engine.data.grouping import WAYS
from engine.data.marks import TAGGING
from engine.data.projects import Project
from engine.errors import StudioError
from pages.parts import state as ui
from pages.parts.looking_through import unseen
from pages.parts.text import plain
from pages.parts.wording import amount

__all__ = ["splitting_part"]

_TITLES = {"train": "Training", "val": "Validation", "test": "Test", "": "no place yet"}


def splitting_part(project: Project) -> None:
    """Offer the settings, folded away."""
    with st.expander("How the pictures are divided", icon=":material/call_split:", key=f"splitting-{project.id}", on_change="rerun") as box:
        if box.open:
            with ui.guard():
                _settings(project)


def _settings(project: Project) -> None:
    if unseen(project.id) in ("at work", "left"):
        st.caption("Pictures that look nearly the same go to one place, so they are divided once all have been looked through.")
        return
    now = splits.settings_of(project.id)
    wanted = _form(project, now)
    try:
        seen = splits.preview(project.id, wanted)
    except StudioError as error:
        ui.show_error(error)
        return
    _groups(wanted, seen)
    for problem in seen.problems:
        st.markdown(f":material/info: {plain(problem[:1].upper() + problem[1:], 300)}.")
    if seen.given:
        st.markdown(f":material/lock: {amount(seen.given, 'picture')} came with their own place and keep it.")
    _table(seen, "none of these" if project.task == TAGGING else "nothing drawn")
    moving = sum(count for (before, _), count in seen.moves.items() if before)
    if not moving and wanted == now:
        st.caption("This is how they are divided. Pictures that you add later are divided the same way, and none that has its place is moved.")
        return
    _moves(seen, moving)
    if st.button("Divide them like this", key="apply-split", icon=":material/call_split:"):
        splits.apply(project.id, wanted)
        st.rerun()


def _field(name: str) -> FieldInfo:
    return splits.Settings.model_fields[name]


def _form(project: Project, now: splits.Settings) -> splits.Settings:
    """Ask for the settings; titles, bounds and help are the model's own."""
    shares = {}
    with st.container(horizontal=True):
        for name in ("val", "test"):
            kept = round(100 * float(getattr(now, name)))
            shares[name] = st.slider(f"{_field(name).title}, %", 0, 60, kept, help=_field(name).description, key=f"split-{name}-{project.id}", width=260) / 100
        title, words = _field("seed").title or "", _field("seed").description
        seed = int(st.number_input(title, 0, 2**31 - 1, now.seed, help=words, key=f"split-seed-{project.id}", width=160))
    ways = list(WAYS)
    group = st.selectbox(
        _field("group").title or "",
        ways,
        index=ways.index(now.group),
        format_func=WAYS.__getitem__,
        help=_field("group").description,
        key=f"split-group-{project.id}",
    )
    pattern = now.pattern
    if group == "name":
        pattern = st.text_input(
            _field("pattern").title or "", value=now.pattern or "{group}_*", help=_field("pattern").description, key=f"split-pattern-{project.id}"
        )
    return splits.Settings(val=shares["val"], test=shares["test"], seed=seed, group=group, pattern=pattern if group == "name" else "")


def _groups(wanted: splits.Settings, seen: splits.Preview) -> None:
    """Show the groups as they would be, while the pattern is typed."""
    if wanted.group == "none" or not seen.examples:
        return
    named = ", ".join(f"**{plain(name, 40)}** ({count:,})" for name, count in seen.examples.items())
    st.markdown(f":material/groups: {amount(seen.groups, 'group')} of several pictures, the largest with {seen.largest:,}. For example: {named}")


def _table(seen: splits.Preview, nothing: str) -> None:
    rows = [{"Class": name or nothing, **{_TITLES[key]: counts.get(key, 0) for key in splits.NAMES}} for name, counts in seen.by_class.items()]
    if len(rows) > 1:
        rows.append({"Class": "All pictures", **{_TITLES[key]: seen.splits.get(key, 0) for key in splits.NAMES}})
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=min(300, 38 + 35 * len(rows)))


def _moves(seen: splits.Preview, moving: int) -> None:
    """Say what would change."""
    if not moving:
        st.markdown("No picture moves.")
        return
    listed = ", ".join(
        f"{count:,} from {_TITLES[before].lower()} to {_TITLES[after].lower()}" for (before, after), count in sorted(seen.moves.items()) if before
    )
    words = "Runs made so far keep the version they were trained on; scores on other test pictures cannot be compared with theirs."
    st.warning(f"{amount(moving, 'picture')} would move: {listed}. {words}", icon=":material/swap_horiz:")
