"""Ship: take the model away as an ONNX file, a TensorRT engine or a folder that runs by itself, and see how to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from engine import workspace
from engine.export import card
from engine.export.tensorrt import PRECISIONS, TARGETS, Target, reason_against
from engine.models.own_onnx.beside import data_path, file_bytes
from engine.runs import Run, read_report
from pages.parts import state as ui
from pages.parts.jobs import find_job, outcome, start_job
from pages.parts.run_picker import finished_runs, pick_run
from pages.parts.scores import in_words
from pages.parts.text import sentence
from pages.parts.wording import amount, percent

_TITLES = {"fp32": "Full", "fp16": "Half"}


def main() -> None:
    ui.stepper("Ship")
    project = ui.current_project()
    if project is None:
        ui.no_project("Ship")
        return
    st.title("Ship")
    candidates = finished_runs(project.id)
    if not candidates:
        ui.empty("ios_share", "Nothing to take away yet", "Train a model first; here it becomes a file that runs anywhere.", "train.py", "Train a model")
        return
    current = ui.current_run()
    run = pick_run(candidates, current if current and current.path("report.json").exists() and current.project_id == project.id else None, label="Model")
    if current is None or run.id != current.id:
        ui.select(run=run.id)
    report = read_report(run) or {}
    st.caption(in_words(report))
    with st.grid("auto", min_column_width=230, gap="medium"):
        for draw in (_onnx, _folder, _tensorrt):
            with st.container(border=True, height="stretch"):
                draw(run)
    _card(run, project.name)
    _reproduce(run, project.name)
    ui.shell_command(
        f"python -m engine export {run.id} --format onnx -o model.onnx\n"
        f"python -m engine export {run.id} --format folder -o {run.id}.zip\n"
        f"python -m engine export {run.id} --format tensorrt -o model.engine"
    )


def _onnx(run: Run) -> None:
    st.markdown("#### :material/deployed_code: ONNX file")
    st.caption("Runs on Windows, macOS, Linux, phones and in browsers. Labels and the way pictures are prepared are inside.")
    file = run.path("model.onnx")
    if not file.exists():
        _job(run, "onnx", {}, "Make the file", "model.onnx")
        return
    _parity(run)
    st.caption(f"{file_bytes(file) / 1e6:,.1f} MB · takes any number of pictures at once")
    beside = data_path(file)
    if beside.exists():
        st.caption(f"ONNX files end at 2 GB, so the weights are a second file. Keep {file.name} and {beside.name} in one folder.")
    st.space("stretch")
    if beside.exists():
        st.link_button(f"Download {beside.name}", f"/graft/download/{run.id}/{beside.name}", icon=":material/download:", width="stretch", key="download-data")
    st.link_button("Download", f"/graft/download/{run.id}/model.onnx", icon=":material/download:", type="primary", width="stretch")


def _parity(run: Run) -> None:
    """Say in words how close the file's answers are to those of the network that was trained."""
    path = run.path("parity.json")
    if not path.exists():
        return
    parity: dict[str, Any] = workspace.read_json(path)
    checked = amount(parity["n"], "real picture")
    if parity["passed"]:
        st.markdown(
            f":material/verified: Gives the same answers as the trained network, checked on {checked}.",
            help=f"Compared with torch: probabilities differ by {parity['max_abs']:.1g} at most (allowed: 0.0001).",
        )
    else:
        st.markdown(f":material/warning: Answers differ from the trained network by up to {percent(parity['max_abs'], 2)} on {checked}.")
    if parity.get("latency_ms"):
        st.caption(f":material/timer: {parity['latency_ms']:.1f} ms a picture on this machine's processor")


def _folder(run: Run) -> None:
    st.markdown("#### :material/folder_zip: Deploy folder")
    st.caption("The ONNX file with its labels, a model card, how to make it again, and a short predict.py that needs only onnxruntime, numpy and Pillow.")
    st.space("stretch")
    _job(run, "folder", {}, "Make the folder", f"{run.id}.zip")


def _tensorrt(run: Run) -> None:
    st.markdown("#### :material/bolt: TensorRT engine")
    st.caption("For NVIDIA GPUs: the fastest there is, built ahead of time for one generation. It is built without a GPU, and so not run: try it on yours.")
    generation = st.selectbox("GPU generation", TARGETS, index=_usual(), format_func=_generation, key="gpu-generation")
    words = " ".join(PRECISIONS[key] for key in generation.precisions)
    slot = f"gpu-precision-{generation.key}"  # each generation has its own choice of precisions, and remembers what was chosen
    precision = st.segmented_control(
        "Precision", generation.precisions, default=generation.precisions[-1], format_func=_TITLES.__getitem__, required=True, key=slot, help=words
    )
    reason = reason_against(generation)
    if reason is not None:
        st.caption(f":material/block: {sentence(reason.problem, reason.remedy)}")
    st.space("stretch")
    choice = {"compute_capability": generation.key, "precision": precision}
    _engine_check(run, choice)
    _job(run, "tensorrt", choice, "Build the engine", "model.engine", offered=reason is None)


def _engine_check(run: Run, choice: Mapping[str, Any]) -> None:
    """Say how the file that an engine was built from was checked, where it is another one than the ONNX file."""
    job = find_job("export", {"run_id": run.id, "format": "tensorrt", "options": dict(choice)})
    parity = ((outcome(job).result or {}) if job else {}).get("parity")
    if parity:
        st.caption(
            f":material/verified: Its graph was checked on {amount(parity['n'], 'real picture')}: scores differ from the trained network's by "
            f"{parity['max_abs']:.1g} at most."
        )


def _generation(row: Target) -> str:
    return f"{row.title} ({row.words})"


def _usual() -> int:
    return next((place for place, row in enumerate(TARGETS) if row.key == "8.9"), 0)


def _job(run: Run, kind: str, options: Mapping[str, Any], label: str, name: str, *, offered: bool = True) -> None:
    """Offer to make a file, follow the making, offer the download. The job is found again on disk after a reload."""
    request = {"run_id": run.id, "format": kind, "options": dict(options)}
    job = find_job("export", request)
    now = outcome(job) if job else None
    if job is not None and now is not None and not now.active and now.result:
        st.link_button(f"Download {name}", f"/graft/download/job/{job.id}", icon=":material/download:", type="primary", width="stretch", key=f"download-{kind}")
        return
    failed = st.session_state.get(f"_failed-{kind}-{run.id}")
    if failed:
        st.error(failed, icon=":material/error:")
    if now is None:
        if st.button(label, key=f"make-{kind}", icon=":material/build:", width="stretch", disabled=not offered):
            st.session_state.pop(f"_failed-{kind}-{run.id}", None)
            start_job("export", request)
            st.rerun()
        return
    assert job is not None
    _follow(run, kind, job)


def _follow(run: Run, kind: str, job: Run) -> None:
    """Show how far an export has come; one full rerun when it ended."""

    def tick() -> None:
        with ui.guard():
            now = outcome(job)
            if now.active:
                st.progress(now.share or 0.0, text=f"{now.words}…")
                return
            if now.problem:
                st.session_state[f"_failed-{kind}-{run.id}"] = f"{now.problem}. {now.remedy}"
            st.rerun()

    st.fragment(tick, run_every=1.0)()


def _card(run: Run, project: str) -> None:
    with st.expander("Model card", icon=":material/description:", on_change="rerun", key="card") as box:
        if not box.open:
            return
        from engine.export.folder import model_card

        st.markdown(model_card(run, project_name=project))


def _reproduce(run: Run, project: str) -> None:
    with st.expander("How to make it again", icon=":material/replay:"):
        recipe = run.recipe
        version = json.loads(run.path("version.json").read_bytes())
        st.markdown("The same recipe, data and seed give the same model on the same machine.")
        st.code(card.command(recipe, project), language="bash", wrap_lines=True)
        st.caption(f"Data version `{version['id'][:12]}`: {len(version['items']):,} pictures, {len(version['classes'])} classes.")
        content = json.dumps(recipe.model_dump(), indent=1)
        st.json(recipe.model_dump(), expanded=False)
        st.download_button(
            "Download the recipe", content, file_name=f"{run.id}-recipe.json", mime="application/json", icon=":material/download:", on_click="ignore"
        )


with ui.guard():
    main()
