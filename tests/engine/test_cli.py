"""The studio from a shell, as a user calls it: real processes, one JSON object on stdout, sentences on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import __main__ as shell
from engine import locks
from engine.data.images import open_rgb
from engine.export.predictor import Predictor
from engine.models import catalogue

FAST = ["image_size=32", "batch_size=4", "precision=fp32", "layout=contiguous", "threads=1", "device=cpu"]
SET = [word for pair in FAST for word in ("--set", pair)]


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def graft(home: Path, *words: str | Path) -> Said:
    environment = {**os.environ, "GRAFT_HOME": str(home), "GRAFT_WARM": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "engine", *map(str, words)], capture_output=True, text=True, env=environment, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def draw(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for name, colour in (("red", (200, 60, 60)), ("blue", (60, 60, 200))):
        (folder / name).mkdir(parents=True)
        for each in range(12):
            noisy = np.clip(np.array(colour) + random.normal(0, 40, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{each}.png")
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def imported(place: Path) -> Said:
    return graft(place / "home", "import", draw(place / "set"), "--project", "colours", "--json")


@pytest.fixture(scope="module")
def trained(place: Path, imported: Said) -> list[Said]:
    """Two finished runs."""
    assert imported.code == 0, imported.err
    common = ["train", "--project", "colours", "--start", "test_resnet", "--wait", "--json", *SET]
    return [graft(place / "home", *common, "--preset", "quick"), graft(place / "home", *common, "--set", "epochs=1", "--name", "deeper")]


def test_import_makes_the_project_and_says_what_it_skipped(place: Path, imported: Said) -> None:
    assert imported.code == 0, imported.err
    assert imported.json["added"] == 24
    assert [each["name"] for each in imported.json["skipped"]] == ["red/broken.png"]
    again = graft(place / "home", "import", place / "set", "--project", "colours")
    assert "0 pictures added to 'colours'" in again.out
    assert len(graft(place / "home", "projects", "--json").json["projects"]) == 1


def test_train_wait_tells_how_it_goes_and_how_it_ended(trained: list[Said]) -> None:
    for said in trained:
        assert said.code == 0, said.err
        assert said.json["state"] == "finished"
        assert 0 <= said.json["metrics"]["accuracy"] <= 1
        assert "Looking at every picture once" in said.err
        assert said.err.rstrip().endswith("finished")


def test_runs_report_and_compare_read_what_training_left(place: Path, trained: list[Said]) -> None:
    first, second = (said.json["run"] for said in trained)
    listed = graft(place / "home", "runs", "--project", "colours", "--json").json["runs"]
    assert [row["run"] for row in listed] == [second, first]
    assert (listed[0]["name"], listed[0]["state"], listed[0]["recipe"]["epochs"]) == ("deeper", "finished", 1)
    report = graft(place / "home", "report", first, "--json").json
    assert (report["run"], report["classes"]) == (first, ["blue", "red"])
    compared = graft(place / "home", "compare", first, second, "--json").json
    assert compared["differing"]["preset"] == ["quick", "balanced"]
    assert compared["verdict"] in graft(place / "home", "compare", first, second).out


def test_export_and_predict(place: Path, trained: list[Said]) -> None:
    run = trained[0].json["run"]
    exported = graft(place / "home", "export", run, "--format", "onnx", "-o", place / "out" / "model.onnx", "--json")
    assert exported.code == 0, exported.err
    assert exported.json["bytes"] == (place / "out" / "model.onnx").stat().st_size
    packed = graft(place / "home", "export", run, "--format", "folder", "-o", place / "out" / "deploy.zip")
    assert packed.code == 0, packed.err
    assert (place / "out" / "deploy.zip").read_bytes()[:2] == b"PK"
    picture = place / "set" / "red" / "1.png"
    by_run = graft(place / "home", "predict", run, picture, "--top", "1", "--json").json["predictions"]
    by_file = graft(place / "home", "predict", place / "out" / "model.onnx", picture, "--top", "1", "--json").json["predictions"]
    assert by_run == by_file
    assert [row["file"] for row in by_run] == [str(picture)]
    assert len(by_run[0]["top"]) == 1


def test_predict_reads_a_large_picture_as_the_report_did(place: Path, trained: list[Said]) -> None:
    model = next((place / "home" / "projects").glob(f"*/runs/{trained[0].json['run']}")) / "model.onnx"
    large = place / "large.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (1000, 1400, 3)).astype(np.uint8)).save(large)
    answered = graft(place / "home", "predict", model, large, "--json").json["predictions"][0]["top"]
    predictor = Predictor(model)
    as_report, in_full = (predictor.predict([picture])[0] for picture in (predictor.open(large), open_rgb(large)))
    assert as_report != in_full  # or this test would say nothing
    assert {row["label"]: row["probability"] for row in answered} == pytest.approx(dict(as_report), abs=1e-6)


def test_a_ready_model_is_asked_and_taken_away_without_any_training(place: Path) -> None:
    home, picture = place / "ready-home", place / "grey.png"
    Image.new("RGB", (300, 300), (90, 90, 90)).save(picture)
    key = catalogue.optimized("image-classification")[0].key
    taken = graft(home, "export", f"ready/{key}", "-o", place / "ready.onnx", "--json")
    assert taken.code == 0, taken.err
    by_name = graft(home, "predict", f"ready/{key}", picture, "--json").json["predictions"]
    assert by_name == graft(home, "predict", place / "ready.onnx", picture, "--json").json["predictions"]
    assert len(by_name[0]["top"]) == 5
    unknown = graft(home, "predict", "ready/nothing", picture)
    assert (unknown.code, "there is no ready model 'nothing'" in unknown.err) == (2, True)


@pytest.fixture
def here(home: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process."""

    def run(*words: str) -> Said:
        code = shell.main(list(words))
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run


def test_projects_are_made_renamed_deleted_and_restored(here) -> None:
    assert here("projects", "create", "birds", "--json").json["project"]["name"] == "birds"
    assert here("projects", "rename", "birds", "owls").code == 0
    gone = here("projects", "delete", "owls", "--json").json["project"]["id"]
    assert here("projects", "--json").json == {"projects": []}
    assert here("projects", "restore", gone).code == 0
    assert [row["name"] for row in here("projects", "list", "--json").json["projects"]] == ["owls"]


def test_starts_lists_the_catalogue(here) -> None:
    found = here("starts", "efficientnet lite", "--task", "image-classification", "--json").json
    assert "efficientnet_lite0" in [row["start"] for row in found["backbones"]]
    assert found["ready"]
    assert "efficientnet_lite0" in here("starts", "efficientnet lite").out
    drawn = here("starts", "efficientnet lite", "--task", "object-detection", "--json").json
    assert drawn["heads"][0] == {"head": "fcos", "title": "FCOS"}
    names = ["rtdetr_v2_s", "rtdetr_v2_l", "dfine_n", "dfine_m", "yolov3_tiny"]
    assert [row["start"] for row in drawn["ready"]] == [f"ready/coco_{name}" for name in names]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "--project", "nothing"], "nothing"),
        (["import", "/nowhere/at/all", "--project", "x"], "there is no '/nowhere/at/all'"),
        (["report", "run-x"], "there is no run 'run-x'"),
        (["stop", "run-x", "--json"], "there is no run 'run-x'"),
        (["compare", "run-x"], "cannot be compared"),
        (["predict", "missing.onnx", "a.png"], "no model file"),
        (["projects", "rename", "x", "y"], "x"),
        (["projects", "restore", "x"], "no deleted project is called 'x'"),
        (["starts", "--task", "cooking"], "there is no task 'cooking'"),
    ],
)
def test_mistakes_are_sentences_and_exit_2(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert shell.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert "Traceback" not in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "epoch=3"], "'epochs'"),
        (["--set", "epochs"], "has no value"),
        (["--set", "epochs=-1"], "from 0 to 1000"),
        (["--start", "efficientnet_lit0"], "efficientnet_lite0"),
        (["--start", "run:nobody"], "there is no run 'nobody'"),
    ],
)
def test_a_bad_recipe_starts_nothing(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert shell.main(["projects", "create", "p"]) == 0
    assert shell.main(["train", "--project", "p", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert shell.main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}


def test_estimate_foretells_a_run_without_starting_one(place: Path, trained: list[Said]) -> None:
    before = len(list((place / "home").glob("projects/*/runs/run-*")))
    said = graft(place / "home", "estimate", "--project", "colours", "--start", "test_resnet", "--json", *SET, "--set", "epochs=2")
    assert said.code == 0, said.err
    assert said.json["seconds"] > 0
    assert said.json["batch_size"] == 4
    assert len(list((place / "home").glob("projects/*/runs/run-*"))) == before


def test_a_failed_run_exits_non_zero(place: Path, imported: Said) -> None:
    words = ["train", "--project", "colours", "--start", "test_resnet", "--wait", "--json", *SET, "--set", "device=cuda:99"]
    said = graft(place / "home", *words)
    assert said.code == 1
    assert said.json["state"] == "failed"
    assert "no NVIDIA GPU 'cuda:99'" in said.json["problem"]


def test_stop_pause_and_resume_steer_a_run(place: Path, imported: Said) -> None:
    words = ["train", "--project", "colours", "--start", "test_resnet", "--json", *SET]
    with locks.hold(place / "home" / "locks" / "cpu.lock") or pytest.fail("another test's run is at work"):  # so that it waits, without torch
        run = graft(place / "home", *words).json["run"]
        assert graft(place / "home", "pause", run, "--wait", "--json").json["state"] == "paused"
        assert graft(place / "home", "resume", run, "--json").json["state"] == "waiting"
        assert graft(place / "home", "stop", run, "--wait", "--json").json["state"] == "stopped"
        assert "nothing to pause" in graft(place / "home", "pause", run).err


def test_light_commands_load_no_torch(home: Path) -> None:
    code = (
        "import sys; from engine.__main__ import main; codes = [main([name]) for name in ('runs', 'projects', 'starts')];"
        "heavy = {'torch', 'torchvision', 'timm', 'onnxruntime', 'streamlit'} & set(sys.modules); sys.exit(str(heavy) if heavy else max(codes))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from engine.cli import COMMANDS

    with pytest.raises(SystemExit):
        shell.main(["--help"])
    printed = capsys.readouterr().out
    named = {line.split()[0] for line in printed.splitlines() if line.startswith("    ") and line.strip()}
    assert {command.name for command in COMMANDS} <= named
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


def test_versions_are_saved_listed_compared_and_gone_back_to(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert graft(home, "import", draw(tmp_path / "data"), "--project", "Colours").code == 0
    assert "no version yet" in graft(home, "versions", "--project", "Colours").out
    saved = graft(home, "versions", "--project", "Colours", "--save", "First", "--json").json
    assert saved["pictures"] == 24
    more = tmp_path / "more" / "red" / "new.png"
    more.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(9).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(more)
    (tmp_path / "more" / "blue").mkdir()
    Image.fromarray(np.random.default_rng(8).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "more" / "blue" / "new.png")
    assert graft(home, "import", tmp_path / "more", "--project", "Colours").code == 0
    told = graft(home, "versions", "--project", "Colours", "--diff", "First", "now", "--json").json
    assert told["counts"] == {"added": 2, "removed": 0, "relabelled": 0, "moved": 0, "same": 24}
    assert {one["after"] for one in told["added"]} == {"red", "blue"}
    assert graft(home, "versions", "--project", "Colours", "--diff", saved["version"][:8], "now").out.startswith("2 added")
    (listed,) = graft(home, "versions", "--project", "Colours", "--json").json["versions"]
    assert (listed["name"], listed["pictures"], listed["runs"]) == ("First", 24, [])
    assert graft(home, "versions", "--project", "Colours", "--restore", "First", "--json").json["changed"] == 0
    wrong = graft(home, "versions", "--project", "Colours", "--diff", "Third", "now")
    assert wrong.code != 0
    assert "no version 'Third'" in wrong.err
