"""Try: the exported model answers, right in the page's process, without torch."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine import runs, workspace
from engine.data import items
from engine.errors import StudioError
from engine.export.predictor import Predictor
from pages.parts.given import Given
from tests.pages.trained import Trained, trained, trained_home, words  # noqa: F401 (fixtures)


def test_the_model_in_the_address_answers_on_a_held_out_picture(trained: Trained) -> None:  # noqa: F811
    app = trained.open("try_it.py", run=trained.first)
    assert app.multiselect(key="tried-models").value == [trained.first]
    shown = words(app)
    assert "took no part in training" in shown
    assert "ms on this machine" in shown
    spec = app.get("plotly_chart")[0].proto.spec
    for label in Predictor(runs.find(trained.first).path("model.onnx")).labels:
        assert label in spec


def test_a_held_out_picture_gets_the_answer_that_the_report_counted(trained: Trained) -> None:  # noqa: F811
    run = runs.find(trained.first)
    with np.load(run.path("predictions.npz")) as kept:
        counted = {int(item): row for item, row in zip(kept["item_ids"], kept["probabilities"], strict=True)}
    predictor = Predictor(run.path("model.onnx"))
    for item in items.get_items(list(counted)):
        for source in (item.path, item.path.read_bytes()):
            given = Given(source, Image.new("RGB", (1, 1)), item.name, "")
            assert predictor.probabilities([given.opened_by(predictor)])[0] == pytest.approx(counted[item.id], abs=1e-3)


def test_two_models_answer_side_by_side(trained: Trained) -> None:  # noqa: F811
    app = trained.open("try_it.py", run=trained.first)
    app.multiselect(key="tried-models").select(trained.second).run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 2


def test_why_shows_a_heat_map(trained: Trained) -> None:  # noqa: F811
    app = trained.open("try_it.py", run=trained.second)
    pictures = len(app.get("imgs")) + len(app.get("image"))
    app.toggle(key="try-why").set_value(True).run()
    assert not app.exception
    assert len(app.get("imgs")) + len(app.get("image")) == pictures + 1


def test_a_dropped_file_that_is_no_picture_is_refused_in_a_sentence(trained: Trained) -> None:  # noqa: F811
    app = trained.open("try_it.py", run=trained.first)
    app.button_group(key="try-source").set_value("drop").run()
    app.file_uploader(key="try-file").upload("note.png", b"this is no picture", "image/png").run()
    assert not app.exception
    assert "is not a picture that can be read" in app.error[0].value.replace("\\", "")


def test_ready_made_models_are_offered_before_any_training(home) -> None:
    from tests.pages.trained import open_page

    app = open_page("try_it.py")
    offered = app.multiselect(key="tried-models").options
    assert any("ready-made" in title for title in offered)
    for folder in (workspace.home() / "jobs").glob("export-*"):  # the page began to make the file: leave nothing behind
        runs.stop(runs.Run(folder))


def test_what_is_pasted_must_be_picture_data() -> None:
    from pages.parts.paste import content_of

    assert content_of("data:image/png;base64,aGFsbG8=") == b"hallo"
    with pytest.raises(StudioError, match="no picture"):
        content_of("data:image/png;base64,***")
