"""Try: give a model a picture, or several models the same picture. It runs the exported ONNX file: what you try is what you ship."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from engine import runs
from engine.data import images, items
from engine.data.marks import TAGGING, TASK_KINDS
from engine.data.projects import Project
from engine.errors import StudioError
from engine.evaluation.answers import Answer
from engine.evaluation.drawn import SEMANTIC
from engine.evaluation.shown import answer_over
from engine.export.metadata import WHOLE
from engine.models import catalogue
from engine.models.published import list_published
from pages.parts import state as ui
from pages.parts.answered import answers_of, asked_about, bars
from pages.parts.answers import balanced
from pages.parts.given import Given, from_file, from_upload
from pages.parts.onnx_models import Model, of_ready, of_run, prepare, show_making
from pages.parts.paste import pasted_picture
from pages.parts.picture_wall import Tile, picture_wall
from pages.parts.run_picker import finished_runs
from pages.parts.text import short_name
from pages.parts.why import heat_over

if TYPE_CHECKING:
    from engine.export.predictor import Predictor

MOST_MODELS = 4
PER_WALL = 6
MOST_HIGH_PX = 320  # of the picture asked about: on a phone the answers under it must not be out of sight
SOURCES = {
    "project": ":material/photo_library: A picture of this project",
    "drop": ":material/upload: Drop a file",
    "paste": ":material/content_paste: Paste",
    "camera": ":material/photo_camera: Camera",
}


def main() -> None:
    ui.stepper("Try")
    st.title("Try it")
    project = ui.current_project()
    models = _models(project)
    if not models:
        ui.empty("photo_camera", "No model to try yet", "Train one first; then give it any picture and see what it says.", "train.py", "Train a model")
        return
    chosen = _choose(models)
    given = _given(project)
    if given is None or not chosen:
        if not chosen:
            st.info("Choose at least one model.", icon=":material/neurology:")
    else:
        _answers(given, chosen, project.task if project else "image-classification")
    ui.shell_command(f"python -m engine predict {chosen[0].key if chosen else 'RUN'} PICTURE.jpg")


def _models(project: Project | None) -> dict[str, Model]:
    """Return what can be asked, the run in the link first, then newest first, then the ready-made ones."""
    found = [of_run(run) for run in finished_runs(project.id)] if project else []
    task = project.task if project else "image-classification"
    found += [of_ready(row) for row in catalogue.optimized(task)] + [of_ready(row) for row in list_published(task) if row.here]
    return {model.key: model for model in found}


def _choose(models: dict[str, Model]) -> list[Model]:
    current = ui.current_run()
    first = current.id if current is not None and current.id in models else next(iter(models))
    key = "tried-models"
    st.session_state[key] = [name for name in st.session_state.get(key, [first]) if name in models]
    chosen = st.multiselect(
        "Models",
        list(models),
        format_func=lambda name: models[name].title,
        key=key,
        max_selections=MOST_MODELS,
        select_all=False,
        help="Choose several to see them answer side by side. Ready-made models need no training.",
    )
    return [models[name] for name in chosen]


def _given(project: Project | None) -> Given | None:
    offered = [key for key in SOURCES if key != "project" or (project is not None and items.count_items(project.id))]
    source = st.segmented_control(
        "Picture from", offered, default=offered[0], required=True, format_func=SOURCES.__getitem__, key="try-source", label_visibility="collapsed"
    )
    if source == "project" and project is not None:
        return _from_project(project)
    content, name = None, source
    if source == "drop":
        file = st.file_uploader("A picture", type=sorted(suffix.removeprefix(".") for suffix in images.SUFFIXES), key="try-file", max_upload_size=40)
        content, name = (file.getvalue(), file.name) if file else (None, "")
    elif source == "paste":
        content = pasted_picture(key="try-paste")
    elif source == "camera":
        shot = st.camera_input("Take a picture", key="try-camera")
        content = shot.getvalue() if shot else None
    return from_upload(content, name) if content else None


def _from_project(project: Project) -> Given | None:
    """Offer held-out pictures where there are any: a model must not be tried on what it learned from."""
    split = next((one for one in ("test", "val") if items.count_items(project.id, split=one)), None)
    turn = int(st.session_state.get("try-turn", 0))
    shown = _of_every_class(project, split, turn)
    if not shown:
        return None
    slot = f"_try-item-{project.id}"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        kind = {"test": "Test pictures, which took no part in training", "val": "Validation pictures"}.get(split or "", "Pictures of this project")
        st.caption(kind, width="content")
        st.button("Others", icon=":material/shuffle:", key="try-others", type="tertiary", on_click=st.session_state.__setitem__, args=("try-turn", turn + 1))
    wanted = st.session_state.get(slot) or shown[0].id
    picked = picture_wall(
        [Tile(row.id, _title(row, project.task)) for row in shown],
        key="try-wall",
        chosen=wanted,
    )
    if picked is not None and picked != wanted:
        st.session_state[slot] = picked
        st.rerun()
    found = items.get_items([wanted]) or shown[:1]
    return from_file(found[0])


def _title(item: items.Item, task: str) -> str:
    if "class" not in TASK_KINDS[task]:
        return short_name(item.name)
    return ", ".join(item.labels) or ("none of the tags" if task == TAGGING and item.reviewed else "not labelled")


def _of_every_class(project: Project, split: str | None, turn: int) -> list[items.Item]:
    """Return a few pictures, one of each class in turn, so that a small wall shows variety."""
    names = items.classes(project.id)
    found: list[items.Item] = []
    for place in range(PER_WALL):
        name = names[(place + turn * PER_WALL) % len(names)] if names else None
        total = items.count_items(project.id, label=name, split=split)
        if total:
            offset = (turn + place // max(1, len(names))) % total
            found += items.list_items(project.id, label=name, split=split, offset=offset, limit=1)
    return list({row.id: row for row in found}.values())


def _answers(given: Given, chosen: list[Model], task: str) -> None:
    why = "class" in TASK_KINDS[task] and st.toggle(
        "Show what it looked at",
        key="try-why",
        help="Hides parts of the picture one after another and watches how the answer suffers. Takes a few seconds a model.",
    )
    left, right = st.columns([1, 2], gap="large")
    with left:
        wide, high = given.picture.size
        truth = "" if not given.labels else f" · {'shows' if task == TAGGING else 'is'} {', '.join(given.labels)}"
        st.image(
            given.picture,
            width="stretch" if wide >= high else max(1, round(MOST_HIGH_PX * wide / high)),  # a wide one would run into the answers
            caption=f"{given.name.rpartition('/')[2]}{truth}",
        )
    with right, st.grid("auto", min_column_width=260, gap="medium"):
        for model in chosen:
            with st.container(border=True):
                _answer(given, model, why)


def _answer(given: Given, model: Model, why: bool) -> None:
    st.markdown(f"**{model.title}**")
    if not model.here:
        _follow(model)
        return
    from engine.export.predictor import Predictor

    predictor = Predictor(model.file)
    if predictor.task not in WHOLE:
        _found_things(given, model, predictor)
        return
    predictor.predict([given.opened_by(predictor)])  # the first answer of a session also sets up memory; the second is what it takes
    began = time.perf_counter()
    picture = given.opened_by(predictor)
    answers = answers_of(predictor, picture)
    took_ms = (time.perf_counter() - began) * 1000
    _judged(given, predictor, answers)
    bars(predictor, answers, key=f"answer-{model.key}")
    st.caption(f"{took_ms:.0f} ms on this machine's processor, reading the picture included")
    if why:
        label = asked_about(predictor, answers, key=f"try-label-{model.key}")
        st.image(
            heat_over(str(model.file), model.file.stat().st_mtime_ns, given.digest, label, picture),
            caption=f"what {'speaks for' if predictor.thresholds else 'made it say'} “{label}”",
            width="stretch",
        )


def _judged(given: Given, predictor: Predictor, answers: Sequence[tuple[str, float]]) -> None:
    """Say whether the answer is right, where the truth is known and the model knows those classes."""
    if given.labels is None or not set(given.labels) <= set(predictor.labels):
        return
    if predictor.thresholds:
        edges = dict(zip(predictor.labels, predictor.thresholds, strict=True))
        said, true = {label for label, share in answers if share >= edges[label]}, set(given.labels)
        words = [f"missed {', '.join(sorted(true - said))}"] if true - said else []
        words += [f"wrongly {', '.join(sorted(said - true))}"] if said - true else []
        right, word = said == true, "; ".join(words).capitalize() or "All tags right"
    elif given.labels:
        right = answers[0][0] in given.labels
        word = "Right" if right else "Wrong"
    else:
        return
    st.badge(word, icon=":material/check:" if right else ":material/close:", color="green" if right else "orange")


def _found_things(given: Given, model: Model, predictor: Predictor) -> None:
    """Show what a model finds in the picture, from a confidence on that the user drags."""
    picture = given.opened_by(predictor)
    predictor.answers([picture])  # as above: the first answer of a session also sets up memory
    began = time.perf_counter()
    answer = predictor.answers([given.opened_by(predictor)])[0]
    took_ms = (time.perf_counter() - began) * 1000
    confidence = 0.0
    if predictor.task != SEMANTIC:
        confidence = st.slider("Counts from this sure on", 0.0, 1.0, _first_confidence(model), 0.01, key=f"confidence-{model.key}")
    kept = answer.above(confidence)
    st.image(answer_over(picture, kept, predictor.labels, size_px=900), width="stretch", caption=_counted(kept, predictor.labels))
    st.caption(f"{took_ms:.0f} ms on this machine's processor, reading the picture included")


def _first_confidence(model: Model) -> float:
    """Return the balanced confidence of a run, else a half."""
    try:
        return balanced(runs.find(model.key)) or 0.5
    except StudioError:  # a ready-made model
        return 0.5


def _counted(answer: Answer, labels: Sequence[str]) -> str:
    """Say how many of each were found."""
    counts = Counter(labels[int(label)] for label in answer.classes_D)
    return ", ".join(f"{count} × {name}" for name, count in counts.most_common()) or "Nothing was found."


def _follow(model: Model) -> None:
    """Follow the making of a model's file; one full rerun once it is there."""

    def tick() -> None:
        with ui.guard():
            now = prepare(model)
            if now is None:
                st.rerun()
            else:
                show_making(model, now)

    st.fragment(tick, run_every=1.0)()


with ui.guard():
    main()
