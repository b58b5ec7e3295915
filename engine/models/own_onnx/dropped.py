"""ONNX files that a user dropped, kept in their project: the files, their X-ray, and what was chosen for them. Torch-free.

    projects/<id>/models/<key>/files/...          what was dropped: the model, and its external data beside it
    projects/<id>/models/<key>/<name>.xray.json   what the X-ray found
    projects/<id>/models/<key>/<name>.draft.json  what the user is choosing
    projects/<id>/models/<key>/used-<hash>/<name> what a recipe names: there is no such file, only <name>.choices.json beside it, which
                                                  says which file is meant and with which choices. Never changed, so that a run
                                                  means the same tomorrow. (No links: onnx refuses external data with two names.)

How choices are used is `engine.models.own_onnx.start`'s business.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import workspace
from engine.errors import StudioError

__all__ = ["Choices", "Dropped", "choices_of", "file_of", "keep", "list_dropped"]

_LAYOUTS = ("", "NCHW", "NHWC")
_COLOURS = ("rgb", "bgr")
_LARGEST_PX = 4096


@dataclass(frozen=True)
class Choices:
    """What a user chose for a file; empty values leave it to the file and to Graft.

    Attributes:
        cut: name of the value after which the old head is cut off.
        image_size: side of the pictures in pixels.
        mean, std: of pixel values in 0..1: red, green, blue.
        layout: 'NCHW' (channels first) or 'NHWC' (channels last), for files that leave it open.
        colours: the order in which the network takes them, 'rgb' or 'bgr'.
    """

    cut: str = ""
    image_size: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = ""
    colours: str = "rgb"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Choices:
        """Read it back.

        Raises:
            StudioError: if a value cannot be.
        """
        try:
            found = cls(
                cut=str(row.get("cut", "")),
                image_size=int(row.get("image_size", 0)),
                mean=tuple(float(value) for value in row.get("mean", ())),
                std=tuple(float(value) for value in row.get("std", ())),
                layout=str(row.get("layout", "")),
                colours=str(row.get("colours", "rgb")),
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise StudioError("the choices kept beside the ONNX file cannot be read", "Choose them again on the Start page.") from error
        found.check()
        return found

    def check(self) -> None:
        """See whether the values make sense.

        Raises:
            StudioError: if one does not.
        """
        numbers = [*self.mean, *self.std]
        if len(self.mean) not in (0, 3) or len(self.mean) != len(self.std) or not all(map(math.isfinite, numbers)):
            raise StudioError("mean and spread are three numbers each: red, green and blue", "Write them like 0.485, 0.456, 0.406.")
        if any(value <= 0 for value in self.std):
            raise StudioError("a spread must be larger than 0", "Write it like 0.229, 0.224, 0.225.")
        if not (self.image_size == 0 or 8 <= self.image_size <= _LARGEST_PX):
            raise StudioError(f"a picture side of {self.image_size} pixels cannot be", f"Choose 8 to {_LARGEST_PX}.")
        if self.layout not in _LAYOUTS or self.colours not in _COLOURS:
            raise StudioError(f"there is no layout '{self.layout[:20]}' with colours '{self.colours[:20]}'", "Use NCHW or NHWC, and rgb or bgr.")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.choices.json")


def _read(path: Path) -> Any:
    """Return a JSON file's content; None where there is none or it is damaged."""
    try:
        return workspace.read_json(path) if path.exists() else None
    except StudioError:
        return None


def choices_of(path: Path) -> Choices:
    """Return what was chosen for the file that a starting point names; nothing, where nothing lies beside it.

    Raises:
        StudioError: if what lies there makes no sense.
    """
    return _meant(path)[1]


def file_of(path: Path) -> Path:
    """Return the file that a starting point means: itself, or the one its choices name.

    Raises:
        StudioError: if what lies beside it makes no sense.
    """
    return _meant(path)[0]


def _meant(path: Path) -> tuple[Path, Choices]:
    side = _sidecar(path)
    if path.exists() or not side.exists():
        return path, Choices()
    row = _read(side)
    if not isinstance(row, dict) or not isinstance(row.get("file"), str):
        raise StudioError("the choices kept beside the ONNX file cannot be read", "Choose them again on the Start page.")
    folder = path.parent.parent / "files"
    file = folder / row["file"]
    if ".." in Path(row["file"]).parts or not file.is_relative_to(folder):
        raise StudioError("the choices name a file outside their own folder", "Choose them again on the Start page.")
    return file, Choices.from_json(row)


@dataclass(frozen=True)
class Dropped:
    """One ONNX file in a project.

    Attributes:
        folder: the drop's own folder; path: the model's file in it.
    """

    folder: Path
    path: Path

    @property
    def key(self) -> str:
        """A name for it that is unique in its project."""
        return f"{self.folder.name}-{hashlib.sha256(self._called.encode()).hexdigest()[:6]}"

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def bytes(self) -> int:
        """Size of everything that was dropped with it."""
        return sum(file.stat().st_size for file in self.path.parent.rglob("*") if file.is_file())

    @property
    def _called(self) -> str:
        return self.path.relative_to(self.folder / "files").as_posix().replace("/", "--")

    def xray(self) -> dict[str, Any] | None:
        """Return what the X-ray found; None before there is one."""
        found = _read(self.folder / f"{self._called}.xray.json")
        return found if isinstance(found, dict) and "cut" in found else None

    def keep_xray(self, found: Mapping[str, Any]) -> None:
        """Keep an X-ray."""
        workspace.write_json(self.folder / f"{self._called}.xray.json", dict(found))

    def draft(self) -> Choices:
        """Return what the user is choosing."""
        found = _read(self.folder / f"{self._called}.draft.json")
        try:
            return Choices.from_json(found) if isinstance(found, dict) else Choices()
        except StudioError:
            return Choices()

    def keep_draft(self, choices: Choices) -> None:
        """Keep it, so that a reload shows it again."""
        workspace.write_json(self.folder / f"{self._called}.draft.json", choices.to_json())

    def use(self, choices: Choices) -> Path:
        """Fix the choices and return what a starting point names (see the top of this module).

        Raises:
            StudioError: if a choice makes no sense.
        """
        choices.check()
        row = {"file": self.path.relative_to(self.folder / "files").as_posix(), **choices.to_json()}
        folder = self.folder / f"used-{hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:10]}"
        folder.mkdir(exist_ok=True)
        named = folder / self.path.name
        if not _sidecar(named).exists():
            workspace.write_json(_sidecar(named), row)
        return named

    def owns(self, start: str) -> bool:
        """Tell whether a starting point is this file, with whatever choices."""
        return Path(start).name == self.name and Path(start).is_relative_to(self.folder)

    def remove(self) -> None:
        """Take it off the list. What starting points name stays, and so does what the X-ray imported: runs can be repeated."""
        shutil.rmtree(self.folder / "files", ignore_errors=True)


def _models(project_id: str) -> Path:
    return workspace.home() / "projects" / project_id / "models"


def list_dropped(project_id: str) -> list[Dropped]:
    """Return the ONNX files of a project, the newest drop first."""
    folders = [folder for folder in _models(project_id).glob("*") if (folder / "files").is_dir()]
    folders.sort(key=lambda folder: (folder / "files").stat().st_mtime_ns, reverse=True)
    return [Dropped(folder, path) for folder in folders for path in _onnx_files(folder / "files")]


def _onnx_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() == ".onnx")


def keep(project_id: str, upload: Path) -> list[Dropped]:
    """Move what an upload left (one file, or a folder of them) into the project.

    Raises:
        StudioError: if there is no ONNX file in it.
    """
    single = upload.is_file()
    files = [upload] if single and upload.suffix.lower() == ".onnx" else _onnx_files(upload) if upload.is_dir() else []
    if not files:
        raise StudioError("there is no .onnx file among what was dropped", "Drop the model's .onnx file, and its external data with it where it has any.")
    source = upload.parent if single else upload
    key = hashlib.sha256(source.name.encode()).hexdigest()[:12]
    folder = _models(project_id) / key
    folder.mkdir(parents=True, exist_ok=True)
    shutil.move(source, folder / "files")
    os.utime(folder / "files")
    return [Dropped(folder, path) for path in _onnx_files(folder / "files")]
