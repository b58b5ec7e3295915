"""Door three: what it shows before, while and after the X-ray, and what choosing keeps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from streamlit.testing.v1 import AppTest

from engine import workspace
from engine.data import importing, projects
from engine.models.own_onnx import dropped, jobs
from engine.models.own_onnx.dropped import Choices, choices_of
from tests.pages.drawn import class_folders
from tests.pages.opened import button, fine, keys, open_page, words


def _network(shape: list[int | str], *, last: str = "Gemm") -> bytes:
    """A small network: two convolutions, pooling, and a last layer."""
    random = np.random.default_rng(0)
    weights = {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "w3": (16, 5)}
    stored = [numpy_helper.from_array((random.standard_normal(size) * 0.2).astype(np.float32), name) for name, size in weights.items()]
    nodes = [
        helper.make_node("Conv", ["images", "w1"], ["c1"], "first/conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "first/relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "second/conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], "second/relu"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node(last, ["f", "w3"], ["scores"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 5])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.fixture
def project(home: Path) -> projects.Project:
    return projects.create("Own")


def _drop(project: projects.Project, content: bytes, name: str = "net.onnx", xray: bool = True) -> dropped.Dropped:
    folder = workspace.uploads() / os.urandom(16).hex()
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    one = dropped.keep(project.id, folder / name)[0]
    if xray:
        found = jobs.run_xray({"path": str(one.path)}, lambda _event: None, lambda: False)
        assert found is not None
        one.keep_xray(found)
    return one


def _open(project: projects.Project) -> AppTest:
    return open_page("start.py", project=project.id, door="onnx")


def _until(app: AppTest, truth: Callable[[], bool], seconds: float = 60) -> AppTest:
    """Run the page again until it is so: in a test no timer does."""
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline, words(app)
        time.sleep(0.2)
        app.run()
    return fine(app)


def _choose(app: AppTest, key: str, value: object) -> AppTest:
    next(one for one in [*app.selectbox, *app.number_input, *app.text_input] if one.key == key).set_value(value).run()
    return fine(app)


@pytest.fixture
def own(project: projects.Project) -> dropped.Dropped:
    return _drop(project, _network([1, 3, 32, 32]))


def test_before_anything_was_dropped_there_is_only_the_zone(project: projects.Project) -> None:
    app = _open(project)
    assert "My ONNX model" in [one.value for one in app.header]
    assert not any(key.startswith("use-") for key in keys(app))
    assert "X-ray of" not in words(app)


def test_a_dropped_file_is_xrayed_by_a_job_and_the_xray_is_kept(project: projects.Project) -> None:
    one = _drop(project, _network([1, 3, 32, 32]), xray=False)
    app = _open(project)
    assert "net\\.onnx" in words(app)
    assert one.xray() is None
    _until(app, lambda: "X-ray of" in words(app))
    found = one.xray()
    assert found is not None
    assert found["trainable"]
    assert found["cut"]["features"] == 16
    jobs_before = sorted((workspace.home() / "jobs").iterdir())
    assert "X-ray of" in words(_open(project)), "a reload took it again"
    assert sorted((workspace.home() / "jobs").iterdir()) == jobs_before


def test_the_xray_is_told_in_words(project: projects.Project, own: dropped.Dropped) -> None:
    app = _open(project)
    figures = {one.label: one.value for one in app.metric}
    assert figures["Takes"] == "3×32×32"
    assert figures["Gives"] == "5"
    assert figures["Weights"] == "1,448"
    assert figures["Opset"] == "17"
    said = words(app)
    for phrase in (
        "Telling pictures apart",
        "All of it can learn",
        "telling 5 classes apart",
        "16 features a picture",
        "1 part in",
        "This is what Graft proposes",
    ):
        assert phrase in said, phrase
    assert "Once the project has pictures" in said


def test_a_damaged_file_is_one_sentence_and_can_be_removed(project: projects.Project) -> None:
    one = _drop(project, _network([1, 3, 32, 32])[:900], xray=False)
    app = _open(project)
    _until(app, lambda: bool(app.error))
    assert "cannot be read as an ONNX model" in app.error[0].value or "damaged" in app.error[0].value
    assert f"again-{one.key}" in keys(app)
    button(app, f"remove-{one.key}").click().run()
    assert dropped.list_dropped(project.id) == []
    assert not fine(app).error


def test_a_network_that_takes_no_picture_cannot_be_used_and_why_is_said(project: projects.Project) -> None:
    random = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["rows", "w"], ["h"], "one"),
            helper.make_node("Relu", ["h"], ["r"], "two"),
            helper.make_node("Gemm", ["r", "v"], ["scores"], "three"),
        ],
        "net",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, 12])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(random.standard_normal(size).astype(np.float32), name) for name, size in (("w", (12, 8)), ("v", (8, 3)))],
    )
    _drop(project, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    app = _open(project)
    assert "cannot be used in this project" in app.error[0].value
    assert not any(key.startswith("use-") for key in keys(app))


def test_using_it_sets_the_starting_point(project: projects.Project, own: dropped.Dropped) -> None:
    app = _open(project)
    button(app, f"use-{own.key}").click().run()
    start = projects.get(fine(app) and project.id).start
    assert start.endswith("net.onnx")
    assert own.owns(start)
    assert choices_of(Path(start)) == Choices()
    assert button(app, f"use-{own.key}").label == "Chosen"
    assert "Starting from **net\\.onnx**" in words(app)


@pytest.mark.parametrize("task", ["object-detection", "semantic-segmentation"])
def test_a_network_without_the_maps_is_refused_in_words_where_things_are_drawn(home: Path, task: str) -> None:
    project = projects.create("Drawn", task)
    one = _drop(project, _network(["batch", 3, 32, 32]))
    app = _open(project)
    assert f"use-{one.key}" not in keys(app)
    said = " ".join(error.value for error in app.error)
    assert "cannot be used in this project: it takes one picture" in said or "needs maps at 1/" in said
    assert "no such project yet" not in words(app)


def test_scaling_is_kept_at_once_and_goes_into_the_starting_point(project: projects.Project, own: dropped.Dropped) -> None:
    app = _choose(_open(project), f"{own.key}-scale", "signed")
    assert own.draft().mean == (0.5, 0.5, 0.5)
    again = _open(project)
    assert next(one for one in again.selectbox if one.key == f"{own.key}-scale").value == "signed"
    button(app, f"use-{own.key}").click().run()
    assert choices_of(Path(projects.get(project.id).start)).std == (0.5, 0.5, 0.5)
    button(fine(app), f"back-{own.key}").click().run()
    assert own.draft() == Choices()
    assert button(app, f"use-{own.key}").label == "Use this model", "what is chosen is not what is shown"


def test_own_numbers_are_checked(project: projects.Project, own: dropped.Dropped) -> None:
    app = _choose(_open(project), f"{own.key}-scale", "custom")
    _choose(app, f"{own.key}-std", "0, 1, 1")
    assert "larger than 0" in app.error[0].value
    _choose(app, f"{own.key}-std", "0.3 0.3 0.3")
    assert not app.error
    assert own.draft().std == (0.3, 0.3, 0.3)
    assert own.draft().mean == (0.485, 0.456, 0.406)


def test_another_cut_is_tried_and_then_may_be_used(project: projects.Project, own: dropped.Dropped) -> None:
    own.keep_draft(Choices(cut="r1"))
    app = _open(project)
    assert button(app, f"use-{own.key}").disabled
    _until(app, lambda: "It works" in words(app))
    assert "8 features a picture" in words(app)
    button(app, f"use-{own.key}").click().run()
    assert choices_of(Path(projects.get(project.id).start)).cut == "r1"


def test_a_cut_that_does_not_work_says_why(project: projects.Project, own: dropped.Dropped) -> None:
    own.keep_draft(Choices(cut="nowhere"))
    app = _open(project)
    _until(app, lambda: bool(app.error))
    assert "no node or value" in app.error[0].value
    assert button(app, f"use-{own.key}").disabled
    button(app, f"back-{own.key}").click().run()
    assert not button(fine(app), f"use-{own.key}").disabled


def test_a_picture_of_the_project_shows_what_the_network_sees(project: projects.Project, own: dropped.Dropped, tmp_path: Path) -> None:
    importing.import_path(project.id, class_folders(tmp_path / "fruit", "red", "green", each=4))
    app = _choose(_open(project), f"{own.key}-scale", "bytes")
    said = next(one.value for one in app.caption if "What the network sees" in one.value)
    assert "32 × 32 pixels" in said
    high = float(said.rpartition(" to ")[2].rstrip("."))
    assert 1 < high <= 255


def test_of_two_files_either_can_be_looked_at(project: projects.Project, own: dropped.Dropped) -> None:
    other = _drop(project, _network(["batch", 3, 48, 48]), "other.onnx")
    app = _open(project)
    assert {one.value for one in app.metric if one.label == "Takes"} == {"3×48×48"}, "the newest comes first"
    _choose(app, f"onnx-which-{project.id}", own.key)
    assert {one.value for one in app.metric if one.label == "Takes"} == {"3×32×32"}
    assert f"use-{other.key}" not in keys(app)


def test_the_model_is_still_valid_onnx() -> None:
    onnx.checker.check_model(onnx.load_model_from_string(_network([1, 3, 32, 32])), full_check=True)
