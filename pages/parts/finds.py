"""The list of findings: a traffic light each; opened, its pictures with the fixes as buttons, a page at a time, and the fix for all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from engine.data import shapes
from engine.data.check import fixes
from engine.data.check.findings import Case, Finding, Fix, mark_key
from engine.data.check.said import words_of
from engine.data.check.standing import Standing
from engine.data.items import Item
from engine.data.marks import Mark
from engine.data.projects import Project
from pages.parts import state as ui
from pages.parts.case_wall import Card, Choice, Press, View, case_wall
from pages.parts.checkup import LIGHTS, mend
from pages.parts.pictures import image_url
from pages.parts.text import plain, short_name
from pages.parts.wording import amount

__all__ = ["show_finds"]

_PAGE = 12
_MOST_VIEWS = 6
_SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}

_ONE: dict[Fix, str] = {
    "exclude": "Set aside",
    "keep-one": "Keep one",
    "together": "All to training",
    "relabel": "Change label",
    "delete-marks": "Remove it",
    "dismiss": "This is fine",
}
_ALL: dict[Fix, str] = {
    "exclude": "Set all {n} aside",
    "keep-one": "Keep one of each ({n})",
    "together": "Move all {n} to training",
    "relabel": "Change all {n} labels",
    "delete-marks": "Remove all {n}",
    "dismiss": "All {n} are fine",
}
_HELP: dict[Fix, str] = {
    "exclude": "Pictures set aside stay in the project, but no run uses them.",
    "keep-one": "The labelled and largest one stays; its copies are set aside.",
    "together": "Then none of them judges the model that learned from the others.",
    "relabel": "To what is suggested on each card.",
    "delete-marks": "The drawn label goes; the picture stays.",
    "dismiss": "They are never shown again.",
}
_PAIRS = ("double-boxes", "clashing-boxes")
_PAIRS_HELP = "Of two labels on one place the one drawn first stays and the later one goes; the pictures stay."


def show_finds(project: Project, now: Standing) -> None:
    """Show all findings, those that need the user first; what is fine is folded together."""
    order = {"red": 0, "amber": 1}
    wrong = sorted((one for one in now.findings if one.severity != "green"), key=lambda one: order[one.severity])
    for place, finding in enumerate(wrong):
        _finding(project, now, finding, opened=place == 0)
    fine = [one for one in now.findings if one.severity == "green"]
    if fine:
        with st.expander(f"{amount(len(fine), 'check')} passed", icon=":material/check_circle:", key="check-passed", expanded=not wrong):
            for one in fine:
                st.markdown(f"{LIGHTS['green']} **{one.check.title}.** {one.note or one.words}")


def _finding(project: Project, now: Standing, finding: Finding, *, opened: bool) -> None:
    words = f"{LIGHTS[finding.severity]} **{finding.check.title}:** {finding.words}"
    drawer = st.expander(words, expanded=opened, key=f"find-{finding.key}", on_change="rerun")
    if not drawer.open:
        return None
    with drawer, ui.guard():
        if finding.note:
            st.caption(finding.note)
        if finding.check.of == "class":
            return _classes(finding)
        _for_all(project, now, finding)
        pages = -(-len(finding.cases) // _PAGE)
        key = f"find-page-{finding.key}"
        number = min(int(st.session_state.get(key, 1)), pages)
        cases = finding.cases[(number - 1) * _PAGE : number * _PAGE]
        by_subject = {case.subject: case for case in cases}

        def press(said: Press) -> None:
            case = by_subject.get(said.subject)
            if case is not None and said.fix in finding.check.fixes:
                mend(project.id, now, finding, said.fix, [case], said.label)  # type: ignore[arg-type]

        case_wall([_card(now, finding, case) for case in cases], key=f"cases-{finding.key}", on_press=press)
        if pages > 1:
            with st.container(horizontal_alignment="center"):
                st.pagination(pages, key=key)
        if finding.more:
            st.caption(f"{finding.more:,} more come up after the next check.")
    return None


def _classes(finding: Finding) -> None:
    for case in finding.cases[:30]:
        st.markdown(f"- **{plain(case.seen or '', 60)}**: {case.words}")
    if finding.count > 30:
        st.caption(f"And {finding.count - 30:,} more.")
    ui.link("Data", label="Add pictures", icon=":material/add_photo_alternate:")


def _for_all(project: Project, now: Standing, finding: Finding) -> None:
    """Offer each fix for all cases at once; one that changes something asks first."""
    if len(finding.cases) < 2:
        return
    with st.container(horizontal=True):
        for fix in finding.check.fixes:
            if fix == "relabel" and any(case.suggested is None for case in finding.cases):
                continue  # which class is right is for each case to say
            pairs = fix == "delete-marks" and finding.key in _PAIRS
            words = (_ALL["keep-one"] if pairs else _ALL[fix]).format(n=f"{len(finding.cases):,}")
            help_ = _PAIRS_HELP if pairs else _HELP[fix]
            with st.popover(words, help=help_, key=f"all-{finding.key}-{fix}"):
                st.markdown(f"{help_} Undo takes it back.")
                st.button(words, key=f"do-{finding.key}-{fix}", on_click=mend, args=(project.id, now, finding, fix, finding.cases), icon=":material/done_all:")


# ---------------------------------------------------------------- cards


def _card(now: Standing, finding: Finding, case: Case) -> Card:
    those = [now.items[one] for one in case.items if one in now.items]
    views = tuple(_view(now, case, item, mark=finding.check.of == "mark") for item in those[:_MOST_VIEWS])
    return Card(
        case.subject, views, _words(case, len(those), several=now.several and finding.check.of == "picture"), tuple(_choices(now, finding, case, those))
    )


def _words(case: Case, count: int, *, several: bool) -> str:
    if case.suggested is not None and several:
        return f"Tagged {words_of(case.seen or '', several=True)}. {case.words[:1].upper() + case.words[1:]}."
    if case.suggested is not None:
        return f"Labelled {case.seen}. Looks like {case.suggested} ({case.words})."
    more = f"{count:,} pictures, {_MOST_VIEWS} of them shown." if count > _MOST_VIEWS else ""
    return " ".join(part for part in (case.words[:1].upper() + case.words[1:], more) if part)


def _view(now: Standing, case: Case, item: Item, *, mark: bool) -> View:
    boxes = tuple(_box(one, case) for one in now.marks.get(item.id, ()) if one.geometry) if mark else ()
    said = now.said_of(item)
    title = words_of(said, several=now.several) if said else "" if mark or now.marks.get(item.id) else "Not labelled"
    words = " · ".join(filter(None, (_SPLITS.get(item.split or ""), short_name(item.name, 24))))
    return View(image_url(item.id, 384, item.sha256), item.width, item.height, title, words, boxes)


def _box(mark: Mark, case: Case) -> tuple[float, float, float, float, str, bool]:
    x1, y1, x2, y2 = shapes.bounds(mark.kind, mark.geometry or {})
    return x1, y1, x2, y2, mark.label, mark_key(mark) in case.marks


def _choices(now: Standing, finding: Finding, case: Case, those: Sequence[Item]) -> list[Choice]:
    """Return the buttons of a card, the usual one first."""
    found: list[Choice] = []
    for fix in finding.check.fixes:
        if fix == "relabel" and case.suggested is not None:
            name = words_of(case.suggested, several=now.several and finding.check.of == "picture")
            found.append(Choice(fix, f"Change to {name}", case.suggested))
        elif fix == "relabel":
            names = Counter(said for item in those if (said := now.said_of(item)))
            found += [Choice(fix, f"All are {words_of(name, several=now.several)}", name) for name, _ in names.most_common(4)]
        elif fix == "delete-marks" and finding.key == "clashing-boxes":
            labels = sorted({mark.label for mark in now.marks.get(those[0].id, ()) if mark_key(mark) in case.marks})
            found += [Choice(fix, f"Keep {name}", name) for name in labels]
        elif fix == "keep-one":
            best = fixes.kept(those)
            said = now.said_of(best)
            name = words_of(said, several=now.several) if said else "one"
            found.append(Choice(fix, f"Keep {name}, set aside {len(those) - 1}" if finding.key == "contradictions" else _ONE[fix]))
        elif fix == "delete-marks" and finding.key == "double-boxes":
            found.append(Choice(fix, "Remove one"))
        else:
            found.append(Choice(fix, _ONE[fix]))
    return [Choice(one.fix, one.words, one.label, main=place == 0) for place, one in enumerate(found)]
