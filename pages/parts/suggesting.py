"""Help from a model while sorting or tagging: have classes proposed, see how often such proposals are right, agree to the sure ones at once."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import runs
from engine.data import suggestions, tag_suggestions
from engine.data.marks import TAGGING
from engine.data.projects import Project, Summary
from engine.errors import StudioError
from engine.runs import Run
from pages.parts.jobs import newest_job_of, outcome, start_job
from pages.parts.sorting import BARE, add_fault, keep_undo
from pages.parts.state import show_error
from pages.parts.text import plain
from pages.parts.wording import amount, percent

__all__ = ["FEWEST", "help_from_model", "suggesting"]

FEWEST = 20
"""Sorted pictures from which suggestions are offered; `engine.training.probe` asks for as many."""

_SURE = 0.9


def suggesting(project: Project) -> bool:
    """Tell whether suggestions are being made now."""
    job = newest_job_of("suggest", project.id)
    return job is not None and outcome(job).active


def help_from_model(project: Project, summary: Summary) -> None:
    """Offer suggestions once there is something to learn from; show their making; let the sure ones be agreed to."""
    job = newest_job_of("suggest", project.id)
    now = outcome(job) if job is not None else None
    known = [name for name, count in summary.classes.items() if count]
    several = project.task == TAGGING
    if not summary.unlabelled or summary.labelled < FEWEST or len(known) < (1 if several else 2):
        if summary.unlabelled:
            enough = f"{FEWEST} tagged pictures" if several else f"{FEWEST} sorted pictures on, in two classes or more"
            st.caption(f":material/lightbulb: From {enough}{' on' if several else ''}, a model can suggest the classes of the rest.")
        return
    with st.container(border=True, key="suggestions"):
        if job is not None and now is not None and now.active:
            _watch(job, now.words, now.share)
            return
        if now is not None and now.problem and "stopped" not in now.problem:
            show_error(StudioError(now.problem, now.remedy))
        count = (tag_suggestions if several else suggestions).count(project.id)
        if count and now is not None and now.result:
            _bulk(project, summary, now.result)
        else:
            learned = amount(summary.labelled, "tagged picture" if several else "sorted picture")
            st.markdown(f":material/lightbulb: **Let a model suggest the rest.** It learns from your {learned}; nothing leaves this computer.")
            _start(project, "Suggest classes", "suggest")


def _start(project: Project, words: str, key: str) -> None:
    if st.button(words, key=key, icon=":material/auto_awesome:"):
        start_job("suggest", {"project_id": project.id})
        st.rerun()


def _watch(job: Run, words: str, share: float | None) -> None:
    st.progress(share or 0.0, text=f"{words}. Go on sorting meanwhile.")
    if st.button("Stop", key="stop-suggest", icon=":material/stop_circle:"):
        runs.stop(job)


def _bulk(project: Project, summary: Summary, result: dict[str, Any]) -> None:
    """Show the slider: how many suggestions are that sure, and how often such ones were right on pictures that people sorted."""
    fresh = summary.labelled - int(result.get("labelled", 0))
    several = project.task == TAGGING
    most = 95 if several else 99  # of tags, what is less likely than 5 % is not kept
    score = st.slider("Agree to suggestions the model is at least this sure of", 50, most, round(100 * _SURE), format="%d %%", key=f"sure-{project.id}") / 100
    kept = tag_suggestions if several else suggestions
    found = kept.counts(project.id, above=score)
    count = kept.count(project.id, above=score)
    of_each = ", ".join(f"{plain(name, 40)} {number:,}" for name, number in found.items())
    things = "picture" if several else "suggestion"
    sure = f"It is that sure of every class in {amount(count, things)}" if several else f"{amount(count, things)} {'is' if count == 1 else 'are'} that sure"
    st.markdown(f"{_how_right(score, result, several)} {sure}{f': {of_each}' if found else ''}.")
    with st.container(horizontal=True, vertical_alignment="center"):
        words = f"Agree for {amount(count, 'picture')}" if several else f"Agree to {amount(count, 'suggestion')}"
        st.button(
            words, key="agree-bulk", icon=":material/done_all:", disabled=not count, on_click=_agree, args=(project, score), help="Undo takes all of them back."
        )
        _start(project, "Suggest again" if fresh <= 0 else f"Suggest again, from {fresh:,} more", "suggest-again")


def _how_right(score: float, result: dict[str, Any], several: bool) -> str:
    tried, right = next(((int(tried), int(right)) for at, tried, right in result["curve"] if at >= score - 1e-9), (0, 0))
    if not tried:
        if several:
            return "On your own tagged pictures it was never that sure of every class, so how often it is right then is not known."
        return "On your own sorted pictures no suggestion was that sure, so how often such ones are right is not known."
    few = " That is few to judge by." if tried < 20 else ""
    if several:
        words = f"it named all classes of **{right:,} of {tried:,}** such pictures right, and no other ({percent(right / tried)})"
        return f"Tested on pictures you tagged, each hidden in its turn: {words}.{few}"
    return f"Tested on pictures you sorted, each hidden in its turn: **{right:,} of {tried:,}** such suggestions were right ({percent(right / tried)}).{few}"


def _agree(project: Project, score: float) -> None:
    try:
        done = (tag_suggestions if project.task == TAGGING else suggestions).agree_above(project.id, score)
    except StudioError as error:
        add_fault(project, error)
        return
    keep_undo(project, [(item_id, BARE, revision) for item_id, _, revision in done])
    st.session_state["_sorted"] = f"Agreed for {amount(len(done), 'picture')}" if project.task == TAGGING else f"Agreed to {amount(len(done), 'suggestion')}"
