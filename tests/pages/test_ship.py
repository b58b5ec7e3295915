"""Ship: what is offered is on disk, and what is made can be downloaded."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from engine import runs
from engine.data import projects
from tests.pages.trained import Trained, open_page, trained, trained_home, wait_for, words  # noqa: F401 (fixtures)


def _links(app) -> list[str]:
    return [link.proto.url for link in app.get("link_button")]


def test_without_a_model_it_leads_to_training(home) -> None:
    app = open_page("ship.py", project=projects.create("New").id)
    assert "Nothing to take away yet" in words(app)


def test_the_onnx_file_is_checked_and_offered(trained: Trained) -> None:  # noqa: F811
    app = trained.open("ship.py", run=trained.first)
    assert "Gives the same answers as the trained network" in words(app)
    assert f"/graft/download/{trained.first}/model.onnx" in _links(app)


def test_how_to_make_it_again_names_data_start_and_seed(trained: Trained) -> None:  # noqa: F811
    app = trained.open("ship.py", run=trained.second)
    command = next(block.value for block in app.code if "engine train" in block.value)
    assert "--preset quick" in command
    assert "seed=1" in command
    assert "image_size=32" in command


def test_the_deploy_folder_is_made_by_a_job_and_found_again(trained: Trained) -> None:  # noqa: F811
    app = trained.open("ship.py", run=trained.first)
    next(button for button in app.button if button.key == "make-folder").click().run()
    assert not app.exception
    (folder,) = (trained.home / "jobs").glob("export-*")
    job = runs.Run(folder)
    wait_for(lambda: runs.state(job) not in ("waiting", "running"))
    assert runs.state(job) == "finished", job.path("log.txt").read_text()[-2000:]
    again = trained.open("ship.py", run=trained.first)
    assert f"/graft/download/job/{job.id}" in _links(again)
    result = runs.result_of(job)
    assert result is not None
    with zipfile.ZipFile(Path(result["file"])) as made:
        assert any(name.endswith("predict.py") for name in made.namelist())


def _engine_for(app, title: str):
    """Choose a generation of GPUs; return the page, what precisions it offers, and the button."""
    chosen = next(row for row in app.selectbox(key="gpu-generation").options if row.startswith(f"{title} ("))
    app.selectbox(key="gpu-generation").select(chosen).run()
    assert not app.exception
    offered = [option.content for group in app.get("button_group") if "gpu-precision" in group.key for option in group.proto.options]
    return offered, next(button for button in app.button if button.key == "make-tensorrt")


def test_only_what_can_be_built_for_a_gpu_is_offered(trained: Trained) -> None:  # noqa: F811
    app = trained.open("ship.py", run=trained.first)
    offered, build = _engine_for(app, "Ada Lovelace")
    assert offered == ["Half", "Full"]
    assert build.disabled == (importlib.util.find_spec("tensorrt_rtx") is None)
    offered, _ = _engine_for(app, "Turing")
    assert offered == ["Half"]
    _, build = _engine_for(app, "Hopper (data centre)")
    assert build.disabled
    assert "only be built on a machine that has one" in words(app)
