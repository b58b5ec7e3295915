"""No file crashes, hangs or fills the memory of what looks at it: each is refused in one sentence."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import workspace
from engine.errors import StudioError
from engine.models.own_onnx import child
from engine.models.own_onnx.library import import_file

_spec = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
hostile = importlib.util.module_from_spec(_spec)
sys.modules["hostile"] = hostile
_spec.loader.exec_module(hostile)

SECONDS = 10
BYTES = 1 << 30


def test_the_corpus_is_large_enough() -> None:
    assert len(hostile.NAMES) >= 40


@pytest.mark.parametrize("name", hostile.NAMES)
def test_refused_in_one_sentence(name: str, tmp_path: Path, home: Path) -> None:
    path = hostile.write(name, tmp_path)
    before = {item for item in tmp_path.rglob("*") if not item.is_relative_to(workspace.home())}
    began = time.monotonic()
    with pytest.raises(StudioError) as caught:
        import_file(path)
    assert time.monotonic() - began < SECONDS
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 400
    assert caught.value.remedy
    assert {item for item in tmp_path.rglob("*") if not item.is_relative_to(workspace.home())} == before


_LOOK = """
import importlib.util, json, pathlib, resource, sys, tempfile
from engine.errors import StudioError
from engine.models.own_onnx.library import import_file
spec = importlib.util.spec_from_file_location("hostile", sys.argv[1])
hostile = importlib.util.module_from_spec(spec)
sys.modules["hostile"] = hostile
spec.loader.exec_module(hostile)
for name in hostile.NAMES:
    with tempfile.TemporaryDirectory() as folder:
        try:
            import_file(hostile.write(name, pathlib.Path(folder)))
        except StudioError:
            pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def test_children_stay_below_a_gigabyte(home: Path) -> None:
    """In a process of its own: the system keeps one figure for all children that a process ever had."""
    done = subprocess.run([sys.executable, "-c", _LOOK, str(Path(__file__).with_name("hostile.py"))], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < BYTES


def test_a_check_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = hostile.write("100,001 operators", tmp_path)
    with pytest.raises(StudioError, match="could not be checked within"):
        child.check(path, seconds=0.05)


def test_a_sound_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(hostile.whole(tmp_path))
    child.check(path)
