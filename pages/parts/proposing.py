"""Help from the project's own model while drawing: have shapes proposed in what nobody has drawn on, agree to the sure ones at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from engine import proposing, runs
from engine.data import proposals
from engine.data.projects import Project, Summary
from engine.data.proposals import Agreed
from engine.errors import StudioError
from engine.evaluation import boxes, operating
from engine.evaluation.drawn import SEMANTIC, evidence
from engine.evaluation.operating import Sweep
from engine.runs import Run
from pages.parts.jobs import newest_job_of, outcome, start_job
from pages.parts.state import show_error
from pages.parts.text import plain
from pages.parts.wording import amount, percent

__all__ = ["help_with_drawing", "proposing_now", "stamp"]

_LEAST, _MOST = 5, 99
_OVERLAP = 0.5
THINGS = {"object-detection": "boxes", "instance-segmentation": "outlines", "semantic-segmentation": "areas"}


def proposing_now(project: Project) -> bool:
    """Tell whether shapes are being proposed now."""
    job = newest_job_of("propose", project.id)
    return job is not None and outcome(job).active


def stamp(project: Project) -> str:
    """Return what changes whenever proposals came or went elsewhere than on the board, so that the board looks again."""
    job = newest_job_of("propose", project.id)
    ended = job.id if job is not None and not outcome(job).active else ""
    return f"{ended}:{st.session_state.get(_edits(project), 0)}"


def help_with_drawing(project: Project, summary: Summary) -> None:
    """Offer proposals once a model has been trained; show their making; let the sure ones be agreed to."""
    job = newest_job_of("propose", project.id)
    now = outcome(job) if job is not None else None
    if job is not None and now is not None and now.active:
        with st.container(border=True, key="proposals"):
            _watch(job, now.words, now.share)
        return
    found = proposals.count(project.id)
    taken = st.session_state.get(_slot(project))
    run = proposing.latest(project.id) if summary.unlabelled else None
    if not found.shapes and taken is None and run is None:
        if summary.unlabelled:
            st.caption(":material/lightbulb: Draw in some pictures and train once: that model then suggests what is in the rest.")
        return
    title = f"{amount(found.shapes, 'suggestion')} in {amount(found.pictures, 'picture')}" if found.shapes else "Let your model suggest the rest"
    with st.expander(title, icon=":material/lightbulb:", key="proposals"):
        if now is not None and now.problem and "stopped" not in now.problem:
            show_error(StudioError(now.problem, now.remedy))
        result = now.result if now is not None else None
        if result and not result["shapes"] and taken is None:
            st.markdown(_nothing_found(result))
        score = _bulk(project, _asked(job, result), result) if found.shapes else 0.0
        if found.shapes or taken is not None:
            with st.container(horizontal=True, vertical_alignment="center"):
                _answers(project, found, score, taken)
                if run is not None:
                    with st.popover("Suggest again", icon=":material/auto_awesome:", type="tertiary"):
                        _offer(project, summary, run)
        elif run is not None:
            _offer(project, summary, run)


def _asked(job: Run | None, result: dict[str, Any] | None) -> Run | None:
    """Return the run that a job asked, if it is still there."""
    try:
        return runs.find(result["run"] if result else runs.request_of(job)["run_id"]) if job is not None else None
    except StudioError:
        return None


def _answers(project: Project, found: proposals.Open, score: float, taken: Agreed | None) -> None:
    """Show the buttons that answer to what is proposed."""
    if found.shapes:
        words = f"Agree to {amount(count := proposals.count(project.id, above=score).shapes, 'suggestion')}"
        st.button(words, key="agree-shapes", icon=":material/done_all:", disabled=not count, on_click=_agree, args=(project, score))
        st.button("Turn all down", key="forget-shapes", icon=":material/close:", type="tertiary", on_click=_forget, args=(project,))
    if taken is not None:
        words = f"Take {'it' if taken.shapes == 1 else f'all {taken.shapes:,}'} back"
        st.button(words, key="take-back-shapes", icon=":material/undo:", on_click=_take_back, args=(project, taken), help="They become suggestions again.")


def _slot(project: Project) -> str:
    return f"_agreed-{project.id}"


def _edits(project: Project) -> str:
    return f"_proposals-edited-{project.id}"


def _edited(project: Project, words: str) -> None:
    st.session_state[_edits(project)] = st.session_state.get(_edits(project), 0) + 1
    st.session_state["_sorted"] = words


def _watch(job: Run, words: str, share: float | None) -> None:
    st.progress(share or 0.0, text=f"{words}. Go on drawing meanwhile: suggestions only come to pictures with nothing in them.")
    if st.button("Stop", key="stop-propose", icon=":material/stop_circle:"):
        runs.stop(job)


def _offer(project: Project, summary: Summary, run: Run) -> None:
    """Let the user say how sure the model must be, say how good it is from there on, and start."""
    what = THINGS[project.task]
    st.markdown(
        f"**{plain(run.name, 60)}** looks at the {amount(summary.unlabelled, 'picture')} nobody has drawn on and suggests {what}. "
        "Nothing counts until you agree."
    )
    usual = proposing.usual_confidence(run)
    score = st.slider(f"Suggest {what} the model is at least this sure of", _LEAST, _MOST, _in_range(usual), format="%d %%", key=f"propose-from-{run.id}") / 100
    st.caption(_how_good(project, run, score))
    if st.button(f"Suggest {what}", key="propose", icon=":material/auto_awesome:"):
        start_job("propose", {"project_id": project.id, "run_id": run.id, "confidence": score})
        st.rerun()


@st.cache_data(max_entries=8, show_spinner=False)
def _swept(folder: str, mtime_ns: int) -> Sweep:  # noqa: ARG001 (the cache's key)
    seen = evidence(Path(folder))
    return operating.sweep(seen.found, seen.true, boxes.match(seen.found, seen.true, _OVERLAP))


def _how_good(project: Project, run: Run, score: float) -> str:
    """Say how often such proposals are right on pictures the model did not learn from."""
    if project.task == SEMANTIC:
        metrics = (runs.read_report(run) or {}).get("metrics", {})
        return f"On pictures it did not learn from, it names {percent(metrics.get('pixel_accuracy'))} of all pixels right."
    path = run.path("predictions.npz")
    if not path.exists():
        return ""
    point = _swept(str(run.folder), path.stat().st_mtime_ns).at(score)
    said = point.right + point.false_alarms
    if not said:
        return "On pictures it did not learn from, it was never that sure."
    return (
        f"On pictures it did not learn from, {point.right:,} of {said:,} such {THINGS[project.task]} were right, "
        f"and they were {percent(point.recall, 0)} of what is there."
    )


def _nothing_found(result: dict[str, Any]) -> str:
    looked = amount(int(result["looked_at"]), "picture")
    return f"In {looked} **{plain(result['name'], 60)}** found nothing that it was {percent(result['confidence'], 0)} sure of.{_passed_over(result)}"


def _passed_over(result: dict[str, Any] | None) -> str:
    """Say what the last round left out."""
    gone = (result or {}).get("passed_over") or {}
    words = ""
    if gone.get("count"):
        words += f" {amount(gone['count'], 'picture')} could not be read."
    if gone.get("labels"):
        words += f" It also knows {', '.join(plain(one, 40) for one in gone['labels'])}, which is no class of this project any more."
    return words


def _bulk(project: Project, asked: Run | None, result: dict[str, Any] | None) -> float:
    """Say how many proposals are how sure, and how often such ones are right; return from which score on they are meant."""
    usual = proposing.usual_confidence(asked, "no_alarms") if asked is not None else 0.9
    score = st.slider(
        "Agree to suggestions the model is at least this sure of",
        _LEAST,
        _MOST,
        _in_range(usual),
        format="%d %%",
        key=f"agree-from-{asked.id if asked else ''}",
    )
    of_each = proposals.counts(project.id, above=score / 100)
    count = sum(of_each.values())
    listed = ", ".join(f"{plain(name, 40)} {number:,}" for name, number in of_each.items())
    st.markdown(
        f"{amount(count, 'suggestion')} {'is' if count == 1 else 'are'} that sure{f': {listed}' if listed else ''}. "
        f"The others stay open: look at them one by one, with *Show: With suggestions*.{_passed_over(result)}"
    )
    if asked is not None:
        st.caption(_how_good(project, asked, score / 100))
    return score / 100


def _in_range(confidence: float) -> int:
    return min(_MOST, max(_LEAST, round(100 * confidence)))


def _agree(project: Project, score: float) -> None:
    agreed = proposals.agree_above(project.id, score)
    st.session_state[_slot(project)] = agreed if agreed.items else None
    _edited(project, f"Agreed to {amount(agreed.shapes, 'suggestion')} in {amount(len(agreed.items), 'picture')}")


def _take_back(project: Project, taken: Agreed) -> None:
    back = proposals.take_back(taken)
    st.session_state[_slot(project)] = None
    kept = len(taken.items) - len(back.items)
    left = f"; {amount(kept, 'picture')} changed since and stay{'s' if kept == 1 else ''} as {'it is' if kept == 1 else 'they are'}" if kept else ""
    _edited(project, f"{amount(back.shapes, 'suggestion')} open again{left}")


def _forget(project: Project) -> None:
    _edited(project, f"Turned down {amount(proposals.forget(project.id), 'suggestion')}")
