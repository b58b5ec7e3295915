"""The deploy folder, unpacked elsewhere and run by a Python that knows nothing of Graft."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import runs, workspace
from engine.errors import StudioError
from engine.export import card
from engine.export.folder import NEEDED, deploy_folder, model_card
from engine.export.predictor import Predictor
from engine.recipe import recipe_from
from engine.runs import Run


@pytest.fixture(scope="module")
def folder(shipped: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("deploy")
    with zipfile.ZipFile(deploy_folder(shipped, out / "run.zip", project_name="Café | things")) as file:
        file.extractall(out)
    return out / f"graft-{shipped.id}"


def predict(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GRAFT"))}
    return subprocess.run(
        [sys.executable, str(folder / "predict.py"), *arguments], capture_output=True, text=True, cwd=folder.parent, env=environment, timeout=120
    )


def odd_pictures(folder: Path, photograph: Path) -> list[Path]:
    """Pictures that tempt a reader to get them wrong: turned by EXIF, transparent, 16-bit, palette, CMYK."""
    picture = Image.open(photograph).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    clear = picture.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(folder / "clear.png")
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    picture.quantize(32).save(folder / "palette.gif")
    picture.convert("CMYK").save(folder / "ink.jpg")
    return sorted(folder.iterdir())


def test_the_script_answers_as_the_studio_does(folder: Path, shipped: Run, photographs: list[Path], tmp_path: Path) -> None:
    model = Predictor(shipped.path("model.onnx"))
    files = [*photographs[:8], *odd_pictures(tmp_path, photographs[0])]
    done = predict(folder, "--json", *map(str, files))
    assert done.returncode == 0, done.stderr
    for file, line in zip(files, done.stdout.splitlines(), strict=True):
        told = json.loads(line)
        (expected,) = model.predict([model.open(file)])
        assert told["file"] == str(file)
        assert [row["label"] for row in told["top"]] == [label for label, _ in expected]
        assert [row["probability"] for row in told["top"]] == pytest.approx([p for _, p in expected], abs=1e-5), file.name


def test_the_script_prints_for_people_and_says_what_it_cannot_read(folder: Path, photographs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    done = predict(folder, "--top", "2", str(photographs[0]), str(tmp_path / "notes.txt"), str(tmp_path / "absent.jpg"))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == str(photographs[0])
    assert len(lines) == 3
    assert "%  " in lines[1]
    assert done.stderr.count("not a picture that can be read") == 2


def test_the_script_imports_nothing_of_graft_nor_of_torch(folder: Path) -> None:
    text = (folder / "predict.py").read_text()
    assert "engine" not in text
    assert "torch" not in text
    assert "noqa" not in text


def test_the_folder_holds_what_it_says(folder: Path, shipped: Run) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx",
        "labels.txt",
        "MODEL_CARD.md",
        "predict.py",
        "requirements.txt",
        "recipe.json",
        "README.md",
    }
    assert (folder / "labels.txt").read_text().splitlines() == ["coffee", "cat", "palace"]
    assert recipe_from(json.loads((folder / "recipe.json").read_text())) == shipped.recipe
    assert [line.split("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()] == list(NEEDED)
    readme = (folder / "README.md").read_text()
    assert "$" not in readme
    assert all(f"| {path.name} |" in readme for path in folder.iterdir() if path.name != "README.md")


def test_the_command_of_the_card_is_one_that_the_shell_understands(shipped: Run) -> None:
    from engine.__main__ import _parser

    words = shlex.split(card.command(shipped.recipe, "Café | things"))
    assert words[:3] == ["python", "-m", "engine"]
    given = _parser().parse_args(words[3:])
    values = dict(pair.split("=", 1) for pair in given.settings)
    assert recipe_from({"start": given.start, **values}, preset=given.preset) == shipped.recipe


def test_the_card_tells_figures_data_limits_and_how_to_repeat(folder: Path, shipped: Run) -> None:
    text = (folder / "MODEL_CARD.md").read_text()
    report = workspace.read_json(shipped.path("report.json"))
    assert "$" not in text
    for words in (
        f"{report['metrics']['accuracy']:.1%} (95% certain to lie between",
        "| coffee | 5 | 0 | 3 |",
        "Licence of the starting point: apache-2.0",
        "Checked against the trained network on 8 real pictures",
        "It was measured on 9 pictures only",
        "knows 3 classes and nothing else",
        "python -m engine train --project 'Café | things' --start linear/test_resnet --preset balanced --set seed=5 --set epochs=3 --wait",
    ):
        assert words in text
    assert model_card(shipped, project_name="Café | things") == text


def test_a_run_that_has_not_finished_is_a_sentence(home: Path) -> None:
    run = runs.create_run("p1", recipe_from({}), {"id": "v", "classes": [], "items": []})
    with pytest.raises(StudioError, match="has no finished model to pack"):
        deploy_folder(run, home / "out.zip")
    assert not (home / "out.zip").exists()
